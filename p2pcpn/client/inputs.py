"""Inputs: futures among the arguments of a call, and what stands for their results in the pickle that travels.

A result does not come to the program first: the task is held back until its inputs have ended, and the peer that runs
it has them from whoever holds them. Futures are found as arguments themselves, and in lists, tuples and dicts that are
arguments, no deeper.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any, Final

from p2pcpn.client.futures import TaskFuture
from p2pcpn.errors import UsageError
from p2pcpn.runtime.function.inputs import as_result


class ResultOf:
    """Stands, as an argument, for the result of an earlier task of the same job: ``node.submit(f, [1, ResultOf(0)])``.

    ``index`` counts the job's tasks from 0. Where that task fails, the one that takes its result fails with the same
    exception.
    """

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise UsageError(f"ResultOf takes the index of a task, not {index!r}")
        self.index = index

    def __repr__(self) -> str:
        return f"ResultOf({self.index})"

    def __reduce__(self) -> Any:
        raise UsageError("a future or ResultOf is an argument itself, or stands in a list, tuple or dict that is one")


class Awaited(bytes):
    """What leaves the pickle in place of a result: its buffers name the task."""

    task: int

    def __new__(cls, task: int) -> Awaited:
        self = super().__new__(cls, b"?")
        self.task = task
        return self


class _StandIn:
    """Takes the place of a result in the pickle: there it loads as that result."""

    __slots__ = ("_index",)

    def __init__(self, index: int) -> None:
        self._index = index

    def __reduce__(self) -> tuple[Any, ...]:
        return as_result, (self._index, PickleBuffer(Awaited(self._index)))


_NAMING: Final = (TaskFuture, ResultOf)
_HOLDING: Final = (list, tuple, dict)
_LOOKED_AT: Final = frozenset({*_NAMING, *_HOLDING})


def named(
    arguments: tuple[Any, ...], keywords: dict[str, Any], lock: threading.RLock, count: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, with stand-ins for the results it names; the same objects where it names none.

    ``lock`` is what the futures of the job have in common, ``count`` how many tasks it has. Raises
    :class:`UsageError` for what is none of its results, and what befell a call that never became a task.
    """
    if _LOOKED_AT.isdisjoint(map(type, arguments)) and (
        not keywords or _LOOKED_AT.isdisjoint(map(type, keywords.values()))
    ):
        return arguments, keywords  # most calls
    if not any(
        type(value) in _NAMING or (type(value) in _HOLDING and _holds(value))
        for value in (*arguments, *keywords.values())
    ):
        return arguments, keywords

    def own(which: TaskFuture | ResultOf) -> int:
        if isinstance(which, TaskFuture) and not which.of(lock):
            if which.index < 0 and which.done() and (error := which.exception()) is not None:
                raise error
            raise UsageError("a future is an argument of calls of the executor that made it, and of no other")
        if which.index >= count:
            raise UsageError(f"task {which.index} is not submitted yet: a task takes results of those before it")
        return which.index

    return (
        tuple(_replaced(value, own) for value in arguments),
        {name: _replaced(value, own) for name, value in keywords.items()},
    )


def _holds(value: Any) -> bool:
    return any(type(each) in _NAMING for each in (value.values() if type(value) is dict else value))


def _replaced(value: Any, own: Callable[[Any], int]) -> Any:
    kind = type(value)
    if kind in _NAMING:
        return _StandIn(own(value))
    if kind not in _HOLDING or not _holds(value):
        return value
    if kind is dict:
        return {name: _one(each, own) for name, each in value.items()}
    return kind(_one(each, own) for each in value)


def _one(value: Any, own: Callable[[Any], int]) -> Any:
    return _StandIn(own(value)) if type(value) in _NAMING else value
