"""The peer's end of a worker, with a test at the worker's end."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from p2pcpn.limits import LANDING_BYTES
from p2pcpn.runtime.function import link as module
from p2pcpn.runtime.function.batches import Batch, GroupKey
from p2pcpn.runtime.function.landing import LANDED_BYTES, Berth
from p2pcpn.runtime.function.link import Assignment, WorkerLink
from p2pcpn.runtime.function.messages import Cancel, Finished, Frames, Lend, Output, Run, Share, Skipped, frame
from p2pcpn.runtime.function.progress import Page
from p2pcpn.runtime.function.sharing import SharedFile, SharedFiles

GROUP = GroupKey(b"o", None)
SCRATCH = memoryview(bytearray(module.RECEIVE_BYTES))


class Worker:
    """Holds what a link hands over, and what the link reports."""

    def __init__(self) -> None:
        self.messages: list[Finished | Output] = []
        self.skipped: list[int] = []
        self.faults = 0
        self.heard = asyncio.Event()
        self.link = WorkerLink(1, asyncio.get_running_loop(), self.on_message, self.on_skipped, self.on_fault, SCRATCH)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.link.hand_over(ours, b"order")
            self.order, descriptors, _, _ = socket.recv_fds(theirs, 16, 4)
        sock, page, self.out, self.err = descriptors
        self.socket = socket.socket(fileno=sock)
        self.socket.settimeout(20)
        self.page = Page(page)
        os.close(page)
        self.frames = Frames(from_worker=False)

    def on_message(self, link: WorkerLink, message: Finished | Output) -> None:
        if isinstance(message, Finished):
            link.assignments[0].reported += len(message.values)
        self.messages.append(message)
        self.heard.set()

    def on_skipped(self, link: WorkerLink, dispatch: int) -> None:
        self.skipped.append(dispatch)
        self.heard.set()

    def on_fault(self, link: WorkerLink) -> None:
        self.faults += 1
        self.heard.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.heard.clear()
                await self.heard.wait()

    def say(self, *messages: Any) -> None:
        for message in messages:
            self.socket.sendall(frame(message))

    def hear(self) -> list[Any]:
        return self.frames.feed(self.socket.recv(1 << 20))

    def close(self) -> None:
        self.link.close()
        self.link.close()
        self.socket.close()
        self.page.close()
        for descriptor in (self.out, self.err):
            try:
                os.close(descriptor)
            except OSError:
                continue


@asynccontextmanager
async def worker() -> AsyncIterator[Worker]:
    one = Worker()
    try:
        yield one
    finally:
        one.close()


def assignment(batch_id: int, count: int = 2, functions: tuple[bytes, ...] = (b"f",)) -> Assignment:
    return Assignment(GROUP, Batch(batch_id, list(functions), None, [pickle.dumps(((), {}))] * count, b"key"))


def finished(batch_id: int, first: int, count: int) -> Finished:
    return Finished(batch_id, first, bytes(count), [b"v"] * count, bytes(16 * count), [0.0] * count, [])


@pytest.mark.asyncio
async def test_a_function_is_sent_once_until_too_many_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FUNCTIONS_KEPT_MAX", 2)
    async with worker() as one:
        assert one.order == b"order"
        one.link.send(assignment(1), None)
        one.link.send(assignment(2, functions=(b"f", b"g")), "path")
        one.link.send(assignment(3, functions=(b"h",)), None)
        runs = one.hear()
        assert all(isinstance(run, Run) for run in runs)
        assert [(run.forget, run.loads, run.functions) for run in runs] == [
            (False, [(0, b"f")], [0]),
            (True, [(0, b"f"), (1, b"g")], [0, 1]),
            (True, [(0, b"h")], [0]),
        ]
        assert [run.dispatch for run in runs] == [1, 2, 3] and runs[1].bundle == "path"


@pytest.mark.asyncio
async def test_what_was_cancelled_before_goes_along_with_the_batch() -> None:
    async with worker() as one:
        sent = assignment(1)
        sent.dropped = {1}
        one.link.send(sent, None)
        assert [run.dropped for run in one.hear()] == [[1]]


@pytest.mark.asyncio
async def test_results_that_fit_are_passed_on_and_the_running_position_is_read() -> None:
    async with worker() as one:
        one.link.send(assignment(1, 3), None)
        assert one.link.position() is None
        assert one.page.start(1)
        one.page.cells[1] = 2
        assert one.link.position() == 2
        one.say(finished(1, 0, 1), Output(1, 1, 2, b"text"), finished(1, 1, 2), finished(77, 0, 1), Skipped(9))
        await one.until(lambda: one.skipped)
        assert one.messages == [finished(1, 0, 1), Output(1, 1, 2, b"text"), finished(1, 1, 2)]
        assert one.faults == 0


@pytest.mark.parametrize(
    "message",
    [
        finished(1, 1, 1),
        finished(1, 0, 3),
        finished(1, 0, 0),
        Finished(1, 0, b"", [b"v"], bytes(16), [0.0], []),
        Finished(1, 0, b"\0", [b"v"], b"", [0.0], []),
        Finished(1, 0, b"\0", [b"v"], bytes(16), [], []),
        Finished(1, 0, b"\0", [b"v"], bytes(16), [0.0], ["a", "b"]),
        Output(1, 2, 1, b"x"),
        Output(1, 0, 3, b"x"),
    ],
)
@pytest.mark.asyncio
async def test_what_does_not_fit_the_batch_is_a_fault(message: Finished | Output) -> None:
    async with worker() as one:
        one.link.send(assignment(1), None)
        one.say(message)
        await one.until(lambda: one.faults)
        assert one.messages == []


@pytest.mark.asyncio
async def test_the_batch_behind_is_taken_back_unless_it_has_started() -> None:
    async with worker() as one:
        first, second = assignment(1), assignment(2)
        one.link.send(first, None)
        one.link.send(second, None)
        assert one.page.start(1)
        assert one.link.revoke_last() is second and one.link.revoked == 2
        assert not one.page.start(2)
        one.say(Skipped(2))
        await one.until(lambda: one.skipped)
        assert one.link.revoked is None
        assert one.page.start(1) and one.link.revoke_last() is None


@pytest.mark.asyncio
async def test_a_batch_is_ended_behind_the_task_that_runs_and_what_is_said_of_the_rest_is_left_out() -> None:
    async with worker() as one:
        sent = assignment(1, 5)
        one.link.send(sent, None)
        assert one.link.cut(sent) == 5
        assert one.page.start(1)
        one.page.cells[1] = 2
        assert (one.link.cut(sent), sent.count) == (3, 3)
        one.say(finished(1, 0, 2), finished(1, 2, 3))
        await one.until(lambda: len(one.messages) == 2)
        last = one.messages[1]
        assert isinstance(last, Finished)
        assert (len(last.values), last.outcomes, len(last.digests), last.ran_s) == (1, b"\0", 16, [0.0])
        assert sent.reported == 3 and one.faults == 0


@pytest.mark.asyncio
async def test_a_batch_larger_than_the_sockets_buffer_is_sent_as_room_appears() -> None:
    async with worker() as one:
        large = Assignment(GROUP, Batch(1, [b"f" * (4 << 20)], None, [b"a"], b""))
        one.link.send(large, None)
        one.link.cancel(1, {0})
        received: list[Any] = []
        one.socket.setblocking(False)
        async with asyncio.timeout(20):
            while len(received) < 2:
                received += one.frames.feed(await asyncio.get_running_loop().sock_recv(one.socket, 1 << 20))
        assert received[0].loads == [(0, b"f" * (4 << 20))] and received[1] == Cancel(1, [0])


@pytest.mark.asyncio
async def test_descriptor_output_belongs_to_the_last_position_of_the_next_report() -> None:
    async with worker() as one:
        one.link.send(assignment(1, 4), None)
        assert one.page.start(1)
        os.write(one.out, b"streamed")
        await one.until(lambda: one.messages)
        os.write(one.out, b"before")
        one.say(finished(1, 0, 3))
        await one.until(lambda: len(one.messages) == 3)
        assert one.messages[0] == Output(1, 0, 1, b"streamed")
        assert one.messages[1:] == [Output(1, 2, 1, b"before"), finished(1, 0, 3)]
        os.write(one.out, b"again")  # the pipe is read again after its pause
        await one.until(lambda: len(one.messages) == 4)


@pytest.mark.asyncio
async def test_descriptor_output_is_cut_and_nobodys_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TASK_OUTPUT_BYTES_MAX", 10)
    async with worker() as one:
        os.write(one.out, b"nobody's")
        one.link.drain()
        one.link.send(assignment(1), None)
        assert one.page.start(1)
        os.write(one.out, b"x" * 15)
        one.link.drain()
        os.write(one.out, b"more")
        one.link.drain()
        assert one.messages == [Output(1, 0, 1, b"x" * 10 + b"\n[... output cut]\n")]


@pytest.mark.asyncio
async def test_a_dead_worker_is_drained_and_closed_pipes_are_left() -> None:
    async with worker() as one:
        one.link.send(assignment(1), None)
        one.say(finished(1, 0, 1))
        one.socket.close()
        os.close(one.out)
        os.close(one.err)
        await one.until(lambda: one.messages)
        one.link.drain()
        for end in list(one.link._pipes):
            one.link._pipe_readable(end)
        assert one.messages == [finished(1, 0, 1)] and one.link._pipes == {}
        one.link.send(assignment(2), None)  # lost on a socket that is closed, and no error


@pytest.mark.asyncio
async def test_a_link_that_never_had_a_worker_closes_what_it_would_have_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIPE_CAPACITY", 1 << 40)
    link = WorkerLink(1, asyncio.get_running_loop(), lambda *_: None, lambda *_: None, lambda _: None, SCRATCH)
    given = list(link._given)
    link.close()
    for descriptor in given:
        with pytest.raises(OSError):
            os.fstat(descriptor)


# --- shared files ----------------------------------------------------------------------------------------------------


def shared(files: SharedFiles, number: int, size: int = 4) -> SharedFile:
    made = files.make((b"o", None, bytes([number]) * 32, b"k"), bytes([number]) * size)
    assert made is not None
    return made


def with_parts(batch_id: int, *parts: tuple[SharedFile | bytes, ...]) -> Assignment:
    arguments = [b"a"] * len(parts)
    return Assignment(GROUP, Batch(batch_id, [b"f"], None, arguments, b"key", False, list(parts)))


def take(one: Worker) -> tuple[list[Any], list[bytes]]:
    """The messages that are there now, and what the files hold that came with them."""
    data, descriptors, _, _ = socket.recv_fds(one.socket, 1 << 20, 64)
    held = []
    for descriptor in descriptors:
        held.append(os.pread(descriptor, 100, 0))
        os.close(descriptor)
    return one.frames.feed(data), held


@pytest.mark.asyncio
async def test_a_file_is_passed_once_ahead_of_the_batches_that_need_it() -> None:
    files = SharedFiles(lambda file: None)
    async with worker() as one:
        first, second = shared(files, 1), shared(files, 2)
        one.link.send(with_parts(1, (first, second), (), (first, b"inline")), None)
        messages, held = take(one)
        messages += take(one)[0] if len(messages) < 2 else []
        assert held == [b"\1" * 4, b"\2" * 4] and messages[0] == Share([1, 2], [4, 4], [])
        assert messages[1].parts == [[1, 2], [], [1, b"inline"]]
        one.link.send(with_parts(2, (second,)), None)
        messages, held = take(one)
        assert held == [] and [message.parts for message in messages] == [[[2]]]
    files.close()


@pytest.mark.asyncio
async def test_a_worker_forgets_files_beyond_its_bound_but_none_that_a_batch_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WORKER_PARTS_BYTES_MAX", 8)
    files = SharedFiles(lambda file: one.link.forget_files([file.number]))
    async with worker() as one:
        made = [shared(files, number) for number in range(1, 5)]
        said: list[Any] = []
        for number, file in enumerate(made, 1):
            sent = with_parts(number, (file,))
            one.link.send(sent, None)
            while not said or not isinstance(said[-1], Run):
                said += take(one)[0]
            said.append(None)
            if number != 2:
                one.link.assignments.popleft()  # over
        assert [said.forget for said in said if isinstance(said, Share) and said.forget] == [[1], [2]]
        one.link.forget_files([4, 99])
        assert take(one)[0] == [Share([], [], [4])]
    files.close()


@pytest.mark.asyncio
async def test_files_that_must_wait_for_the_socket_arrive_even_if_they_were_dropped_meanwhile() -> None:
    files = SharedFiles(lambda file: None)
    async with worker() as one:
        one.link.send(Assignment(GROUP, Batch(1, [b"f" * (4 << 20)], None, [b"a"], b"")), None)
        file = shared(files, 1)
        one.link.send(with_parts(2, (file,)), None)
        files.close()
        said: list[Any] = []
        held: list[bytes] = []
        one.socket.setblocking(False)
        async with asyncio.timeout(20):
            while len(said) < 3:
                try:
                    messages, some = take(one)
                except BlockingIOError:
                    await asyncio.sleep(0)
                    continue
                said, held = said + messages, held + some
        assert held == [b"\1" * 4] and said[1] == Share([1], [4], []) and said[2].parts == [[1]]


@pytest.mark.asyncio
async def test_a_link_that_closes_leaves_no_descriptor_open() -> None:
    files = SharedFiles(lambda file: None)
    async with worker() as one:
        one.link.send(Assignment(GROUP, Batch(1, [b"f" * (4 << 20)], None, [b"a"], b"")), None)
        one.link.send(with_parts(2, (shared(files, 1),)), None)
        waiting = [descriptor for _, descriptors in one.link._unsent for descriptor in descriptors]
        assert len(waiting) == 1
    with pytest.raises(OSError):
        os.fstat(waiting[0])
    files.close()


def in_slab(files: SharedFiles, number: int) -> SharedFile:
    def fill(view: memoryview) -> None:
        view[:] = bytes([number]) * 4

    made = files.make_by((b"o", None, bytes([number]) * 32, b"k"), 4, fill)
    assert made is not None and made.slab is not None
    return made


@pytest.mark.asyncio
async def test_a_slab_is_passed_once_and_what_lies_there_next_is_told_with_its_batch() -> None:
    async with worker() as one:
        files = SharedFiles(one.link.dropped, lambda slab: one.link.dropped_slab(slab.number))
        first = in_slab(files, 1)
        sent = with_parts(1, (first,))
        files.use(sent.files)
        one.link.send(sent, None)
        messages, held = take(one)
        messages += take(one)[0] if len(messages) < 2 else []
        assert held[0][:4] == b"\1" * 4 and messages[0] == Share([1], [4], [], [1]) and messages[1].again == []
        one.link.assignments.popleft()  # over
        files.release(sent.files)
        second = in_slab(files, 2)
        assert second.slab is first.slab
        one.link.send(with_parts(2, (second,)), None)
        messages, held = take(one)
        assert held == [] and [(said.parts, said.again) for said in messages] == [([[2]], [(2, 1, 4)])]
        assert not one.link._gone, "the worker forgets by itself what lay there"
        files.close()


@pytest.mark.asyncio
async def test_what_lay_in_a_slab_is_forgotten_soon_where_nothing_comes_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_FORGET_S", 0.0)
    async with worker() as one:
        files = SharedFiles(one.link.dropped, lambda slab: one.link.dropped_slab(slab.number))
        file = in_slab(files, 1)
        sent = with_parts(1, (file,))
        files.use(sent.files)
        one.link.send(sent, None)
        assert [type(said) for said in take(one)[0] + take(one)[0]] == [Share, Run]
        one.link.assignments.popleft()
        files.release(sent.files)
        files.close()
        one.socket.setblocking(False)
        said: list[Any] = []
        async with asyncio.timeout(20):
            while not said:
                await asyncio.sleep(0)
                try:
                    said += take(one)[0]
                except BlockingIOError:
                    continue
        assert said == [Share([], [], [1], [], [1])]
        one.link.dropped_slab(99)
        assert not one.link._gone_slabs


@pytest.mark.asyncio
async def test_what_a_worker_says_of_slabs_that_it_has_is_believed() -> None:
    async with worker() as one:
        files = SharedFiles(lambda file: None)
        mine, another = in_slab(files, 1), in_slab(files, 2)
        one.link.send(with_parts(1, (mine,)), None)
        assert mine.slab is not None and another.slab is not None
        one.say(msgspec.structs.replace(finished(1, 0, 1), given=[mine.slab.number, another.slab.number, 99]))
        await one.until(lambda: one.messages)
        assert mine.slab.given and not another.slab.given
        files.close()


# --- lent memory -----------------------------------------------------------------------------------------------------


async def lent(one: Worker) -> Berth:
    """The worker's end of the memory that it is lent after its first large result."""
    one.link.send(assignment(1, 9), None)
    one.frames.feed(one.socket.recv(1 << 20))
    one.say(msgspec.structs.replace(finished(1, 0, 1), values=[b"v" * LANDED_BYTES]))
    await one.until(lambda: one.messages)
    data, descriptors, _, _ = socket.recv_fds(one.socket, 1 << 20, 4)
    assert one.frames.feed(data) == [Lend()] and len(descriptors) == 1
    return Berth(descriptors[0])


@pytest.mark.asyncio
async def test_whose_results_are_large_is_lent_memory_for_them() -> None:
    async with worker() as one:
        berth = await lent(one)
        offset = berth.put(b"w" * LANDED_BYTES, wait=False)
        assert offset is not None
        report = finished(1, 1, 2)
        said = msgspec.structs.replace(
            report, values=[b"small", b""], placed=[(1, offset, LANDED_BYTES)], until=berth.until
        )
        one.say(said)
        await one.until(lambda: len(one.messages) == 2)
        assert one.messages[1] == msgspec.structs.replace(
            report, values=[b"small", b"w" * LANDED_BYTES], until=berth.until
        )
        os.close(berth._descriptor)


@pytest.mark.asyncio
async def test_of_a_batch_that_was_cut_what_was_put_in_lent_memory_beyond_its_end_is_left_out() -> None:
    async with worker() as one:
        berth = await lent(one)
        sent = one.link.assignments[0]
        assert one.page.start(sent.dispatch)
        one.page.cells[1] = 1
        assert one.link.cut(sent) == 2
        placed = []
        for at, letter in enumerate((b"a", b"b", b"c")):
            offset = berth.put(letter * LANDED_BYTES, wait=False)
            assert offset is not None
            placed.append((at, offset, LANDED_BYTES))
        one.say(msgspec.structs.replace(finished(1, 1, 3), values=[b""] * 3, placed=placed, until=berth.until))
        await one.until(lambda: len(one.messages) == 2)
        last = one.messages[1]
        assert isinstance(last, Finished) and last.values == [b"a" * LANDED_BYTES] and one.faults == 0
        os.close(berth._descriptor)


@pytest.mark.asyncio
async def test_what_nobody_wants_any_more_makes_room_all_the_same() -> None:
    async with worker() as one:
        berth = await lent(one)
        for _ in range(30):
            offset = berth.put(b"w" * (1 << 20), wait=True)
            assert offset is not None
            one.say(msgspec.structs.replace(finished(77, 0, 1), placed=[(0, offset, 1 << 20)], until=berth.until))
            one.say(Skipped(9))
            one.skipped.clear()
            await one.until(lambda: one.skipped)
        os.close(berth._descriptor)


@pytest.mark.asyncio
@pytest.mark.parametrize("is_lent", [True, False])
async def test_a_result_that_is_not_in_the_memory_is_a_fault(is_lent: bool) -> None:
    async with worker() as one:
        if is_lent:
            os.close((await lent(one))._descriptor)
        else:
            one.link.send(assignment(1, 9), None)
        first = 1 if is_lent else 0
        one.say(
            msgspec.structs.replace(finished(1, first, 1), values=[b""], placed=[(0, 4096 + LANDING_BYTES, 1 << 16)])
        )
        await one.until(lambda: one.faults)


@pytest.mark.asyncio
async def test_without_memory_to_lend_the_socket_goes_on_carrying_results(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(module, "Landing", refuse)
    async with worker() as one:
        one.link.send(assignment(1, 3), None)
        for at in range(3):
            one.say(msgspec.structs.replace(finished(1, at, 1), values=[b"v" * LANDED_BYTES]))
            await one.until(lambda at=at: len(one.messages) == at + 1)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "lie",
    [
        Output(5, -1, 1, b"x"),
        Output(5, 2, 1, b"x"),
        Finished(5, 0, b"\0", [b"v"], bytes(16), [float("nan")], []),
        Finished(5, 0, b"\0", [b"v"], bytes(16), [-1.0], []),
        Finished(5, 0, b"\0", [b"v"], bytes(16), [0.1], [], [], -5),
        Finished(6, 0, b"\0", [b"v"], bytes(16), [0.1], [], [], -5),
        Finished(5, 0, b"\0", [b""], bytes(16), [0.1], [], [(0, -1, 9)], 9),
    ],
)
async def test_numbers_that_count_nothing_are_a_fault(lie: Any) -> None:
    async with worker() as one:
        one.link.send(assignment(5), None)
        one.link._lend()
        one.say(lie)
        await one.until(lambda: one.faults)
        assert one.messages == []


@pytest.mark.asyncio
async def test_a_worker_that_says_to_be_nowhere_neither_stops_its_peer_nor_speaks_for_others() -> None:
    async with worker() as one:
        sent = assignment(5)
        one.link.send(sent, None)
        one.page.cells[1] = (1 << 64) - 1
        one.page.cells[0] = sent.dispatch
        assert one.link.cut(sent) == 2
        assert one.link.position() == 1
        os.write(one.out, b"hello")
        await one.until(lambda: one.messages)
        assert [message.position for message in one.messages if isinstance(message, Output)] == [1]


@pytest.mark.asyncio
@pytest.mark.parametrize("waiting", [False, True])
async def test_a_worker_whose_message_the_system_refuses_is_given_up(
    waiting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker() as one:
        if waiting:
            monkeypatch.setattr(one.link, "_give", lambda *_: (_ for _ in ()).throw(BlockingIOError()))
            one.link.send(assignment(1), None)
        monkeypatch.setattr(one.link, "_give", lambda *_: (_ for _ in ()).throw(OSError(9, "bad descriptor")))
        if not waiting:
            one.link.send(assignment(1), None)
        await one.until(lambda: one.faults)
        monkeypatch.undo()
