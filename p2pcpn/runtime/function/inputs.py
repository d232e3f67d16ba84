"""Inputs: results of other tasks as arguments of this one, loaded where they are wanted, or raised where they failed.

A pickle of a result begins with 0x80. What else the value of a task may be is MessagePack, which never begins so: an
exception, the death of a process, or words for a task that has no result at all.
"""

from __future__ import annotations

import pickle
from typing import Any

import msgspec

from p2pcpn.errors import JobError, PeerError, TaskError, WorkerDied
from p2pcpn.runtime.function import failures
from p2pcpn.runtime.function.parts import Buffer
from p2pcpn.wire import pages

_PICKLE = 0x80


def as_result(index: int, buffer: Buffer) -> Any:
    """The result of task ``index``, an object of this task's own. Raises what that task raised, or why it has none."""
    if buffer[0] == _PICKLE:
        return pickle.loads(buffer)
    error = failure_of(bytes(buffer))
    error.add_note(f"raised by task {index}, whose result this task takes")
    raise error


def failure_of(value: bytes) -> BaseException:
    """The exception that the value of a failed task stands for."""
    try:
        text: str = msgspec.msgpack.decode(value, type=str)
        return JobError(text)
    except msgspec.MsgspecError:
        pass
    try:
        death = pages.DEATH.decode(value)
        return WorkerDied(pages.death_text(death.signal, death.exit_code), death.signal, death.exit_code)
    except PeerError:
        pass
    failure = failures.decode(value)
    rebuilt: object = None
    if failure.pickled is not None:
        try:
            rebuilt = pickle.loads(failure.pickled)
        except Exception:
            rebuilt = None
    if isinstance(rebuilt, BaseException):
        return rebuilt
    return TaskError(f"{failure.type_name}: {failure.text}" if failure.text else failure.type_name)
