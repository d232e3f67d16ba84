"""What a peer says of an exception becomes that exception again, or words."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import pytest

from p2pcpn.client.exceptions import error_of, rebuild, words
from p2pcpn.errors import PeerError, RemoteTraceback, TaskError, WorkerDied
from p2pcpn.runtime.function import failures
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Death
from p2pcpn.wire.statements import Outcome


class Picky(Exception):
    """Takes two arguments but keeps one: its pickle cannot be loaded."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def raised(error: BaseException) -> bytes:
    try:
        raise error
    except BaseException as caught:
        return failures.encode(caught)


def test_type_arguments_and_traceback_come_back() -> None:
    error = rebuild(raised(OSError(2, "gone", "/x")))
    assert type(error) is FileNotFoundError and error.args == (2, "gone") and error.filename == "/x"
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in raised" in str(error.__cause__)


def test_an_exception_that_cannot_be_rebuilt_becomes_words() -> None:
    error = rebuild(raised(Picky("a", "b")))
    assert isinstance(error, TaskError) and str(error).endswith("Picky: ab")
    assert isinstance(error.__cause__, RemoteTraceback)


class Exits(Exception):
    """Ends whoever loads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, (3,)


def test_an_exception_whose_loading_would_end_the_program_becomes_words() -> None:
    assert isinstance(rebuild(raised(Exits("words"))), TaskError)


def test_a_pickle_that_is_no_exception_is_not_raised() -> None:
    value = failures.encode(ValueError("x"))
    decoded = failures.decode(value)
    forged = failures.Failure(decoded.type_name, "", decoded.traceback, pickle.dumps(3))
    error = rebuild(failures._encoder.encode(forged))
    assert isinstance(error, TaskError) and str(error) == "ValueError"


def test_bytes_that_describe_no_failure_are_a_task_error_that_says_so() -> None:
    error = rebuild(b"\xc1")
    assert isinstance(error, TaskError) and "cannot be read" in str(error)


def test_words_never_unpickle() -> None:
    value = failures._encoder.encode(failures.Failure("a.B", "text", "trace", b"cos\nabort\n(tR."))
    assert words(value) == ("a.B", "text", "trace")
    with pytest.raises(PeerError):
        words(b"\x93")


def test_an_error_that_cannot_be_read_is_still_an_error() -> None:
    assert isinstance(error_of(Outcome.DIED, b"\xff"), WorkerDied)
    assert isinstance(error_of(Outcome.RAISED, b"\xff"), TaskError)
    death = error_of(Outcome.DIED, pages.DEATH.encode(Death(9, None)))
    assert isinstance(death, WorkerDied) and death.signal == 9 and "signal 9" in str(death)
