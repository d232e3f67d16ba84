"""An exception that was raised on a peer, rebuilt in the program that submitted the task."""

from __future__ import annotations

import pickle

from p2pcpn.errors import PeerError, RemoteTraceback, TaskError, WorkerDied
from p2pcpn.runtime.function import failures
from p2pcpn.wire import pages
from p2pcpn.wire.statements import Outcome


def error_of(outcome: int, value: bytes) -> BaseException:
    """The exception of a task that raised, or whose worker died."""
    if outcome == Outcome.DIED:
        try:
            death = pages.DEATH.decode(value)
        except PeerError as error:
            return WorkerDied(f"the worker process died; what the peer says of it cannot be read: {error}")
        return WorkerDied(pages.death_text(death.signal, death.exit_code), death.signal, death.exit_code)
    return rebuild(value)


def rebuild(value: bytes) -> BaseException:
    """The exception that a task's ``RAISED`` value describes, with :class:`RemoteTraceback` as its ``__cause__``.

    Type and arguments are the original's where its pickle loads here; else it is a :class:`TaskError` with type name
    and text. Loading runs code of whoever made the value: call this only after its receipt was checked, as for a
    result.
    """
    try:
        failure = failures.decode(value)
    except PeerError as error:
        return TaskError(f"the task raised, but what the peer says of it cannot be read: {error}")
    rebuilt: object = None
    if failure.pickled is not None:
        try:
            rebuilt = pickle.loads(failure.pickled)
        except BaseException:
            rebuilt = None  # its type is not importable here, takes other arguments than it keeps, or ends programs
    if not isinstance(rebuilt, BaseException):
        rebuilt = TaskError(f"{failure.type_name}: {failure.text}" if failure.text else failure.type_name)
    rebuilt.__cause__ = RemoteTraceback(failure.traceback)
    return rebuilt


def words(value: bytes) -> tuple[str, str, str]:
    """Type name, text and traceback of a ``RAISED`` value, for windows: nothing is unpickled.

    Raises :class:`~p2pcpn.errors.PeerError` when ``value`` is none.
    """
    failure = failures.decode(value)
    return failure.type_name, failure.text, failure.traceback
