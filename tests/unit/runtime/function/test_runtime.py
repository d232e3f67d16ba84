"""Batches in real worker processes: results, output, deaths, cancellation, groups, and who gets which worker."""

from __future__ import annotations

import asyncio
import builtins
import io
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from p2pcpn.errors import StoreError, UsageError
from p2pcpn.runtime.function import failures, launch, parts, zygote
from p2pcpn.runtime.function.batches import Batch, Died, Event, GroupKey, Unstarted
from p2pcpn.runtime.function.messages import DROPPED, OK, RAISED, STDERR, STDOUT, Finished, Output
from p2pcpn.runtime.function.runtime import FunctionRuntime
from p2pcpn.runtime.function.sharing import SharedFile

cloudpickle.register_pickle_by_value(sys.modules[__name__])

KEY = b"k" * 32
OURS = GroupKey(b"o" * 32, None)
THEIRS = GroupKey(b"t" * 32, None)
WAIT_S = 20.0


class Peer:
    """Keeps the events of a runtime and waits for the one it is asked for."""

    def __init__(self, slots: int = 2, **options: Any) -> None:
        self.events: list[Event] = []
        self.heard = asyncio.Event()
        self.runtime = FunctionRuntime(slots=slots, on_event=self.on_event, **options)

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self.heard.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.heard.clear()
                await self.heard.wait()

    def finished(self, batch_id: int) -> list[Finished]:
        return [event for event in self.events if isinstance(event, Finished) and event.batch_id == batch_id]

    def died(self, batch_id: int) -> list[Died]:
        return [event for event in self.events if isinstance(event, Died) and event.batch_id == batch_id]

    def outcomes(self, batch_id: int) -> list[int]:
        return [outcome for event in self.finished(batch_id) for outcome in event.outcomes]

    def values(self, batch_id: int) -> list[bytes]:
        return [value for event in self.finished(batch_id) for value in event.values]

    def printed(self, batch_id: int, position: int, stream: int) -> bytes:
        mine = [event for event in self.events if isinstance(event, Output) and event.batch_id == batch_id]
        return b"".join(event.text for event in mine if (event.position, event.stream) == (position, stream))

    async def over(self, batch: Batch) -> None:
        count = len(batch.arguments)
        await self.until(lambda: len(self.outcomes(batch.batch_id)) == count or self.died(batch.batch_id))

    async def run(self, batch: Batch, group: GroupKey = OURS) -> list[Any]:
        """The results, where all went well."""
        self.runtime.submit(group, batch)
        await self.over(batch)
        assert self.outcomes(batch.batch_id) == [OK] * len(batch.arguments), self.events
        return [pickle.loads(value) for value in self.values(batch.batch_id)]


@asynccontextmanager
async def peer(slots: int = 2, **options: Any) -> AsyncIterator[Peer]:
    one = Peer(slots, **options)
    await one.runtime.start()
    try:
        yield one
    finally:
        await one.runtime.close()


def batch(batch_id: int, function: Callable[..., Any], *arguments: tuple[Any, ...], render: bool = False) -> Batch:
    packed = [pickle.dumps((each, {}), 5) for each in arguments]
    return Batch(batch_id, [cloudpickle.dumps(function)], None, packed, KEY, render)


def double(x: int) -> int:
    return 2 * x


def pid(_: object = None) -> int:
    return os.getpid()


def wait_for(path: str) -> str:
    """Says that it runs and ends when the file is there: a task as long as the test wants."""
    print("started", flush=True)
    while not os.path.exists(path):
        time.sleep(0.001)
    return path


@pytest.mark.asyncio
async def test_results_come_in_order_with_digests_under_the_key() -> None:
    async with peer() as one:
        assert await one.run(batch(1, double, *[(i,) for i in range(300)])) == [2 * i for i in range(300)]
        event = one.finished(1)[0]
        expected = b"".join(blake2b(value, digest_size=16, key=KEY).digest() for value in event.values)
        assert event.first == 0 and event.digests == expected and event.renderings == []
        assert all(ran_s >= 0 for ran_s in event.ran_s)


@pytest.mark.asyncio
async def test_several_functions_share_a_batch_and_are_sent_once() -> None:
    async with peer(slots=1) as one:
        functions = [cloudpickle.dumps(double), cloudpickle.dumps(pow)]
        arguments = [pickle.dumps(((3,), {})), pickle.dumps(((2, 5), {}))]
        for number in (1, 2):
            one.runtime.submit(OURS, Batch(number, functions, [0, 1], arguments, KEY))
            await one.until(lambda number=number: len(one.values(number)) == 2)
            assert [pickle.loads(value) for value in one.values(number)] == [6, 32]


@pytest.mark.asyncio
async def test_an_exception_is_the_error_of_its_task_alone() -> None:
    def fragile(x: int) -> int:
        if x == 1:
            raise KeyError("gone", 1)
        if x == 2:
            raise SystemExit(7)
        if x == 3:
            raise KeyboardInterrupt
        return x

    async with peer() as one:
        sent = batch(1, fragile, (0,), (1,), (2,), (3,), (4,), render=True)
        one.runtime.submit(OURS, sent)
        await one.over(sent)
        assert one.outcomes(1) == [OK, RAISED, RAISED, RAISED, OK]
        failure = failures.decode(one.values(1)[1])
        assert failure.type_name == "KeyError" and "fragile" in failure.traceback
        assert "worker.py" not in failure.traceback
        texts = [text for event in one.finished(1) for text in event.renderings]
        assert texts == ["0", "KeyError: ('gone', 1)", "SystemExit: 7", "KeyboardInterrupt: ", "4"]


@pytest.mark.asyncio
async def test_a_result_that_cannot_be_pickled_fails_its_task_alone() -> None:
    def odd(x: int) -> Any:
        return (lambda: 42) if x == 0 else (sys.stdin if x == 1 else x)

    async with peer() as one:
        sent = batch(1, odd, (0,), (1,), (2,))
        one.runtime.submit(OURS, sent)
        await one.over(sent)
        assert one.outcomes(1) == [OK, RAISED, OK]
        assert pickle.loads(one.values(1)[0])() == 42
        assert "pickle" in failures.decode(one.values(1)[1]).text


@pytest.mark.asyncio
async def test_a_function_that_cannot_be_loaded_fails_each_task_and_the_next_batch_runs() -> None:
    async with peer() as one:
        broken = Batch(1, [b"cnowhere_at_all\nf\n."], None, [pickle.dumps(((), {}))] * 2, KEY)
        one.runtime.submit(OURS, broken)
        await one.over(broken)
        assert one.outcomes(1) == [RAISED, RAISED]
        assert failures.decode(one.values(1)[1]).type_name == "ModuleNotFoundError"
        assert await one.run(batch(2, double, (4,))) == [8]


@pytest.mark.asyncio
async def test_what_a_task_prints_arrives_under_its_position_before_its_result() -> None:
    def chatty(x: int) -> int:
        print("out", x)
        print("err", x, file=sys.stderr)
        sys.stdout.buffer.write(b"raw\n")
        os.write(1, b"fd %d\n" % x)
        subprocess.run(["echo", f"child {x}"], check=True)
        return x

    async with peer() as one:
        assert await one.run(batch(1, chatty, (0,), (1,))) == [0, 1]
        for position in (0, 1):
            lines = one.printed(1, position, STDOUT).decode().splitlines()
            assert sorted(lines) == sorted(["raw", f"out {position}", f"fd {position}", f"child {position}"])
            assert one.printed(1, position, STDERR) == f"err {position}\n".encode()
        kinds = [type(event) for event in one.events]
        assert kinds[-1] is Finished


@pytest.mark.asyncio
async def test_output_is_streamed_while_the_task_runs(tmp_path: Path) -> None:
    def slow(path: str) -> None:
        print("started")
        os.write(2, b"here")
        wait_for(path)

    async with peer() as one:
        go = tmp_path / "go"
        one.runtime.submit(OURS, batch(1, slow, (str(go),)))
        await one.until(lambda: one.printed(1, 0, STDOUT) and one.printed(1, 0, STDERR))
        assert one.finished(1) == [] and one.runtime.running() == {1: 0}
        go.touch()
        await one.until(lambda: one.finished(1))


@pytest.mark.asyncio
async def test_output_beyond_its_bound_is_cut_with_a_line_that_says_so() -> None:
    def flood(how: str) -> None:
        if how == "python":
            for _ in range(40):
                print("x" * 65536)
        else:
            os.write(1, b"y" * (3 << 20))

    async with peer() as one:
        # One batch after the other: bytes written to the descriptor bear no name, and are booked on the task that runs.
        for number, how in ((1, "python"), (2, "descriptor")):
            await one.run(batch(number, flood, (how,)))
            text = one.printed(number, 0, STDOUT)
            assert (1 << 20) <= len(text) < (1 << 20) + 64
            assert text.endswith(b"\n[... output cut]\n")


@pytest.mark.asyncio
async def test_results_of_short_tasks_do_not_wait_for_a_long_one_behind_them(tmp_path: Path) -> None:
    def mixed(path: str) -> None:
        if path:
            wait_for(path)

    async with peer() as one:
        go = tmp_path / "go"
        one.runtime.submit(OURS, batch(1, mixed, ("",), ("",), (str(go),), ("",)))
        await one.until(lambda: len(one.outcomes(1)) == 2 and one.printed(1, 2, STDOUT))
        assert one.runtime.running() == {1: 2}
        go.touch()
        await one.until(lambda: len(one.outcomes(1)) == 4)


@pytest.mark.parametrize(
    ("how", "number", "code"), [("exit", None, 3), ("kill", signal.SIGKILL, None), ("segv", signal.SIGSEGV, None)]
)
@pytest.mark.asyncio
async def test_a_death_names_the_running_position_and_the_next_batch_runs(
    how: str, number: int | None, code: int | None
) -> None:
    def fatal(x: int, how: str) -> int:
        if x == 5:
            if how == "exit":
                os._exit(3)
            os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGSEGV)
        return x

    async with peer(slots=1) as one:
        one.runtime.submit(OURS, batch(1, fatal, *[(x, how) for x in range(10)]))
        await one.until(lambda: one.died(1))
        assert one.died(1) == [Died(1, 5, number, code)]
        assert len(one.outcomes(1)) <= 5
        assert await one.run(batch(2, double, (1,))) == [2]


@pytest.mark.asyncio
async def test_a_batch_behind_a_dead_one_runs_in_the_next_worker(tmp_path: Path) -> None:
    def die_after(path: str) -> None:
        wait_for(path)
        os._exit(1)

    async with peer(slots=1) as one:
        await one.run(batch(1, double, (1,)))  # short: so a batch is sent behind the next one
        go = tmp_path / "go"
        one.runtime.submit(OURS, batch(2, die_after, (str(go),)))
        one.runtime.submit(OURS, batch(3, double, (3,)))
        assert one.runtime.room() == 0
        go.touch()
        await one.until(lambda: one.died(2) and one.finished(3))
        assert [pickle.loads(value) for value in one.values(3)] == [6]


@pytest.mark.asyncio
async def test_a_batch_behind_a_long_one_moves_to_a_worker_that_falls_idle(tmp_path: Path) -> None:
    async with peer(slots=2) as one:
        await one.run(batch(1, wait_for, (str(tmp_path),)))
        first, second = tmp_path / "first", tmp_path / "second"
        one.runtime.submit(OURS, batch(2, wait_for, (str(first),)))
        one.runtime.submit(OURS, batch(3, wait_for, (str(second),)))
        one.runtime.submit(OURS, batch(4, double, (4,)))
        assert one.runtime.room() == 1
        second.touch()
        await one.until(lambda: one.finished(3) and one.finished(4))
        assert one.finished(2) == [] and len(one.finished(4)) == 1
        first.touch()
        await one.until(lambda: one.finished(2))


@pytest.mark.asyncio
async def test_cancel_drops_what_has_not_started_and_lets_the_rest_run(tmp_path: Path) -> None:
    async with peer(slots=1) as one:
        go = tmp_path / "go"
        one.runtime.submit(OURS, batch(1, wait_for, *[(str(go),)] * 4))
        one.runtime.cancel(1, [1, 2])
        one.runtime.cancel(99, [0])
        go.touch()
        await one.until(lambda: len(one.outcomes(1)) == 4)
        assert one.outcomes(1)[3] == OK and one.outcomes(1)[1:3] == [DROPPED, DROPPED]


@pytest.mark.asyncio
async def test_cancel_of_a_batch_that_waits_ends_it_at_once(tmp_path: Path) -> None:
    async with peer(slots=1) as one:
        await one.run(batch(1, double, (1,)))
        go = tmp_path / "go"
        one.runtime.submit(OURS, batch(2, wait_for, (str(go),)))
        await one.until(lambda: one.printed(2, 0, STDOUT))
        one.runtime.submit(OURS, batch(3, double, (1,), (2,)))
        one.runtime.submit(OURS, batch(4, double, (1,), (2,)))
        one.runtime.cancel(3, [0, 1])
        one.runtime.kill(4)
        assert one.outcomes(3) == one.outcomes(4) == [DROPPED, DROPPED]
        one.runtime.submit(OURS, batch(5, double, (1,), (2,)))
        one.runtime.cancel(5, [0])
        assert one.finished(5) == []
        go.touch()
        await one.until(lambda: len(one.outcomes(5)) == 2)
        assert one.outcomes(2) == [OK] and one.outcomes(5) == [DROPPED, OK]


@pytest.mark.asyncio
async def test_a_cut_batch_ends_with_the_task_that_runs_and_the_next_batch_follows(tmp_path: Path) -> None:
    async with peer(slots=1) as one:
        go = tmp_path / "go"
        one.runtime.submit(OURS, batch(1, wait_for, *[(str(go),)] * 4))
        await one.until(lambda: one.printed(1, 0, STDOUT))
        assert one.runtime.cut(1) == 1
        assert one.runtime.cut(1) == 1
        one.runtime.submit(OURS, batch(2, double, (3,)))
        go.touch()
        await one.until(lambda: one.finished(2))
        assert one.outcomes(1) == [OK] and one.outcomes(2) == [OK]
        assert one.runtime.cut(1) is None


@pytest.mark.asyncio
async def test_a_batch_that_waits_is_cut_to_nothing_and_never_heard_of(tmp_path: Path) -> None:
    async with peer(slots=1) as one:
        await one.run(batch(1, double, (1,)))
        go = tmp_path / "go"
        one.runtime.submit(OURS, batch(2, wait_for, (str(go),)))
        await one.until(lambda: one.printed(2, 0, STDOUT))
        one.runtime.submit(OURS, batch(3, double, (1,), (2,)))  # behind it, in its worker
        one.runtime.submit(OURS, batch(4, double, (1,), (2,)))  # and in no worker
        assert (one.runtime.cut(3), one.runtime.cut(4)) == (0, 0)
        go.touch()
        assert await one.run(batch(5, double, (5,))) == [10]
        assert one.finished(3) == one.finished(4) == []


@pytest.mark.asyncio
async def test_kill_ends_the_running_batch_with_the_signal() -> None:
    def spin(x: int) -> None:
        while x:
            pass

    async with peer(slots=1) as one:
        one.runtime.submit(OURS, batch(1, spin, (1,)))
        one.runtime.kill(1)  # whether the worker has taken it up or not
        one.runtime.submit(OURS, batch(2, spin, (0,), (1,), (0,)))
        await one.until(lambda: one.died(1) and one.finished(2))
        one.runtime.kill(2)
        await one.until(lambda: one.died(2))
        assert one.died(1) == [Died(1, 0, signal.SIGKILL, None)]
        assert one.died(2) == [Died(2, 1, signal.SIGKILL, None)] and one.outcomes(2) == [OK]
        assert await one.run(batch(3, double, (1,))) == [2]


@pytest.mark.asyncio
async def test_owners_do_not_share_workers_and_a_worker_is_kept_warm() -> None:
    async with peer(slots=1) as one:
        [first] = await one.run(batch(1, pid, ()))
        [theirs] = await one.run(batch(2, pid, ()), THEIRS)
        [again] = await one.run(batch(3, pid, ()))
        assert first == again != theirs


@pytest.mark.asyncio
async def test_idle_workers_of_many_owners_are_dismissed() -> None:
    async with peer(slots=1) as one:
        pids = [(await one.run(batch(number, pid, ()), GroupKey(bytes([number]) * 32, None)))[0] for number in range(6)]
        assert len(set(pids)) == 6
        assert len(one.runtime._links) <= 3


@pytest.mark.asyncio
async def test_an_idle_worker_is_dismissed_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with peer(slots=1) as one:
        await one.run(batch(1, double, (1,)))
        monkeypatch.setattr("p2pcpn.runtime.function.runtime.WORKER_IDLE_S", -1.0)
        one.runtime._sweep()
        assert one.runtime._groups == {}
        assert await one.run(batch(2, double, (1,))) == [2]


@pytest.mark.asyncio
async def test_fewer_slots_end_the_processes_that_idle_and_more_run_what_waits() -> None:
    async with peer(slots=3) as one:
        for number in range(3):
            await one.run(batch(number + 1, double, (1,)), GroupKey(bytes([number]) * 32, None))
        one.runtime.resize(1)
        assert len(one.runtime._links) == 2 and one.runtime.room() == 2
        one.runtime.resize(2)
        assert one.runtime.room() == 4
        assert await one.run(batch(9, double, (2,))) == [4]


def bundle_of(text: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("local_module_of_a_test.py", text)
    return data.getvalue()


@pytest.mark.asyncio
async def test_a_project_bundle_is_importable_in_its_own_group_only() -> None:
    def local() -> str:
        import local_module_of_a_test

        return str(local_module_of_a_test.WHO)

    async with peer() as one:
        one.runtime.set_bundle(b"a", bundle_of("WHO = 'a'"))
        one.runtime.set_bundle(b"b", bundle_of("WHO = 'b'"))
        one.runtime.set_bundle(b"a", b"already here")
        assert one.runtime.has_bundle(b"a") and not one.runtime.has_bundle(b"c")
        assert await one.run(batch(1, local, (), ()), GroupKey(b"o" * 32, b"a")) == ["a", "a"]
        assert await one.run(batch(2, local, ()), GroupKey(b"o" * 32, b"b")) == ["b"]
        without = batch(3, local, ())
        one.runtime.submit(OURS, without)
        await one.over(without)
        assert one.outcomes(3) == [RAISED]
        one.runtime.set_bundle(b"c", b"no zip")
        broken = batch(4, local, ())
        one.runtime.submit(GroupKey(b"o" * 32, b"c"), broken)
        await one.over(broken)
        assert "no zip archive" in failures.decode(one.values(4)[0]).text


@pytest.mark.asyncio
async def test_a_disk_that_refuses_a_bundle_is_said_and_the_bundle_is_not_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    async with peer(1) as one:
        with monkeypatch.context() as disk:
            disk.setattr(Path, "write_bytes", full)
            with pytest.raises(StoreError, match="No space left"):
                one.runtime.set_bundle(b"a", bundle_of("x = 1"))
        assert not one.runtime.has_bundle(b"a")


@pytest.mark.asyncio
async def test_bundles_that_no_group_uses_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.runtime.function.runtime.BUNDLES_MAX", 2)
    async with peer() as one:
        for digest in (b"a", b"b", b"c"):
            one.runtime.set_bundle(digest, bundle_of("x = 1"))
        assert [one.runtime.has_bundle(digest) for digest in (b"a", b"b", b"c")] == [False, True, True]


@pytest.mark.asyncio
async def test_what_cannot_run_is_refused_at_once() -> None:
    async with peer() as one:
        with pytest.raises(UsageError, match="set_bundle"):
            one.runtime.submit(GroupKey(b"o", b"unknown"), batch(1, double, (1,)))
        with pytest.raises(UsageError, match="at least one"):
            one.runtime.submit(OURS, Batch(1, [], None, [], KEY))
        with pytest.raises(UsageError, match="64 bytes"):
            one.runtime.submit(OURS, Batch(1, [b"f"], None, [b"a"], bytes(65)))


@pytest.mark.asyncio
async def test_a_large_argument_and_a_large_result_pass() -> None:
    async with peer() as one:
        data = os.urandom(5 << 20)
        assert await one.run(batch(1, bytes, (data,))) == [data]


@pytest.mark.asyncio
async def test_a_worker_that_speaks_nonsense_is_killed() -> None:
    def hostile(_: int) -> None:
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"\xff" * 64)
            except OSError:
                continue
        time.sleep(60)

    async with peer(slots=1) as one:
        one.runtime.submit(OURS, batch(1, hostile, (0,)))
        await one.until(lambda: one.died(1))
        assert one.died(1)[0].signal == signal.SIGKILL


@pytest.mark.asyncio
async def test_the_memory_limit_is_an_error_of_the_task() -> None:
    def greedy(size: int) -> int:
        return len(bytes(size))

    async with peer(slots=1, memory_bytes_max=512 << 20) as one:
        sent = batch(1, greedy, (1,), (2 << 30,), (2,))
        one.runtime.submit(OURS, sent)
        await one.over(sent)
        assert one.outcomes(1) == [OK, RAISED, OK]
        assert failures.decode(one.values(1)[1]).type_name == "MemoryError"


@pytest.mark.asyncio
async def test_a_killed_zygote_is_replaced() -> None:
    async with peer(slots=1) as one:
        assert await one.run(batch(1, double, (1,))) == [2]
        process = one.runtime._zygote
        assert process is not None
        one.runtime.submit(OURS, batch(2, wait_for, ("/nowhere/at/all",)))
        await one.until(lambda: one.printed(2, 0, STDOUT))
        os.kill(process.pid, signal.SIGKILL)
        await one.until(lambda: one.died(2))
        assert one.died(2) == [Died(2, 0, signal.SIGKILL, None)]
        assert await one.run(batch(3, double, (1,))) == [2]


@pytest.mark.asyncio
async def test_a_zygote_that_never_comes_up_fails_the_batches_and_the_next_submit_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(launch, "_CODE", "raise SystemExit(1)")
        async with peer(slots=1) as one:
            one.runtime.submit(OURS, batch(1, double, (1,)))
            await one.until(lambda: Unstarted(1, None, os.EX_UNAVAILABLE) in one.events)
            assert one.died(1) == []
            patched.undo()
            assert await one.run(batch(2, double, (1,))) == [2]


@pytest.mark.asyncio
async def test_a_worker_that_dies_before_it_starts_a_batch_is_replaced_without_blame() -> None:
    async with peer(slots=1) as one:
        await one.run(batch(1, double, (1,)))
        [link] = [link for link in one.runtime._links.values() if link.group == OURS]
        await one.until(lambda: link.pid is not None)
        assert link.pid is not None
        os.kill(link.pid, signal.SIGSTOP)  # it would begin the batch before we say that it died
        one.runtime.submit(OURS, batch(2, double, (2,)))
        one.runtime._answer(zygote.EXITED, link.number, 1, 0)
        one.runtime._pump()
        await one.until(lambda: one.finished(2) or one.died(2))
        assert [pickle.loads(value) for value in one.values(2)] == [4]


@pytest.mark.asyncio
async def test_close_is_quick_even_while_tasks_spin_and_nothing_is_heard_after_it() -> None:
    def spin(_: int) -> None:
        while True:
            pass

    one = Peer()
    await one.runtime.start()
    await one.run(batch(1, double, (1,)))
    root = one.runtime._root
    one.runtime.submit(OURS, batch(2, spin, (0,)))
    started = asyncio.get_running_loop().time()
    await one.runtime.close()
    await one.runtime.close()
    assert asyncio.get_running_loop().time() - started < 1.0
    assert one.died(2) == [] and root is not None and not root.exists()


# --- buffers beside the arguments ------------------------------------------------------------------------------------


def with_file(one: Peer, batch_id: int, number: int, count: int, function: Callable[..., Any]) -> Batch:
    name = (OURS.owner, OURS.bundle, bytes([number]) * 32, b"k")
    file = one.runtime.files.find(name) or one.runtime.files.make(name, bytes([number]) * (2 << 20))
    assert file is not None
    packed = pickle.dumps(((pickle.PickleBuffer(bytearray(1)),), {}), 5, buffer_callback=lambda _: False)
    return Batch(batch_id, [cloudpickle.dumps(function)], None, [packed] * count, KEY, False, [(file,)] * count)


def changed(buffer: Any) -> tuple[int, int, int]:
    before = buffer[0]
    buffer[0] += 1
    return before, buffer[0], len(buffer)


@pytest.mark.asyncio
async def test_files_serve_all_workers_and_go_with_the_last_batch_that_needs_them() -> None:
    async with peer(slots=2) as one:
        batches = [with_file(one, number, 5, 3, changed) for number in (1, 2)]
        found = await asyncio.gather(*(one.run(batch) for batch in batches))
        assert found == [[(5, 6, 2 << 20)] * 3] * 2 and len(one.runtime.files) == 1
        assert await one.run(with_file(one, 3, 6, 1, changed)) == [(6, 7, 2 << 20)]
        assert len(one.runtime.files) == 1, "what was asked for twice stays, what was asked for once does not"
        one.runtime._sweep()
        assert len(one.runtime.files) == 0
        assert await one.run(with_file(one, 4, 6, 1, changed)) == [(6, 7, 2 << 20)]


@pytest.mark.asyncio
async def test_files_are_let_go_when_a_batch_dies_or_is_cancelled() -> None:
    async with peer(slots=1) as one:

        def die(_: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        fatal, behind = with_file(one, 1, 1, 1, die), with_file(one, 2, 2, 1, changed)
        one.runtime.submit(OURS, fatal)
        one.runtime.submit(THEIRS, behind)
        one.runtime.cancel(2, [0])
        await one.until(lambda: one.died(1))
        assert len(one.runtime.files) == 0


def in_slab(one: Peer, batch_id: int, number: int, load: Callable[..., Any] | None, function: Any) -> Batch:
    """A batch of one task whose argument lies in a slab: the memory itself, or what ``load`` makes of it."""

    class Call:
        def __reduce__(self) -> tuple[Any, ...]:
            return load, (pickle.PickleBuffer(b"x"),)

    def fill(view: memoryview) -> None:
        view[:] = bytes([number]) * (1 << 20)

    file = one.runtime.files.make_by((OURS.owner, OURS.bundle, bytes([number]) * 32, b"k"), 1 << 20, fill)
    assert file is not None
    value = pickle.PickleBuffer(bytearray(1)) if load is None else Call()
    packed = pickle.dumps(((value,), {}), 5, buffer_callback=lambda _: False)
    return Batch(batch_id, [cloudpickle.dumps(function)], None, [packed], KEY, False, [(file,)])


def slab_of(batch: Batch) -> int:
    assert batch.parts is not None
    (file,) = batch.parts[0]
    assert isinstance(file, SharedFile) and file.slab is not None
    return file.slab.number


@pytest.mark.asyncio
async def test_arguments_follow_each_other_in_one_slab_and_no_task_sees_anothers() -> None:
    async with peer(slots=1) as one:
        numbers = []
        for number in range(1, 9):
            batch = in_slab(one, number, number, parts.as_bytes, lambda data: (len(data), set(data)))
            numbers.append(slab_of(batch))
            assert await one.run(batch) == [(1 << 20, {number})]
        assert set(numbers) == {1} and len(one.runtime.files) == 0


@pytest.mark.asyncio
async def test_an_array_that_a_task_keeps_is_not_written_over() -> None:
    def keep(array: Any) -> list[int]:
        kept = builtins.__dict__.setdefault("kept_arrays", [])
        kept.append(array)
        return [each[0] for each in kept] + [each[-1] for each in kept]

    async with peer(slots=1) as one:
        for number in range(1, 4):
            batch = in_slab(one, number, number, None, keep)
            assert slab_of(batch) == number
            assert await one.run(batch) == [list(range(1, number + 1)) * 2]


@pytest.mark.asyncio
async def test_the_memory_of_a_batch_that_dies_is_given_back_and_never_filled_again() -> None:
    def die(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async with peer(slots=1) as one:
        await one.run(batch(100, double, (1,)))
        before = len(os.listdir("/proc/self/fd"))
        for number in range(1, 4):
            fatal = in_slab(one, number, number, parts.as_bytes, die)
            assert slab_of(fatal) == number, "who died may have left a process behind that has it"
            one.runtime.submit(OURS, fatal)
            await one.until(lambda number=number: one.died(number))
        assert len(one.runtime.files) == one.runtime.files.size_bytes == len(one.runtime.files._slabs) == 0
        await one.run(in_slab(one, 9, 9, parts.as_bytes, len))
        assert one.runtime.files._slabs.spare_bytes == 1 << 20
        one.runtime.files.forget_unused()
        assert one.runtime.files._slabs.spare_bytes == 0
        assert len(os.listdir("/proc/self/fd")) <= before + 4, "only the one more worker's own are open"
