"""Checkpoints: what a task leaves behind while it runs, for the run after it on another peer.

A task calls :func:`checkpoint` as often as it likes; the newest state leaves its process at most each
``limits.CHECKPOINT_S``. When the peer is lost, the next run of the same task finds it with :func:`restored`. Outside of
a task, where a function is tried on its own, there is nobody to keep anything: nothing is kept, nothing restored.
"""

from __future__ import annotations

import pickle
from typing import Any, Protocol

import cloudpickle

from p2pcpn.errors import UsageError
from p2pcpn.limits import CHECKPOINT_BYTES_MAX


class Keeper(Protocol):
    """Who takes states away: the process's reporter."""

    def keep(self, state: bytes) -> None:
        """The state of the task that runs."""


class _Task:
    """The task that runs in this process, as far as checkpoints go."""

    __slots__ = ("keeper", "state")

    def __init__(self) -> None:
        self.keeper: Keeper | None = None
        self.state: bytes | None = None


_task = _Task()


def attach(keeper: Keeper | None) -> None:
    """This process runs tasks, and ``keeper`` takes their states away; none in a child that a task forked."""
    _task.keeper = keeper
    _task.state = None


def begin(state: bytes | None) -> None:
    """A task begins; ``state`` is what an earlier run of it left, pickled."""
    _task.state = state


def checkpoint(state: object) -> None:
    """Keep ``state``, which can be pickled, for the next run of this task, should its peer be lost.

    The newest counts. It leaves the process at once, then at most twice a second, sealed under the job's key, and is
    unpickled nowhere but in a process that runs this task again. Raises :class:`UsageError` for more than
    ``limits.CHECKPOINT_BYTES_MAX`` bytes. Outside of a task nothing happens.
    """
    if _task.keeper is None:
        return
    try:
        data = pickle.dumps(state, 5)
    except Exception:
        data = cloudpickle.dumps(state, protocol=5)
    if len(data) > CHECKPOINT_BYTES_MAX:
        raise UsageError(f"a checkpoint of {len(data)} bytes, at most {CHECKPOINT_BYTES_MAX} are kept")
    _task.state = data
    _task.keeper.keep(data)


def restored(default: Any = None) -> Any:
    """The last state that an earlier run of this task left with :func:`checkpoint`, or ``default``.

    Within one run it is what this run left last. Anew at each call: nobody shares the object.
    """
    return default if _task.state is None else pickle.loads(_task.state)
