"""What a peer hands to the `function` runtime and gets back from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from p2pcpn.runtime.function.messages import Finished, Output, State
from p2pcpn.runtime.function.sharing import SharedFile


@dataclass(frozen=True, slots=True)
class GroupKey:
    """Whose worker processes: tasks of different owners, or of different projects of one owner, never share one.

    ``bundle`` is the digest of the project's modules, or ``None`` for a program without any.
    """

    owner: bytes
    bundle: bytes | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks to run one after the other in one worker, as columns.

    ``functions`` are cloudpickles; ``function_numbers[i]`` says which of them position ``i`` calls (``None``: always
    the first). ``arguments[i]`` is the pickle of ``(args, kwargs)`` and ``parts[i]`` its buffers (``None``: no task has
    any). ``states[i]`` is the pickle that an earlier run of the task left, if one did. ``digest_key`` (at most 64
    bytes) keys the digests of the values. ``render`` asks for a short text of each value, which costs some microseconds
    a task.
    """

    batch_id: int
    functions: list[bytes]
    function_numbers: list[int] | None
    arguments: list[bytes]
    digest_key: bytes
    render: bool = False
    parts: list[tuple[SharedFile | bytes, ...]] | None = None
    states: list[bytes | None] | None = None


@dataclass(frozen=True, slots=True)
class Died:
    """The worker died while it ran ``position``. ``signal`` or ``exit_code`` says how; the other is ``None``.

    The batch is over here: every position without a ``Finished`` is to be run again elsewhere, and only ``position`` is
    to blame. Those before it ran, but their results died with the worker; those behind it were never started.
    """

    batch_id: int
    position: int
    signal: int | None
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class Unstarted:
    """No worker came up to run the batch, several times: nothing of it, or of its owner's, was touched."""

    batch_id: int
    signal: int | None
    exit_code: int | None


Event: TypeAlias = Finished | Output | State | Died | Unstarted
