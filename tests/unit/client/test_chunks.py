"""Chunks of a map: cut, run as their items would alone, and handed out one by one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import weakref
from functools import partial
from typing import Any

import pytest

from p2pcpn.client.chunks import (
    APART,
    LOADED,
    TOGETHER,
    Afresh,
    Loaded,
    chunks,
    flattened,
    immutable,
    packed,
    run_chunk,
    run_item,
    run_items,
    unpacked,
)
from p2pcpn.client.exceptions import rebuild


def test_items_are_cut_into_chunks_and_their_results_come_in_order() -> None:
    cut = list(chunks(zip(range(5), strict=True), 2))
    assert cut == [[(0,), (1,)], [(2,), (3,)], [(4,)]]
    assert list(flattened(run_chunk(lambda x: x * 2, chunk) for chunk in cut)) == [0, 2, 4, 6, 8]
    assert list(chunks(iter(()), 3)) == []


class Thing:
    def __init__(self, number: int = 0) -> None:
        self.number = number

    def count(self, _: Any) -> int:
        self.number += 1
        return self.number


def test_a_result_that_was_handed_out_is_not_kept() -> None:
    for thing in flattened(iter([[Thing(), Thing()], [Thing()]])):
        watched = weakref.ref(thing)
        del thing
        assert watched() is None
    for how, payload in ((APART, packed([Thing(), Thing()], {})[1]), (LOADED, [Thing(), Thing()])):
        for thing in unpacked(how, payload):
            watched = weakref.ref(thing)
            del thing
            assert watched() is None


def test_a_worker_that_imports_it_imports_little_else() -> None:
    check = "import sys, p2pcpn.client.chunks; print([n for n in sys.modules if n in ('asyncio', 'msgspec', 'nacl')])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("values", "yes"),
    [
        ([1, 2.5, "x", b"y", None, True, 1j], True),
        ([(1, "x"), (), 3], True),
        ([[1], 2], False),
        ([([],)], False),
        ([((1,),)], False),
        ([bytearray(b"x")], False),
        ([type("Number", (int,), {})()], False),
    ],
)
def test_what_cannot_change_is_known_by_its_type(values: list[Any], yes: bool) -> None:
    assert immutable(values) is yes


def ran(function: Any, how: int, items: Any, time_s: float = 10.0) -> tuple[list[Any], dict[int, bytes]]:
    """Values and failures of a chunk, through the pickles that carry it."""
    found: Any = pickle.loads(pickle.dumps(run_items(function, how, items, time_s)))
    if len(found) == 2:
        return [found[1]], {}
    _, count, (how, payload), failures = found
    values = list(unpacked(how, payload)) if not failures else [None] * count
    return values, failures


def test_columns_and_pickled_items_are_called() -> None:
    assert ran(pow, TOGETHER, [[2, 3], [3, 2]]) == ([8, 9], {})
    items = [pickle.dumps(((base, 2), {})) for base in range(4)]
    assert ran(pow, APART, items) == ([0, 1, 4, 9], {})
    assert ran(len, TOGETHER, [["abc"]]) == ([3], {})
    assert ran(lambda x: [x], TOGETHER, [[1, 2]]) == ([[1], [2]], {})


def test_what_fails_fails_alone_with_its_traceback() -> None:
    def half(x: int) -> Any:
        if x == 1:
            raise ValueError("odd")
        if x == 2:
            raise SystemExit(3)
        return threading.Lock() if x == 3 else x

    _, failures = ran(half, TOGETHER, [[0, 1, 2, 3, 4]])
    errors = {at: rebuild(value) for at, value in failures.items()}
    assert sorted(errors) == [1, 2, 3] and isinstance(errors[1], ValueError) and isinstance(errors[2], SystemExit)
    assert "odd" in str(errors[1].__cause__) and "run_items" not in str(errors[1].__cause__)
    assert isinstance(errors[3], (TypeError, pickle.PicklingError))
    assert ran(half, TOGETHER, [[1]])[1].keys() == {0}
    assert ran(half, APART, [b"no pickle", pickle.dumps(((7,), {}))])[1].keys() == {0}


def test_a_chunk_ends_when_its_time_is_over() -> None:
    _, count, _, _ = run_items(abs, TOGETHER, [[1, 2, 3]], -1.0)  # type: ignore[misc]
    assert count == 1


def test_items_share_nothing_with_each_other() -> None:
    shared: list[int] = []
    items = [pickle.dumps(((shared,), {}))] * 3
    assert ran(lambda x: len([x.append(1), x][1]), APART, items) == ([1, 1, 1], {})
    one, other = ran(lambda x, same=[]: same, TOGETHER, [[1, 2]])[0]
    assert one is not other


def test_a_callable_that_changes_is_loaded_afresh_for_each_call() -> None:
    method = pickle.dumps(Thing(5).count)
    chunk = pickle.loads(pickle.dumps(partial(run_items, Afresh(method))))
    assert list(unpacked(*chunk(TOGETHER, [[1, 2, 3]], 10.0)[2])) == [6, 6, 6]
    assert pickle.loads(pickle.dumps(Loaded(pickle.dumps(os.path.join)))) is os.path.join


def test_a_large_item_runs_alone_and_says_how_long() -> None:
    ran_s, value = run_item(pow, 2, 5)
    assert value == 32 and ran_s >= 0.0


class Buffer:
    def __init__(self, data: bytearray) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Buffer, (pickle.PickleBuffer(self.data),)


def test_buffers_leave_the_pickle_of_a_result() -> None:
    how, payload = packed([Buffer(bytearray(b"abc")), 1], {})
    head, buffers = payload[0]
    assert how == APART and [bytes(each) for each in buffers] == [b"abc"] and b"abc" not in head
    first, second = unpacked(*pickle.loads(pickle.dumps((how, payload), 5)))
    assert bytes(first.data) == b"abc" and second == 1


def test_what_plain_pickle_refuses_goes_by_value() -> None:
    doubled = next(unpacked(*packed([lambda x: 2 * x, 1], {})))
    assert doubled(4) == 8
