"""When results and output leave the worker, told by a clock of the test's own."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from p2pcpn.limits import CHECKPOINT_S, TASK_OUTPUT_BYTES_MAX
from p2pcpn.runtime.function import landing as landing_module
from p2pcpn.runtime.function import reporter as module
from p2pcpn.runtime.function.landing import LANDED_BYTES, Landing, Pieces
from p2pcpn.runtime.function.messages import Finished, Frames, Output, Skipped, State
from p2pcpn.runtime.function.reporter import FLUSH_S, LONG_S, OUTPUT_S, Reporter, streams


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Line:
    """A reporter, and what arrives at the other end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, threaded: bool = False) -> None:
        self.clock = Clock()
        self.theirs, ours = socket.socketpair()
        self.ours = ours
        if not threaded:
            monkeypatch.setattr(Reporter, "_unpark", lambda _: None)
        self.reporter = Reporter(ours, clock=self.clock)
        self.frames = Frames(from_worker=True)

    def received(self, flags: int = socket.MSG_DONTWAIT) -> list[Any]:
        try:
            return self.frames.feed(self.theirs.recv(4 << 20, flags))
        except BlockingIOError:
            return []

    def add(self, value: bytes = b"v", ran_s: float = 0.0) -> bool:
        return self.reporter.add(0, value, ran_s, self.clock.now, None)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    one = Line(monkeypatch)
    one.reporter.begin(1, 100, b"key")
    yield one
    one.theirs.close()
    one.ours.close()


def test_short_tasks_wait_and_leave_together(line: Line) -> None:
    assert not line.add() and not line.add()
    assert line.received() == []
    line.clock.now += 2 * FLUSH_S
    assert line.add()
    [report] = line.received()
    assert isinstance(report, Finished)
    assert (report.first, len(report.values), len(report.digests)) == (0, 3, 48)
    assert line.add(ran_s=FLUSH_S)
    assert line.received()[0].first == 3


def test_results_wait_while_the_next_is_likely_to_come_in_time(line: Line) -> None:
    sent = []
    for _ in range(8):
        line.clock.now += 0.0101
        sent.append(line.add(ran_s=0.0101))
    assert sent == [False, False, False, True] * 2


def test_what_wrote_to_the_descriptors_is_reported_at_once(line: Line) -> None:
    assert line.reporter.add(0, b"v", LONG_S, line.clock.now, None, True)


def test_the_last_of_a_batch_leaves_at_once(line: Line) -> None:
    line.reporter.begin(2, 2, b"")
    assert not line.add()
    assert line.reporter.add(1, b"w", 0.0, line.clock.now, "text")
    [report] = line.received()
    assert (report.batch_id, report.outcomes, report.renderings) == (2, b"\0\1", ["text"])


def test_many_bytes_do_not_wait(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_BYTES", 100)
    assert not line.add(b"x" * 60)
    assert line.add(b"x" * 60)
    assert len(line.received()[0].values) == 2


def test_a_look_sends_what_has_waited_long_enough(line: Line) -> None:
    assert not line.reporter.look(line.clock.now)
    line.add()
    assert line.reporter.look(line.clock.now) and line.received() == []
    line.clock.now += 2 * FLUSH_S
    assert line.reporter.look(line.clock.now) and len(line.received()) == 1
    line.reporter.write(1, b"x")
    assert line.reporter.look(line.clock.now) and line.received() == []
    line.clock.now += 2 * OUTPUT_S
    assert line.reporter.look(line.clock.now) and line.received() == [Output(1, 0, 1, b"x")]


def test_output_goes_ahead_of_results_under_its_position_and_stream(line: Line) -> None:
    for position, stream, text in [(0, 1, b"a"), (0, 1, b"b"), (0, 2, b"c"), (1, 1, b"d")]:
        line.reporter.position = position
        line.reporter.write(stream, text)
    line.reporter.write(1, b"")
    line.reporter.send(Skipped(9))
    texts = [Output(1, 0, 1, b"ab"), Output(1, 0, 2, b"c"), Output(1, 1, 1, b"d"), Skipped(9)]
    assert line.received() == texts


def test_output_is_cut_for_each_task_apart(line: Line) -> None:
    line.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    line.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    line.reporter._room = TASK_OUTPUT_BYTES_MAX
    line.reporter._printing = (1, 0)
    line.reporter._room = 4
    line.reporter.write(1, b"123456")
    line.reporter.write(1, b"more")
    line.reporter.position = 1
    line.reporter.write(1, b"next")
    line.reporter.send(Skipped(1))
    first, second, _ = line.received()
    assert first.text == b"1234\n[... output cut]\n" and second.text == b"next"


def test_much_output_leaves_without_waiting(line: Line) -> None:
    line.reporter.write(1, b"x" * module.OUTPUT_FLUSH_BYTES)
    assert line.theirs.recv(4)


def test_what_is_printed_while_a_report_is_sent_waits_for_the_next(line: Line) -> None:
    line.reporter._sending = True
    assert line.add(ran_s=1.0)
    assert line.received() == []
    line.reporter._sending = False
    assert line.add(ran_s=1.0)
    assert len(line.received()[0].values) == 2


def test_the_streams_are_text_files_that_cannot_be_closed(line: Line) -> None:
    out, err = streams(line.reporter)
    print("ä", "b", file=out)
    out.buffer.write(b"raw")
    err.write("\ud800")
    out.close()
    out.write("still")
    assert (out.fileno(), err.fileno(), out.isatty(), out.encoding) == (1, 2, False, "utf-8")
    line.reporter.send(Skipped(1))
    texts = [(event.stream, event.text) for event in line.received()[:-1]]
    assert texts == [(1, "ä b\nraw".encode()), (2, b"\\ud800"), (1, b"still")]


def test_a_thread_flushes_what_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.0005)
    monkeypatch.setattr(module, "_LOOKS_IN_VAIN", 2)
    one = Line(monkeypatch, threaded=True)
    one.clock.now = 1e9
    one.reporter.begin(1, 100, b"")
    one.theirs.settimeout(10)
    for position in range(3):
        one.reporter.add(0, b"v", 0.0, 0.0, None) if position == 0 else one.reporter.write(1, b"x")
        one.clock.now += 1.0
        assert len(one.received(0)) == 1
        while position < 2 and not one.reporter._parked:  # it goes to sleep in between, and is woken
            os.sched_yield()
    one.theirs.close()
    one.ours.close()


def test_a_forked_child_never_reports_in_its_parents_name(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exit(Exception):
        pass

    def leave(code: int) -> None:
        raise Exit(code)

    monkeypatch.setattr(os, "_exit", leave)
    line.reporter._pid = -1
    with pytest.raises(Exit):
        line.add(ran_s=1.0)
    assert line.received() == []


def test_a_peer_that_is_gone_ends_the_worker(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    line.theirs.close()
    line.add(ran_s=1.0)
    assert ended == [0]


def test_in_a_forked_child_the_streams_are_the_descriptors(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    line.reporter.leave_child()
    assert (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
    assert subprocess.run(["true"], check=True).returncode == 0


# --- lent memory -----------------------------------------------------------------------------------------------------


def test_large_results_go_into_lent_memory_and_small_ones_beside_them(line: Line) -> None:
    landing = Landing()
    line.reporter.lend(os.dup(landing.descriptor))
    large = [bytes([i]) * LANDED_BYTES for i in range(2)]
    assert not line.add(b"small") and not line.add(large[0]) and not line.add(large[1])
    line.reporter.send(Skipped(1))
    report, _ = line.received()
    assert report.values == [b"small", b"", b""] and len(report.placed) == 2
    assert report.digests[:16] != bytes(16) and report.digests[16:] == bytes(32)
    assert landing.take(report.values, report.placed, report.until) == [b"small", *large]
    landing.close()


def test_results_in_lent_memory_leave_once_they_take_half_of_it(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_LANDED_BYTES", 3 * LANDED_BYTES)
    monkeypatch.setattr(module, "FLUSH_BYTES", 2 * LANDED_BYTES)
    landing = Landing()
    line.reporter.lend(os.dup(landing.descriptor))
    assert [line.add(b"x" * LANDED_BYTES) for _ in range(6)] == [False, False, True] * 2
    assert len(line.received()[0].values) == 3
    landing.close()


def test_a_result_in_pieces_goes_into_lent_memory_or_as_a_whole() -> None:
    ours, theirs = socket.socketpair()
    reporter, frames = Reporter(ours), Frames(from_worker=True)
    reporter.begin(1, 1, b"key")
    pieces = Pieces([b"x" * LANDED_BYTES, b"y"])
    received: list[Any] = []
    reading = threading.Thread(
        target=lambda: [received.extend(frames.feed(theirs.recv(4 << 20))) for _ in range(99) if not received]
    )
    reading.start()
    assert reporter.add(0, pieces, 1.0, 0.0, None)
    reading.join(20)
    assert received[0].values == [b"x" * LANDED_BYTES + b"y"] and received[0].digests == bytes(16)
    landing = Landing()
    reporter.lend(os.dup(landing.descriptor))
    reporter.begin(2, 2, b"key")
    reporter.add(0, pieces, 1.0, 0.0, None)
    reporter.add(0, Pieces([b"sm", b"all"]), 1.0, 0.0, None)
    [first, second] = frames.feed(theirs.recv(4 << 20))
    assert landing.take(first.values, first.placed, first.until) == [b"x" * LANDED_BYTES + b"y"]
    assert second.values == [b"small"] and second.digests != bytes(16)
    landing.close()
    ours.close()
    theirs.close()


def test_a_result_that_finds_no_room_is_sent_after_what_fills_it_was_reported(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing_module, "LANDING_BYTES", 3 * LANDED_BYTES)
    monkeypatch.setattr(landing_module, "_WAIT_S", 0.0)
    landing = Landing()
    line.reporter.lend(os.dup(landing.descriptor))
    for _ in range(3):
        line.add(b"x" * LANDED_BYTES)
    received: list[Any] = []
    reading = threading.Thread(
        target=lambda: [received.extend(line.received(0)) for _ in range(99) if not done(received)]
    )
    reading.start()
    line.add(b"y" * LANDED_BYTES)
    line.reporter.send(Skipped(1))
    reading.join(20)
    first, second, _ = received
    assert len(first.placed) == 3 and second.placed == [] and second.values == [b"y" * LANDED_BYTES]
    landing.close()


def test_what_tasks_were_given_is_told_with_their_results_once(line: Line) -> None:
    line.reporter.gave(7)
    line.add(ran_s=FLUSH_S)
    line.add(ran_s=FLUSH_S)
    assert [message.given for message in line.received()] == [[7], []]


def done(received: list[Any]) -> bool:
    return bool(received) and isinstance(received[-1], Skipped)


def test_the_newest_state_leaves_at_once_and_then_at_most_each_half_second(line: Line) -> None:
    line.reporter.keep(b"one")
    line.reporter.keep(b"two")
    line.reporter.keep(b"three")
    assert [(said.batch_id, said.position, said.data) for said in line.received()] == [(1, 0, b"one")]
    assert line.reporter.look(line.clock.now) and line.received() == []
    line.clock.now += CHECKPOINT_S
    assert line.reporter.look(line.clock.now)
    assert [said.data for said in line.received()] == [b"three"]
    line.reporter.keep(b"four")
    line.add()
    line.clock.now += CHECKPOINT_S
    line.reporter.look(line.clock.now)  # the task is over: nobody wants its state
    assert not any(isinstance(said, State) for said in line.received())
