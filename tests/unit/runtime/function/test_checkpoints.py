"""Checkpoints in a process: what a task leaves and finds, and that outside of a task nothing happens."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from p2pcpn.errors import UsageError
from p2pcpn.limits import CHECKPOINT_BYTES_MAX
from p2pcpn.runtime.function import checkpoints
from p2pcpn.runtime.function.checkpoints import attach, begin, checkpoint, restored


class Kept:
    def __init__(self) -> None:
        self.states: list[bytes] = []

    def keep(self, state: bytes) -> None:
        self.states.append(state)


@pytest.fixture
def kept() -> Iterator[Kept]:
    found = Kept()
    attach(found)
    yield found
    attach(None)


def test_outside_of_a_task_nothing_is_kept_and_nothing_restored() -> None:
    checkpoint({"step": 1})
    assert restored() is None and restored(7) == 7
    assert checkpoints._task.state is None


def test_a_state_is_kept_as_a_pickle_and_found_within_the_run(kept: Kept) -> None:
    begin(None)
    assert restored("none") == "none"
    checkpoint([1, 2])
    assert [pickle.loads(state) for state in kept.states] == [[1, 2]]
    found = restored()
    found.append(3)
    assert restored() == [1, 2]  # nobody shares it
    begin(None)
    assert restored() is None


def test_a_run_begins_with_what_an_earlier_one_left(kept: Kept) -> None:
    begin(pickle.dumps((5, "x")))
    assert restored((0, "")) == (5, "x") and kept.states == []


def test_what_plain_pickle_refuses_goes_by_cloudpickle(kept: Kept) -> None:
    begin(None)
    checkpoint(lambda: 42)
    assert restored()() == 42


def test_a_state_that_is_too_large_is_an_error_of_the_task(kept: Kept) -> None:
    begin(None)
    with pytest.raises(UsageError, match="at most"):
        checkpoint(bytes(CHECKPOINT_BYTES_MAX))
    assert kept.states == []
