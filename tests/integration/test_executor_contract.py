"""The contract of ``concurrent.futures.Executor``, after CPython's own ``test_concurrent_futures``, on real peers."""

from __future__ import annotations

import ctypes
import functools
import gc
import itertools
import os
import pickle
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError
from pathlib import Path
from typing import Any

import pytest

from p2pcpn import Executor, RemoteTraceback, Swarm, UsageError, WorkerDied
from p2pcpn.identity.keys import Keypair

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


def capture(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


def sleep_and(value: Any, duration_s: float = 0.1) -> Any:
    time.sleep(duration_s)
    return value


def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.01)
    return path


def touch_and_wait(path: str, then: str) -> str:
    Path(path).touch()
    return wait_for(then)


class Odd(Exception):
    def __init__(self, first: str, second: int) -> None:
        super().__init__(first, second)
        self.second = second


def raises_odd() -> None:
    try:
        raise KeyError("the first one")
    except KeyError as error:
        raise Odd("x", 3) from error


class Thing:
    """Something to watch being forgotten."""

    def method(self) -> int:
        return 7

    def __call__(self, x: int) -> int:
        return x + self.added

    added = 1


# --- submit, results, exceptions -------------------------------------------------------------------------------------


def test_positional_and_keyword_arguments_arrive(executor: Executor) -> None:
    assert executor.submit(capture, 1, self=2, fn=3).result(WAIT_S) == ((1,), {"self": 2, "fn": 3})
    assert executor.submit(pow, 2, 10).result(WAIT_S) == 1024
    with pytest.raises(TypeError):
        executor.submit(fn=capture, arg=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        executor.submit(arg=1)  # type: ignore[call-arg]


def test_lambdas_closures_partials_methods_and_objects_are_called(executor: Executor) -> None:
    n = 5
    thing = Thing()
    found = [
        executor.submit(lambda x: x * n, 3),
        executor.submit(functools.partial(capture, 1, a=2), 3),
        executor.submit(thing.method),
        executor.submit("abc".upper),
        executor.submit(thing, 4),
        executor.submit(Thing),
    ]
    values = [future.result(WAIT_S) for future in found]
    assert values[:5] == [15, ((1, 3), {"a": 2}), 7, "ABC", 5]
    assert isinstance(values[5], Thing)


def test_an_object_is_called_as_it_is_at_each_call(executor: Executor) -> None:
    thing = Thing()
    first = executor.submit(thing, 1)
    thing.added = 10
    assert (first.result(WAIT_S), executor.submit(thing, 1).result(WAIT_S)) == (2, 11)


def test_an_exception_comes_with_type_arguments_and_remote_traceback(executor: Executor) -> None:
    error = executor.submit(raises_odd).exception(WAIT_S)
    assert isinstance(error, Odd) and error.args == ("x", 3) and error.second == 3
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "raise Odd" in str(error.__cause__) and "the first one" in str(error.__cause__)
    with pytest.raises(Odd):
        executor.submit(raises_odd).result(WAIT_S)


@pytest.mark.parametrize("size", [0, 16_000, 16_384, 17_000, 1 << 20, 20 << 20])
def test_values_of_every_size_go_there_and_back(executor: Executor, size: int) -> None:
    data = os.urandom(min(size, 1 << 20)) * max(1, size >> 20)
    assert executor.submit(capture, data).result(WAIT_S) == ((data,), {})


def test_a_hundred_large_arguments_at_once_do_not_cost_the_session(executor: Executor) -> None:
    blobs = [bytes([i]) * (1 << 20) for i in range(100)]
    assert list(executor.map(len, blobs, timeout=60)) == [1 << 20] * 100


def test_arguments_just_below_the_inline_limit_fill_many_pages(executor: Executor) -> None:
    data = bytes(16_300)
    assert list(executor.map(len, itertools.repeat(data, 1500), timeout=60)) == [16_300] * 1500


def test_many_large_functions_travel(executor: Executor) -> None:
    def make(i: int) -> Any:
        weight = bytes([i % 256]) * 20_000
        return lambda: (i, len(weight))

    made = [make(i) for i in range(300)]
    assert [f.result(60) for f in [executor.submit(each) for each in made]] == [(i, 20_000) for i in range(300)]


# --- one future alone ------------------------------------------------------------------------------------------------


def test_arguments_that_cannot_be_pickled_fail_their_own_future(executor: Executor) -> None:
    good, bad, also = executor.submit(pow, 2, 2), executor.submit(capture, threading.Lock()), executor.submit(pow, 2, 3)
    assert isinstance(bad.exception(WAIT_S), (TypeError, pickle.PicklingError))
    assert (good.result(WAIT_S), also.result(WAIT_S)) == (4, 8)
    assert isinstance(executor.submit(threading.Lock().acquire).exception(WAIT_S), (TypeError, pickle.PicklingError))


def test_results_that_cannot_be_pickled_fail_their_own_future(executor: Executor) -> None:
    good, bad = executor.submit(pow, 2, 2), executor.submit(threading.Lock)
    assert isinstance(bad.exception(WAIT_S), (TypeError, pickle.PicklingError)) and good.result(WAIT_S) == 4


class BadLoader:
    def __reduce__(self) -> Any:
        return (_fails_here, ())


def _fails_here() -> None:
    raise ArithmeticError("not here")


def make_bad_loader() -> BadLoader:
    return BadLoader()


def test_a_result_that_cannot_be_loaded_fails_its_own_future(executor: Executor) -> None:
    assert isinstance(executor.submit(make_bad_loader).exception(WAIT_S), ArithmeticError)
    assert executor.submit(pow, 2, 2).result(WAIT_S) == 4


def exit_three() -> None:
    os._exit(3)


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def read_address_zero() -> None:
    ctypes.string_at(0)


@pytest.mark.parametrize(
    ("function", "number", "code"),
    [(exit_three, None, 3), (kill_oneself, signal.SIGKILL, None), (read_address_zero, signal.SIGSEGV, None)],
)
def test_a_task_whose_process_dies_says_how_and_the_next_one_runs(
    executor: Executor, function: Any, number: int | None, code: int | None
) -> None:
    error = executor.submit(function).exception(WAIT_S)
    assert isinstance(error, WorkerDied) and (error.signal, error.exit_code) == (number, code)
    assert str(number if number is not None else code) in str(error)
    assert executor.submit(pow, 2, 2).result(WAIT_S) == 4


def test_sys_exit_is_an_exception_of_the_task(executor: Executor) -> None:
    assert isinstance(executor.submit(sys.exit, 3).exception(WAIT_S), SystemExit)


# --- map -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3, 20, 1000])
def test_map_gives_results_in_order(executor: Executor, chunksize: int) -> None:
    assert list(executor.map(pow, range(20), range(20), chunksize=chunksize)) == list(map(pow, range(20), range(20)))
    assert list(executor.map(pow, range(5), range(3), chunksize=chunksize)) == [1, 1, 4]
    assert list(executor.map(pow, [], [], chunksize=chunksize)) == []


def test_map_raises_at_the_result_that_failed(executor: Executor) -> None:
    found = executor.map(divmod, [1, 1, 1], [2, 0, 1])
    assert next(found) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        next(found)
    chunked = executor.map(divmod, [1, 1, 0, 1], [2, 1, 0, 0], chunksize=2)
    assert [next(chunked), next(chunked)] == [(0, 1), (1, 0)]
    with pytest.raises(ZeroDivisionError):
        next(chunked)


def test_map_times_out_and_what_came_before_is_handed_out(executor: Executor) -> None:
    found = []
    with pytest.raises(futures.TimeoutError):
        for value in executor.map(sleep_and, [None, None], [0, 3], timeout=1.5):
            found.append(value)
    assert found == [None]


def test_a_chunksize_below_one_is_refused(executor: Executor) -> None:
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(capture, range(4), chunksize=0)


# --- wait, as_completed, callbacks -----------------------------------------------------------------------------------


def test_wait_returns_when_the_first_has_ended_and_when_all_have(executor: Executor, tmp_path: Path) -> None:
    quick, slow = executor.submit(pow, 2, 2), executor.submit(wait_for, str(tmp_path / "go"))
    done, pending = futures.wait([quick, slow], timeout=WAIT_S, return_when=FIRST_COMPLETED)
    assert (done, pending) == ({quick}, {slow})
    (tmp_path / "go").touch()
    assert futures.wait([quick, slow], timeout=WAIT_S, return_when=ALL_COMPLETED).not_done == set()


def test_wait_returns_at_the_first_exception(executor: Executor, tmp_path: Path) -> None:
    bad, slow = executor.submit(divmod, 1, 0), executor.submit(wait_for, str(tmp_path / "go"))
    assert futures.wait([bad, slow], timeout=WAIT_S, return_when=FIRST_EXCEPTION).done == {bad}
    (tmp_path / "go").touch()
    slow.result(WAIT_S)


def test_as_completed_yields_each_once_also_cancelled_ones(executor: Executor, tmp_path: Path) -> None:
    gates = [executor.submit(wait_for, str(tmp_path / "go")) for _ in range(2)]
    late = [executor.submit(pow, 2, i) for i in range(5)]
    assert late[3].cancel()
    (tmp_path / "go").touch()
    assert set(futures.as_completed([*gates, *late, late[0]], timeout=WAIT_S)) == {*gates, *late}


def test_callbacks_are_called_with_the_future_also_when_it_was_done(executor: Executor) -> None:
    called: list[Any] = []
    future = executor.submit(pow, 2, 2)
    future.add_done_callback(called.append)
    future.result(WAIT_S)
    assert until(lambda: called == [future])
    future.add_done_callback(called.append)
    assert called == [future, future]


def test_a_callback_may_submit_more(executor: Executor) -> None:
    got: list[Any] = []

    def more(_: Any) -> None:
        executor.submit(pow, 3, 3).add_done_callback(lambda future: got.append(future.result()))

    executor.submit(pow, 2, 2).add_done_callback(more)
    assert until(lambda: got == [27])


# --- cancelling ------------------------------------------------------------------------------------------------------


def test_what_has_not_started_can_be_cancelled_and_what_runs_cannot(tmp_path: Path) -> None:
    with Executor(1) as alone:
        go, began = str(tmp_path / "go"), str(tmp_path / "began")
        first = alone.submit(touch_and_wait, began, go)
        assert until(lambda: os.path.exists(began)) and until(first.running)
        rest = [alone.submit(Path.touch, tmp_path / f"ran-{i}") for i in range(20)]
        time.sleep(0.3)  # by now some of them were leased
        assert not first.cancel()
        assert all(future.cancel() for future in rest[::2]) and all(future.cancelled() for future in rest[::2])
        assert futures.wait(rest[::2], timeout=1).not_done == set()
        with pytest.raises(CancelledError):
            rest[0].result()
        Path(go).touch()
        assert [future.result(WAIT_S) for future in rest[1::2]] == [None] * 10
        assert first.result(WAIT_S) == go
    assert {path.name for path in tmp_path.glob("ran-*")} == {f"ran-{i}" for i in range(1, 20, 2)}


def test_running_is_told_once_the_task_has_started(executor: Executor, tmp_path: Path) -> None:
    future = executor.submit(touch_and_wait, str(tmp_path / "began"), str(tmp_path / "go"))
    assert until(future.running) and (tmp_path / "began").exists()
    (tmp_path / "go").touch()
    future.result(WAIT_S)
    assert not future.running() and future.done()


# --- how many at a time ----------------------------------------------------------------------------------------------


def span(duration_s: float) -> tuple[float, float]:
    began = time.monotonic()
    time.sleep(duration_s)
    return began, time.monotonic()


def most_at_once(spans: list[tuple[float, float]]) -> int:
    edges = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    return max(itertools.accumulate(step for _, step in edges))


def test_no_more_than_max_workers_run_at_once() -> None:
    with Swarm(peers=2, cpus_per_peer=2) as swarm:
        for workers in (1, 3):
            with swarm.executor(workers, key=_key()) as few:
                assert most_at_once(list(few.map(span, [0.05] * 24, timeout=60))) <= workers
        with swarm.executor(key=_key()) as all_of_them:
            assert 3 <= most_at_once(list(all_of_them.map(span, [0.2] * 16, timeout=60))) <= 4


def _key() -> Keypair:
    return Keypair(os.urandom(32))


def test_what_cannot_be_is_refused_before_anything_starts() -> None:
    for arguments in ({"max_workers": 0}, {"max_workers": -1}, {"replicas": 0}, {"bootstrap": []}, {"swarm_key": "00"}):
        with pytest.raises(ValueError):
            Executor(**arguments)  # type: ignore[arg-type]
    for requires in ("numpy", ["größe"], ["x" * 25], [f"p{i}" for i in range(25)]):
        with pytest.raises(UsageError):
            Executor(requires=requires)


# --- threads, references ---------------------------------------------------------------------------------------------


def test_several_threads_may_submit(executor: Executor) -> None:
    found: dict[int, list[int]] = {}

    def work(number: int) -> None:
        found[number] = list(executor.map(pow, range(200), itertools.repeat(2)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: [i * i for i in range(200)] for number in range(6)}


def test_nothing_of_a_finished_task_is_kept(executor: Executor) -> None:
    thing, argument = Thing(), Thing()
    watched = [weakref.ref(thing), weakref.ref(argument)]
    future = executor.submit(thing.method)
    other = executor.submit(capture, argument)
    future.result(WAIT_S)
    other.result(WAIT_S)
    watched += [weakref.ref(future), weakref.ref(other)]
    del thing, argument, future, other
    assert until(lambda: all(each() is None for each in watched)), [each() for each in watched]


def test_nothing_of_a_failed_task_is_kept(executor: Executor) -> None:
    argument = Thing()
    argument.lock = threading.Lock()  # type: ignore[attr-defined]
    unpicklable = executor.submit(capture, argument)
    raised = executor.submit(raises_odd)
    raised.exception(WAIT_S)
    watched = [weakref.ref(argument), weakref.ref(unpicklable), weakref.ref(raised)]
    del argument, unpicklable, raised
    gc.collect()
    assert until(lambda: all(each() is None for each in watched)), [each() for each in watched]


def test_a_result_that_map_handed_out_is_not_kept(executor: Executor) -> None:
    for chunksize in (1, 4):
        for thing in executor.map(make_thing, range(10), chunksize=chunksize):
            watched = weakref.ref(thing)
            del thing
            assert until(lambda watched=watched: watched() is None)


def make_thing(_: int) -> Thing:
    return Thing()


# --- shutting down ---------------------------------------------------------------------------------------------------


def test_after_shutdown_nothing_can_be_submitted_and_everything_has_ended() -> None:
    executor = Executor(1)
    pending = [executor.submit(sleep_and, i, 0.02) for i in range(10)]
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(pow, 2, 2)
    assert [future.result(WAIT_S) for future in pending] == list(range(10))
    executor.shutdown()
    executor.shutdown(cancel_futures=True)


def test_shutdown_with_cancel_futures_cancels_what_has_not_started() -> None:
    executor = Executor(1)
    pending = [executor.submit(sleep_and, i, 0.2) for i in range(50)]
    assert until(pending[0].running)
    executor.shutdown(cancel_futures=True)
    assert pending[0].result(0) == 0
    assert sum(future.cancelled() for future in pending) >= 45 and all(future.done() for future in pending)


def test_a_with_block_waits_also_when_it_raises() -> None:
    with pytest.raises(ArithmeticError), Executor(1) as executor:
        pending = [executor.submit(sleep_and, i, 0.05) for i in range(4)]
        raise ArithmeticError
    assert [future.result(0) for future in pending] == list(range(4))


def test_an_interrupted_with_block_ends_what_runs() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Executor(1) as executor:
        future = executor.submit(sleep_and, 1, 600)
        assert until(future.running)
        raise KeyboardInterrupt
    assert future.done() and time.monotonic() - began < 30


def test_an_executor_that_was_never_used_shuts_down() -> None:
    with Executor(1):
        pass


def test_a_dropped_executor_finishes_its_tasks_and_goes() -> None:
    executor = Executor(1)
    swarm = executor.swarm
    assert swarm is not None
    future = executor.submit(sleep_and, 5, 0.3)
    watched = weakref.ref(executor)
    del executor
    gc.collect()
    assert future.result(WAIT_S) == 5
    assert until(lambda: gc.collect() is not None and watched() is None)
    assert until(lambda: not swarm.bootstrap)


def test_a_fork_cannot_use_the_executor_of_its_parent(executor: Executor) -> None:
    executor.submit(pow, 2, 2).result(WAIT_S)
    pid = os.fork()
    if pid == 0:
        try:
            executor.submit(pow, 2, 2)
        except RuntimeError:
            executor.shutdown()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert executor.submit(pow, 2, 2).result(WAIT_S) == 4
