"""``Executor.map`` with chunks of its own choice is one by one to whoever looks, on real peers."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import pickle
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from p2pcpn import Executor, RemoteTraceback, Swarm, WorkerDied
from p2pcpn.client.maps import Map

WAIT_S = 30.0


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with Executor(2) as executor:
        yield executor


def until(reached: Any, wait_s: float = 10.0) -> bool:
    end = time.monotonic() + wait_s
    while not reached():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def same(value: Any) -> Any:
    return value


def sleep_and(value: Any, duration_s: float) -> Any:
    time.sleep(duration_s)
    return value


def touch(path: str) -> None:
    Path(path).touch()


# --- values ----------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_short_items_take_few_tasks(executor: Executor) -> None:
    before = _tasks(executor)
    assert list(executor.map(same, range(100_000))) == list(range(100_000))
    assert _tasks(executor) - before < 1000


def _tasks(executor: Executor) -> int:
    return 0 if executor._submission is None else executor._submission._count


def test_long_items_go_one_by_one_over_all_slots(executor: Executor) -> None:
    before, began = _tasks(executor), time.monotonic()
    assert list(executor.map(sleep_and, range(10), [0.1] * 10)) == list(range(10))
    assert _tasks(executor) - before == 10 and time.monotonic() - began < 5


def test_long_items_behind_short_ones_do_not_make_a_long_chunk(executor: Executor) -> None:
    began = time.monotonic()
    durations = [0.0] * 3000 + [0.05] * 20
    assert list(executor.map(sleep_and, range(3020), durations)) == list(range(3020))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100])
def test_maps_of_every_length(executor: Executor, count: int) -> None:
    assert list(executor.map(same, range(count))) == list(range(count))
    assert list(executor.map(pow, itertools.count(), range(count), [5] * 500)) == [i**i % 5 for i in range(count)]
    assert list(executor.map(same)) == []


def test_values_of_every_kind_and_size_come_back_in_order(executor: Executor) -> None:
    values: list[Any] = [
        *range(50), 1.5, None, "text", b"bytes", (1, ("x", [2])), [1], {"a": 1}, {1}, 10**400, "x" * 40_000,
        os.urandom(200_000), bytearray(300_000), os.path.join, len, Path("x"), *[[i] for i in range(50)],
    ]  # fmt: skip
    assert list(executor.map(same, values)) == values


def test_lambdas_methods_objects_and_partials_are_mapped(executor: Executor) -> None:
    n = 3
    assert list(executor.map(lambda x: x * n, range(200))) == [3 * i for i in range(200)]
    assert list(executor.map("-".join, [["a", "b"]] * 20)) == ["a-b"] * 20
    assert list(executor.map(functools.partial(pow, 2), range(20))) == [2**i for i in range(20)]
    counter = Counter()
    assert list(executor.map(counter.count, range(500))) == [1] * 500
    assert list(executor.map(counter, range(500))) == [1] * 500 and counter.counted == 0


class Counter:
    def __init__(self) -> None:
        self.counted = 0

    def count(self, _: int) -> int:
        self.counted += 1
        return self.counted

    def __call__(self, _: int) -> int:
        return self.count(_)


def grow(values: list[int]) -> list[int]:
    values.append(1)
    return values


def test_items_and_results_share_nothing(executor: Executor) -> None:
    shared: list[int] = []
    found = list(executor.map(grow, itertools.repeat(shared, 300)))
    assert found == [[1]] * 300 and shared == [] and len({id(each) for each in found}) == 300


def test_a_result_that_map_handed_out_is_not_kept(executor: Executor) -> None:
    for thing in executor.map(Thing, range(50)):
        watched = weakref.ref(thing)
        del thing
        assert until(lambda watched=watched: watched() is None)


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number


# --- failures --------------------------------------------------------------------------------------------------------


def odd(x: int) -> int:
    if x == 2345:
        raise KeyError(x)
    return x


def test_the_first_failure_is_raised_in_its_place(executor: Executor) -> None:
    found, seen = executor.map(odd, range(10_000)), []
    with pytest.raises(KeyError) as caught:
        for value in found:
            seen.append(value)
    assert seen == list(range(2345)) and caught.value.args == (2345,)
    assert isinstance(caught.value.__cause__, RemoteTraceback) and "in odd" in str(caught.value.__cause__)
    assert list(found) == []


def lock_of(x: int) -> Any:
    return threading.Lock() if x == 100 else x


def test_what_cannot_be_pickled_fails_in_its_place_there_and_back(executor: Executor) -> None:
    for found in (
        executor.map(lock_of, range(1000)),
        executor.map(same, [*range(100), threading.Lock(), 7]),
    ):
        assert list(itertools.islice(found, 100)) == list(range(100))
        with pytest.raises((TypeError, pickle.PicklingError)):
            next(found)
    with pytest.raises((TypeError, pickle.PicklingError)):
        next(executor.map(threading.Lock().acquire, [1]))
    assert list(executor.map(threading.Lock().acquire, [])) == []


class Unloadable:
    def __init__(self, here: int) -> None:
        self.here = here

    def __reduce__(self) -> Any:
        return _loaded_elsewhere_than, (os.getpid(), self.here)


def _loaded_elsewhere_than(pid: int, here: int) -> Any:
    if os.getpid() != pid:
        raise ArithmeticError(here)
    return None


def make_unloadable(x: int) -> Any:
    return Unloadable(x) if x == 200 else [x]


def test_a_result_that_cannot_be_loaded_fails_in_its_place(executor: Executor) -> None:
    found = executor.map(make_unloadable, range(1000))
    assert list(itertools.islice(found, 200)) == [[i] for i in range(200)]
    with pytest.raises(ArithmeticError):
        next(found)


def die_at(victim: int, x: int) -> int:
    if x == victim:
        os._exit(7)
    return x


def test_a_worker_that_dies_in_a_chunk_costs_the_item_to_blame_alone(executor: Executor) -> None:
    list(executor.map(same, range(1000)))
    found = executor.map(functools.partial(die_at, 2000), range(2500))
    assert list(itertools.islice(found, 2000)) == list(range(2000))
    with pytest.raises(WorkerDied) as caught:
        next(found)
    assert caught.value.exit_code == 7
    assert list(executor.map(same, range(10))) == list(range(10))


def test_a_peer_that_is_killed_costs_no_result() -> None:
    with Swarm(peers=3) as swarm, swarm.executor(replicas=1) as executor:
        found = executor.map(sleep_and, range(300), [0.01] * 300)
        assert next(found) == 0
        swarm.kill(1)
        assert list(found) == list(range(1, 300))


def test_map_times_out_and_what_came_before_is_handed_out(executor: Executor) -> None:
    found = []
    with pytest.raises(futures.TimeoutError):
        for value in executor.map(sleep_and, [None, None], [0, 3], timeout=1.5):
            found.append(value)
    assert found == [None]
    assert list(executor.map(same, range(10), timeout=WAIT_S)) == list(range(10))


# --- what runs, what is shown, and what ends --------------------------------------------------------------------------


def test_work_begins_at_the_call_whoever_iterates(executor: Executor, tmp_path: Path) -> None:
    found = executor.map(touch, [str(tmp_path / str(i)) for i in range(500)])
    assert until(lambda: len(os.listdir(tmp_path)) == 500)
    del found
    executor.map(touch, [str(tmp_path / f"also-{i}") for i in range(500)])
    assert until(lambda: len(os.listdir(tmp_path)) == 1000)


def test_iterables_may_wait_for_what_they_gave_before(executor: Executor, tmp_path: Path) -> None:
    def paths() -> Iterator[str]:
        for i in range(20):
            yield str(tmp_path / str(i))
            assert until((tmp_path / str(i)).exists)

    list(executor.map(touch, paths()))
    assert len(os.listdir(tmp_path)) == 20


def shout(x: int) -> None:
    print(f"item {x}")


def test_what_items_print_appears(executor: Executor, capsys: pytest.CaptureFixture[str]) -> None:
    list(executor.map(shout, range(500)))
    found = ""

    def whole() -> bool:
        nonlocal found
        found += capsys.readouterr().out
        return len(found.splitlines()) == 500

    assert until(whole) and sorted(found.splitlines()) == sorted(f"item {i}" for i in range(500))


def test_closing_the_iterator_cancels_what_has_not_started(tmp_path: Path) -> None:
    with Executor(1) as alone:
        found = alone.map(sleep_and_touch, [str(tmp_path / str(i)) for i in range(100)])
        next(found)
        found.close()  # type: ignore[attr-defined]
        assert until(lambda: not alone._submission.busy)  # type: ignore[union-attr]
    assert len(os.listdir(tmp_path)) < 50


def sleep_and_touch(path: str) -> None:
    time.sleep(0.05)
    Path(path).touch()


def test_shutdown_waits_for_all_or_cancels_what_has_not_started(tmp_path: Path) -> None:
    executor = Executor(1)
    whole = executor.map(sleep_and, range(20), [0.01] * 20)
    executor.shutdown()
    assert list(whole) == list(range(20))
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map(same, [1])
    executor = Executor(1)
    cut_short = executor.map(sleep_and_touch, [str(tmp_path / str(i)) for i in range(100)])
    assert next(cut_short) is None
    executor.shutdown(cancel_futures=True)
    with pytest.raises(CancelledError):
        list(cut_short)
    assert len(os.listdir(tmp_path)) < 60


def test_an_interrupted_with_block_ends_a_map() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Executor(1) as executor:
        found = executor.map(sleep_and, range(50), [600] * 50)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30
    with pytest.raises(Exception, match="cancelled"):
        next(found)


def test_a_dropped_executor_finishes_its_map_and_goes() -> None:
    executor = Executor(1)
    swarm = executor.swarm
    assert swarm is not None
    found = executor.map(sleep_and, range(10), [0.05] * 10)
    watched = weakref.ref(executor)
    del executor
    gc.collect()
    assert list(found) == list(range(10))
    del found
    assert until(lambda: gc.collect() is not None and watched() is None)
    assert until(lambda: not swarm.bootstrap)


def test_several_maps_and_calls_at_a_time(executor: Executor) -> None:
    found: dict[int, list[int]] = {}

    def work(number: int) -> None:
        calls = [executor.submit(pow, i, 2) for i in range(20)]
        found[number] = list(executor.map(pow, range(2000), itertools.repeat(2)))
        assert [call.result(WAIT_S) for call in calls] == [i * i for i in range(20)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: [i * i for i in range(2000)] for number in range(4)}


def test_nothing_of_a_map_is_kept(executor: Executor) -> None:
    maps = {id(each) for each in gc.get_objects() if isinstance(each, Map)}
    assert sum(executor.map(same, range(1000))) == 499_500
    assert executor._submission is not None
    assert until(lambda: gc.collect() is not None and not executor._submission._maps)  # type: ignore[union-attr]
    assert {id(each) for each in gc.get_objects() if isinstance(each, Map)} <= maps
    assert executor._submission._room.used_bytes == 0
