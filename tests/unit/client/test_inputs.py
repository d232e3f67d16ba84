"""Futures among arguments stand for results that travel without the program; nothing else is touched."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

from p2pcpn.client.arguments import Arguments
from p2pcpn.client.cutting import Cutter, Parted
from p2pcpn.client.futures import TaskFuture
from p2pcpn.client.inputs import Awaited, ResultOf, named
from p2pcpn.client.pickling import Callee
from p2pcpn.errors import UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.limits import PAGE_INPUTS_MAX, PART_BYTES, TASK_PARTS_MAX
from p2pcpn.wire import pages
from p2pcpn.wire.sealing import JobKeys, unseal

LOCK = threading.RLock()
KEYS = JobKeys(b"k" * 32)


def future(index: int) -> TaskFuture:
    return TaskFuture(LOCK, None, index)


def packed(*arguments: Any, **keywords: Any) -> Parted:
    given, named_keywords = named(arguments, keywords, LOCK, 2000)
    found = Arguments(KEYS).pack(given, named_keywords)
    assert isinstance(found, Parted)
    return found


def loaded(found: Parted, results: dict[int, Any]) -> Any:
    """The arguments as a worker has them."""
    assert isinstance(found.head, bytes)
    buffers = []
    for part in found.parts:
        if isinstance(part, Awaited):
            buffers.append(bytearray(pickle.dumps(results[part.task])))
        else:
            buffers.append(bytearray(unseal(part.ref.key, 0, part.data())))
    return pickle.loads(found.head, buffers=buffers)


def test_arguments_without_futures_are_the_same_objects() -> None:
    arguments, keywords = (1, [2, {3: 4}], "x"), {"a": (5,)}
    assert named(arguments, keywords, LOCK, 0) == (arguments, keywords)
    assert named(arguments, keywords, LOCK, 0)[0] is arguments


def test_futures_stand_as_arguments_and_in_lists_tuples_and_dicts() -> None:
    a, b, done = future(3), future(4), future(5)
    done.resolve("d")
    found = packed(a, [b, 1, a], (done, 2), k={"x": ResultOf(7), "y": 9}, j=b)
    assert [part.task for part in found.parts if isinstance(part, Awaited)] == [3, 4, 3, 5, 7, 4]
    args, kwargs = loaded(found, {3: "a", 4: "b", 5: "d", 7: "seven"})
    assert args == ("a", ["b", 1, "a"], ("d", 2)) and kwargs == {"k": {"x": "seven", "y": 9}, "j": "b"}


def test_large_arguments_travel_beside_results() -> None:
    big = b"z" * (PART_BYTES + 1)
    found = packed(big, future(1), [future(2)])
    assert sorted(type(part).__name__ for part in found.parts) == ["Awaited", "Awaited", "Blob"]
    assert loaded(found, {1: 10, 2: 20})[0] == (big, 10, [20])
    assert found.size_bytes < 2 * PART_BYTES


def test_a_future_of_another_job_a_later_task_and_what_is_deeper_are_refused() -> None:
    with pytest.raises(UsageError, match="executor that made it"):
        named((TaskFuture(threading.RLock(), None, 0),), {}, LOCK, 5)
    with pytest.raises(UsageError, match="not submitted yet"):
        named((ResultOf(5),), {}, LOCK, 5)
    with pytest.raises(UsageError, match="stands in a list"):
        pickle.dumps([[ResultOf(0)]])
    for odd in (-1, True, "0"):
        with pytest.raises(UsageError, match="index of a task"):
            ResultOf(odd)  # type: ignore[arg-type]
    assert repr(ResultOf(3)) == "ResultOf(3)"


def test_a_call_that_never_became_a_task_hands_its_error_on() -> None:
    failed = TaskFuture()
    failed.fail(ValueError("cannot be pickled"))
    with pytest.raises(ValueError, match="cannot be pickled"):
        named(([failed],), {}, LOCK, 5)


def test_a_task_takes_so_many_results_and_no_more() -> None:
    assert len(packed([future(n) for n in range(TASK_PARTS_MAX)]).parts) == TASK_PARTS_MAX
    with pytest.raises(UsageError, match="may take 64 results"):
        packed([future(n) for n in range(TASK_PARTS_MAX + 1)])


def test_results_cannot_be_scattered() -> None:
    with pytest.raises(UsageError, match="stands in a list"):
        Arguments(KEYS).place([ResultOf(0)])


def test_pages_name_results_behind_their_blobs_and_break_where_there_are_too_many() -> None:
    cutter = Cutter(Keypair(b"o" * 32), bytes(20), KEYS, lambda ref, sealed: None)
    callee = Callee(b"function", ())
    big = b"z" * (PART_BYTES + 1)
    calls: list[Any] = [(callee, b"plain")] * 100
    calls += [(callee, packed(big, future(3), future(5))), (callee, packed(future(5)))]
    cut = cutter.cut(calls, 0)
    assert cut.needs == [(100, [3, 5]), (101, [5])] and len(cut.sealed) == 1
    page = pages.TASKS.decode(unseal(KEYS.page(0), 0, cut.sealed[0]))
    assert page.inputs == [3, 5] and len(page.blobs) == 1
    assert page.parts == [(100, [0, 1, 2]), (101, [2])] and pages.needs_of(page, 0) == cut.needs
    many = [
        (callee, packed([future(TASK_PARTS_MAX * at + n) for n in range(TASK_PARTS_MAX)]))
        for at in range(PAGE_INPUTS_MAX // TASK_PARTS_MAX + 1)
    ]
    second = Cutter(Keypair(b"o" * 32), bytes(20), KEYS, lambda ref, sealed: None).cut(many, 0)
    counts = [
        len(pages.TASKS.decode(unseal(KEYS.page(first), 0, data)).arguments)
        for first, data in zip((0, 16), second.sealed, strict=True)
    ]
    assert counts == [16, 1]
