"""A worker's loop, driven over a socket by a test that plays the peer, in this process."""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import socket
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import pytest

from p2pcpn.runtime.function import failures, lifetime
from p2pcpn.runtime.function import worker as module
from p2pcpn.runtime.function.messages import (
    DROPPED,
    OK,
    RAISED,
    Cancel,
    Finished,
    Frames,
    Output,
    Run,
    Share,
    Skipped,
    frame,
)
from p2pcpn.runtime.function.progress import Page, shared_file
from p2pcpn.runtime.function.sharing import filled
from p2pcpn.runtime.function.worker import Worker, main

cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Peer:
    """The other end: sends batches, collects messages until a batch is reported in full."""

    def __init__(self, folder: Path) -> None:
        self.socket, self.theirs = socket.socketpair()
        self.socket.settimeout(20)
        descriptor = shared_file()
        self.page, self.other = Page(descriptor), Page(descriptor)
        os.close(descriptor)
        self.worker = Worker(self.theirs, self.other, folder)
        self.frames = Frames(from_worker=True)
        self.thread = threading.Thread(target=self.worker.serve)

    def run(self, *runs: Run | Cancel) -> list[Any]:
        """What the worker says to these messages, up to the end of its last batch."""
        for message in runs:
            self.socket.sendall(frame(message))
        if not self.thread.is_alive():
            self.thread.start()
        messages: list[Any] = []
        wanted = sum(len(run.arguments) for run in runs if isinstance(run, Run))
        while sum(len(each.values) for each in messages if isinstance(each, Finished)) < wanted:
            chunk = self.socket.recv(1 << 20)
            assert chunk, "the worker left"
            messages += self.frames.feed(chunk)
            wanted -= sum(2 for each in messages if isinstance(each, Skipped))
        return messages

    def close(self) -> None:
        self.socket.close()
        if self.thread.is_alive():
            self.thread.join(20)
        assert not self.thread.is_alive()
        self.theirs.close()
        self.page.close()
        self.other.close()


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: bytes(4))
    one = Peer(tmp_path)
    yield one
    one.close()


def run(
    dispatch: int, function: Callable[..., Any] | bytes, *arguments: tuple[Any, ...], bundle: str | None = None
) -> Run:
    pickled = function if isinstance(function, bytes) else cloudpickle.dumps(function)
    packed = [pickle.dumps((each, {}), 5) for each in arguments]
    return Run(dispatch, dispatch, bundle, dispatch == 1, [(dispatch, pickled)], [dispatch], None, packed, b"key", True)


def outcomes(messages: list[Any]) -> list[int]:
    return [outcome for each in messages if isinstance(each, Finished) for outcome in each.outcomes]


def values(messages: list[Any]) -> list[bytes]:
    return [value for each in messages if isinstance(each, Finished) for value in each.values]


def test_tasks_run_in_order_and_are_reported_in_columns(peer: Peer) -> None:
    messages = peer.run(run(1, lambda x: x + 1, (1,), (2,), (3,)))
    report = messages[-1]
    assert [pickle.loads(value) for value in values(messages)] == [2, 3, 4]
    assert report.renderings[-1] == "4" and len(report.ran_s) == len(report.values)
    assert report.digests[-16:] == blake2b(report.values[-1], digest_size=16, key=b"key").digest()
    again = Run(2, 2, None, False, [], [1], [0], [pickle.dumps(((7,), {}))], b"", False)
    assert [pickle.loads(value) for value in values(peer.run(again))] == [8]


def test_what_was_cancelled_before_a_batch_was_sent_never_starts(peer: Peer) -> None:
    batch = run(1, lambda x: x + 1, (1,), (2,), (3,))
    batch = msgspec.structs.replace(batch, dropped=[0, 2])
    assert outcomes(peer.run(batch)) == [DROPPED, OK, DROPPED]


def test_a_batch_that_was_ended_leaves_the_rest_out(peer: Peer) -> None:
    started = threading.Event()
    go = threading.Event()
    waits[:] = [started, go]
    packed = pickle.dumps(((), {}))
    peer.thread.start()
    peer.socket.sendall(frame(Run(1, 1, None, True, [(1, pickle.dumps(_wait))], [1], None, [packed] * 3, b"", False)))
    assert started.wait(20) and peer.page.cut(1, 9) == 1
    go.set()
    messages: list[Any] = []
    while len(outcomes(messages)) < 3:
        messages += peer.frames.feed(peer.socket.recv(1 << 20))
    assert outcomes(messages) == [OK, DROPPED, DROPPED]


waits: list[threading.Event] = []


def _wait() -> None:
    waits[0].set()
    assert waits[1].wait(20)


def test_whatever_a_task_raises_is_its_own_error(peer: Peer) -> None:
    def fail(error: BaseException) -> None:
        print("before")
        raise error

    messages = peer.run(run(1, fail, (ValueError(1),), (SystemExit(),), (KeyboardInterrupt(),)))
    assert outcomes(messages) == [RAISED] * 3
    failure = failures.decode(values(messages)[0])
    assert failure.type_name == "ValueError" and "function/worker.py" not in failure.traceback
    assert Output(1, 0, 1, b"before\n") in messages


def test_arguments_functions_and_results_that_do_not_pickle_fail_alone(peer: Peer) -> None:
    def odd(x: int) -> Any:
        return (lambda: x) if x == 0 else (threading.Lock() if x == 1 else x)

    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    def mute() -> None:
        raise Mute

    messages = peer.run(run(1, odd, (0,), (1,), (2,)))
    assert outcomes(messages) == [OK, RAISED, OK]
    assert pickle.loads(values(messages)[0])() == 0
    unreadable = Run(2, 2, None, False, [], [1], None, [b"not a pickle"], b"", True)
    assert outcomes(peer.run(unreadable)) == [RAISED]
    assert outcomes(peer.run(run(3, b"cno_such_module\nf\n.", (), ()))) == [RAISED, RAISED]
    muted = peer.run(run(4, mute, ()))
    assert muted[-1].renderings[0].endswith("Mute")


def test_a_result_beyond_its_bound_is_an_error(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TASK_RESULT_BYTES_MAX", 200)
    messages = peer.run(run(1, lambda n: b"x" * n, (10,), (300,)))
    assert outcomes(messages) == [OK, RAISED]
    failure = failures.decode(values(messages)[1])
    assert "at most 200" in failure.text and failure.pickled is not None
    assert type(pickle.loads(failure.pickled)) is ValueError
    large = run(2, lambda n: (lambda: b"x" * n, b"y" * 300), (300,))
    assert outcomes(peer.run(large)) == [RAISED]


def test_cancelled_positions_are_not_started_and_keep_their_place(peer: Peer) -> None:
    ran: list[int] = []
    peer.worker._pickles[5] = b""
    batch = run(1, lambda x: x, (0,), (1,), (2,))
    messages = peer.run(batch, Cancel(1, [1, 2]), Cancel(9, [0]), run(2, lambda: 0, ()))
    assert outcomes(messages)[1:] == [DROPPED, DROPPED, OK] and ran == []
    assert peer.worker._dropped == {} and values(messages)[1:3] == [b"", b""]


def test_a_long_task_hears_of_a_cancellation_that_comes_while_it_runs(peer: Peer) -> None:
    begun = threading.Event()
    go = threading.Event()
    hooks = {"begun": begun, "go": go}
    sys.modules["hooks_of_a_test"] = type(sys)("hooks_of_a_test")
    vars(sys.modules["hooks_of_a_test"]).update(hooks)

    def wait() -> None:
        import hooks_of_a_test

        hooks_of_a_test.begun.set()
        hooks_of_a_test.go.wait(20)

    def cancel() -> None:
        begun.wait(20)
        peer.socket.sendall(frame(Cancel(1, [1])))
        threading.Timer(0.01, go.set).start()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    messages = peer.run(run(1, wait, (), ()))
    canceller.join()
    del sys.modules["hooks_of_a_test"]
    assert outcomes(messages) == [OK, DROPPED]


def test_a_batch_that_was_taken_back_is_skipped(peer: Peer) -> None:
    assert peer.page.revoke(1)
    messages = peer.run(run(1, lambda: 1, (), ()), run(2, lambda: 2, ()))
    assert Skipped(1) in messages and [pickle.loads(value) for value in values(messages)] == [2]


def test_a_bundle_is_imported_from_and_a_broken_one_fails_its_tasks(peer: Peer, tmp_path: Path) -> None:
    def local() -> Any:
        import bundled_module_of_a_test

        return bundled_module_of_a_test.WHO

    with zipfile.ZipFile(tmp_path / "bundle-1.zip", "w") as archive:
        archive.writestr("bundled_module_of_a_test.py", "WHO = 'me'")
    try:
        messages = peer.run(run(1, local, (), bundle=str(tmp_path / "bundle-1.zip")))
        assert pickle.loads(values(messages)[0]) == "me"
    finally:
        sys.modules.pop("bundled_module_of_a_test", None)
    messages = peer.run(run(2, local, (), bundle=str(tmp_path / "nothing.zip")))
    assert failures.decode(values(messages)[0]).type_name == "FileNotFoundError"


def test_descriptors_that_still_hold_output_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [b"\1\0\0\0", bytes(4), bytes(4), bytes(4)]
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: answers.pop(0))
    monkeypatch.setattr(module, "_PIPE_LOOK_S", 0.0)
    module._let_pipes_empty()
    assert answers == []

    def closed(*_: object) -> bytes:
        raise OSError

    monkeypatch.setattr(fcntl, "ioctl", closed)
    module._let_pipes_empty()


class Left(Exception):
    """Where the process would have ended."""


@pytest.mark.parametrize("broken", [False, True])
def test_a_forked_child_becomes_a_worker_apart_from_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    calls: list[Any] = []

    def leave(code: int) -> None:
        raise Left(code)

    ours, theirs = socket.socketpair()
    ours.close()
    page = shared_file()
    monkeypatch.setattr(os, "setsid", lambda: calls.append("setsid"))
    monkeypatch.setattr(os, "dup2", lambda _, target: calls.append(target))
    monkeypatch.setattr(os, "closerange", lambda *_: None)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(os, "chdir", lambda _: None)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(signal, "signal", lambda number, _: calls.append(number))
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda _: None)
    monkeypatch.setattr(lifetime, "die_with", lambda parent: calls.append(parent))
    monkeypatch.setattr(lifetime, "limit_memory", lambda limit: calls.append(limit))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    out, err = os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)
    folder = tmp_path / "worker-1"
    if broken:
        folder.mkdir()
    with pytest.raises(Left) as left:
        main([theirs.detach(), page, out, err], folder, 7, 1 << 30)
    assert left.value.args == (1 if broken else 0,)
    assert calls[:2] == ["setsid", 7] and [each for each in calls if each in ("setsid", 0)] == ["setsid", 0]
    assert broken or ((1 << 30) in calls and os.environ["TMPDIR"] == str(folder))


# --- buffers beside the arguments ------------------------------------------------------------------------------------


def with_buffer(function: Callable[..., Any], numbers: list[int | bytes], *, dispatch: int = 1) -> Run:
    packed = pickle.dumps(((pickle.PickleBuffer(bytearray(1)),), {}), 5, buffer_callback=lambda _: False)
    parts: list[list[int | bytes]] = [[number] for number in numbers]
    made = run(dispatch, function, *[()] * len(numbers))
    return msgspec.structs.replace(made, arguments=[packed] * len(numbers), parts=parts)


def test_tasks_get_buffers_that_came_as_files_and_none_sees_what_another_wrote(peer: Peer) -> None:
    def first(buffer: Any) -> bytes:
        before = bytes(buffer)
        buffer[0] = ord("X")
        return before

    descriptor = filled(b"data")
    assert descriptor is not None
    socket.send_fds(peer.socket, [frame(Share([7], [4], []))], [descriptor])
    os.close(descriptor)
    messages = peer.run(with_buffer(first, [7, 7, b"inline"]))
    assert [pickle.loads(value) for value in values(messages)] == [b"data", b"data", b"inline"]
    peer.socket.sendall(frame(Share([], [], [7])))
    assert outcomes(peer.run(with_buffer(first, [7], dispatch=2))) == [RAISED]


def test_each_batch_begins_in_the_workers_folder_wherever_the_last_one_went(peer: Peer, tmp_path: Path) -> None:
    def wander(to: str) -> str:
        here = os.getcwd()
        os.chdir(to)
        return here

    (found,) = values(peer.run(run(1, wander, ("/",))))
    (again,) = values(peer.run(run(2, wander, ("/",))))
    assert [pickle.loads(found), pickle.loads(again)] == [str(tmp_path)] * 2


def test_where_the_folder_is_gone_the_next_batch_says_so(peer: Peer, tmp_path: Path) -> None:
    os.chdir("/")
    go = os.chdir
    refused = lambda path: go("/nowhere") if str(path) == str(tmp_path) else go(path)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        assert outcomes(peer.run(run(1, lambda: os.chdir("/"), ()))) == [OK]
        patch.setattr(os, "chdir", refused)
        peer.run(run(2, lambda: None, ()))
        assert outcomes(peer.run(run(3, lambda: None, ()))) == [RAISED]
