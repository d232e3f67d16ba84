"""What a benchmark knows of a system: start, submit, gather, map, stop, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

WORKERS = 2


class System(ABC):
    """One system with two workers on this machine. It is started and stopped in a process of its own."""

    # Whether map() without a chunk size is all that a user of this system has.
    chunks: ClassVar[bool] = True
    # Whether begin() makes something new: a pool, a client, a job.
    begins: ClassVar[bool] = False

    @abstractmethod
    def start(self) -> None:
        """Get both workers ready."""

    @abstractmethod
    def stop(self) -> None:
        """End every process that was started. May be called at any time, and twice."""

    @abstractmethod
    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        """One task; returns what :meth:`gather` takes."""

    @abstractmethod
    def gather(self, handles: Sequence[Any]) -> list[Any]:
        """Wait for the tasks and return their results in order."""

    @abstractmethod
    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunk: int | None) -> Iterable[Any]:
        """The system's own map, results in order; ``chunk=None``: as it is when nobody names a chunk size."""

    def settle(self) -> None:
        """Wait until all that was delivered is *done*. Where results are kept nowhere, it is done when delivered."""
        return

    def begin(self) -> None:
        """Begin something new on the same workers, where there is such a thing: a job, a pool, a client."""
        return

    def outsiders(self) -> list[int]:
        """Children of this process that are, with all below them, no part of the submitter."""
        return []

    def facts(self) -> dict[str, Any]:
        """What only this system can tell of the work so far."""
        return {}


class FuturesSystem(System):
    """A system whose handles are ``concurrent.futures.Future`` objects."""

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        return [handle.result() for handle in handles]
