"""Inputs of a task: a result is loaded, a failure is raised as it was."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from p2pcpn.errors import JobError, PeerError, TaskError, WorkerDied
from p2pcpn.runtime.function import failures
from p2pcpn.runtime.function.inputs import as_result, failure_of
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Death


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_result_is_the_object_it_was(kind: type) -> None:
    assert as_result(3, kind(pickle.dumps({"a": [1, 2]}, 5))) == {"a": [1, 2]}


def test_what_the_task_raised_is_raised_again_and_says_where_it_comes_from() -> None:
    with pytest.raises(KeyError) as caught:
        as_result(7, bytearray(failures.encode(KeyError("there"))))
    assert caught.value.args == ("there",)
    assert caught.value.__notes__ == ["raised by task 7, whose result this task takes"]


def test_an_exception_that_cannot_be_loaded_is_told_in_words() -> None:
    made = msgspec.msgpack.encode(failures.Failure("lib.Odd", "it was odd", "", b"no pickle"))
    error = failure_of(made)
    assert type(error) is TaskError and str(error) == "lib.Odd: it was odd"
    assert str(failure_of(msgspec.msgpack.encode(failures.Failure("lib.Odd", "", "", None)))) == "lib.Odd"


def test_the_death_of_a_process_and_words_are_errors_of_their_own() -> None:
    died = failure_of(pages.DEATH.encode(Death(None, 3)))
    assert isinstance(died, WorkerDied) and died.exit_code == 3
    with pytest.raises(JobError, match="was cancelled"):
        as_result(0, msgspec.msgpack.encode("task 0, whose result it takes, was cancelled"))


def test_what_is_none_of_these_is_refused() -> None:
    with pytest.raises(PeerError):
        as_result(0, b"\x01\x02")
