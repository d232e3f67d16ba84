"""A peer as a process: what it reports, what ends it, and the exit code it ends with."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.config import Config
from p2pcpn.errors import StoreError, Unreachable, UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node import daemon
from p2pcpn.node.daemon import LOG_NAME, end_with, limit_end, obey_signals, report_to, run_peer, serve
from p2pcpn.protocol.departure import HAND_OVER_S
from p2pcpn.wire.addresses import contact

ME = Keypair(b"\1" * 32)


class Overlay:
    """A peer as far as a process is concerned: it starts, it closes."""

    made: list[Overlay] = []  # noqa: RUF012
    error: Exception | None = None
    host = "127.0.0.1"

    def __init__(self, config: Config, **options: Any) -> None:
        self.config = config
        self.options = options
        self.id = ME.id
        self.peer = SimpleNamespace(contact=contact(ME.id, (self.host, 4000)))
        self.data_dir = config.data_dir
        self.calls: list[str] = []
        self.upkeep = SimpleNamespace(hand_over=self._hand_over)
        Overlay.made.append(self)

    async def _hand_over(self, wait_s: float) -> None:
        self.calls.append("hand over")

    async def start(self) -> None:
        self.calls.append("start")
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.calls.append("close")


class Control:
    """A control socket that stops the peer as soon as it is open."""

    def __init__(self, overlay: Overlay, path: Path, stop: asyncio.Event, draining: Any = None) -> None:
        self.overlay = overlay
        self.path = path
        self.stop = stop

    async def open(self) -> None:
        self.overlay.calls.append(f"control {self.path.name}")
        self.stop.set()

    async def close(self) -> None:
        self.overlay.calls.append("control closed")


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The tests' own time limit uses the same timer: what would be set is only noted."""
    found: list[float] = []
    monkeypatch.setattr(daemon, "limit_end", found.append)
    monkeypatch.setattr(daemon, "Overlay", Overlay)
    monkeypatch.setattr(daemon, "ControlServer", Control)
    monkeypatch.setattr(Overlay, "error", None)
    Overlay.made.clear()
    yield found
    logging.getLogger("p2pcpn").setLevel(logging.NOTSET)


@pytest.mark.asyncio
async def test_a_peer_is_started_reported_and_closed(limited: list[float]) -> None:
    overlay, stop = Overlay(Config()), asyncio.Event()
    reports: list[Mapping[str, Any]] = []
    control = Control(overlay, Path("control.sock"), stop)
    await serve(
        overlay, stop=stop, control=control, report=reports.append,
        ending=lambda end_s: overlay.calls.append(f"ends in {end_s:g} s"),
    )  # type: ignore[arg-type]  # fmt: skip
    assert overlay.calls == [
        "start", "control control.sock", "ends in 35 s", "hand over", "ends in 5 s", "control closed", "close"
    ]  # fmt: skip
    assert reports == [{"address": "127.0.0.1:4000", "id": ME.id.hex(), "pid": os.getpid()}]


def test_run_peer_listens_on_the_control_socket_of_its_data_directory(tmp_path: Path, limited: list[float]) -> None:
    reports: list[Mapping[str, Any]] = []
    assert run_peer(Config(data_dir=tmp_path), report=reports.append, owner_pids=(7,)) == 0
    (overlay,) = Overlay.made
    assert overlay.options["owner_pids"] == (7,)
    assert "control control.sock" in overlay.calls
    assert reports[0]["pid"] == os.getpid()
    assert limited == [HAND_OVER_S + daemon.POLITE_S, daemon.POLITE_S]
    log = (tmp_path / LOG_NAME).read_text()
    assert "listens at 127.0.0.1:4000" in log


def test_run_peer_brackets_addresses_of_the_sixth_version(
    tmp_path: Path, limited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Overlay, "host", "::1")
    reports: list[Mapping[str, Any]] = []
    run_peer(Config(data_dir=tmp_path), report=reports.append, control=tmp_path / "other.sock")
    assert reports[0]["address"] == "[::1]:4000"
    assert "control other.sock" in Overlay.made[0].calls


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (UsageError("wrong"), 2, "usage"),
        (Unreachable("nobody"), 3, "unreachable"),
        (StoreError("full"), 1, "store"),
        (ZeroDivisionError("a bug"), 1, "fault"),
    ],
)
def test_a_peer_that_cannot_start_says_why_and_closes(
    tmp_path: Path, limited: list[float], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, kind: str
) -> None:
    monkeypatch.setattr(Overlay, "error", error)
    reports: list[Mapping[str, Any]] = []
    assert run_peer(Config(data_dir=tmp_path), report=reports.append) == code
    assert reports == [{"failed": str(error) if kind != "fault" else f"ZeroDivisionError: {error}", "kind": kind}]
    assert Overlay.made[0].calls[-1] == "close"
    assert str(error) in (tmp_path / LOG_NAME).read_text()


def test_the_log_is_bounded_and_taken_off_at_the_end(tmp_path: Path, limited: list[float]) -> None:
    before = list(logging.getLogger().handlers)
    handler = daemon._logging(Config(data_dir=tmp_path), logging.INFO)
    assert isinstance(handler, RotatingFileHandler)
    assert handler.maxBytes > 0
    assert handler.backupCount == 1
    logging.getLogger().removeHandler(handler)
    handler.close()
    run_peer(Config(data_dir=tmp_path))
    assert logging.getLogger().handlers == before


def test_a_peer_that_has_nowhere_to_log_says_it_to_stderr(tmp_path: Path, limited: list[float]) -> None:
    (tmp_path / "file").write_text("")
    for data_dir in (None, tmp_path / "file"):
        handler = daemon._logging(Config(data_dir=data_dir), logging.INFO)
        assert type(handler) is logging.StreamHandler
        logging.getLogger().removeHandler(handler)


@pytest.fixture
def terminal() -> Iterator[None]:
    """Somebody shows all that is warned of."""
    shows = logging.NullHandler()
    logging.getLogger("p2pcpn").addHandler(shows)
    yield
    logging.getLogger("p2pcpn").removeHandler(shows)


@pytest.mark.usefixtures("terminal")
def test_what_is_shown_on_the_terminal_is_not_said_on_stderr_a_second_time(
    tmp_path: Path, limited: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Overlay, "error", StoreError("no room"))
    (tmp_path / "file").write_text("")
    assert run_peer(Config(data_dir=tmp_path / "file")) == 1
    assert run_peer(Config(data_dir="/dev/full")) == 1
    assert capsys.readouterr().err == ""


def test_a_log_that_the_disk_refuses_does_not_hide_why_the_peer_ends(
    tmp_path: Path, limited: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Overlay, "error", StoreError("no room"))
    (tmp_path / LOG_NAME).symlink_to("/dev/full")
    assert run_peer(Config(data_dir=tmp_path)) == 1
    told = capsys.readouterr().err
    assert "no room" in told and told.count("\n") == 1


@pytest.mark.asyncio
async def test_the_first_signal_is_polite_and_the_second_is_not() -> None:
    stop, exits = asyncio.Event(), asyncio.Queue[int]()
    loop = asyncio.get_running_loop()
    obey_signals(stop, exit_now=exits.put_nowait)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), 5)
        assert exits.empty()
        os.kill(os.getpid(), signal.SIGINT)
        assert await asyncio.wait_for(exits.get(), 5) == 128 + signal.SIGINT
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.asyncio
async def test_the_first_signal_drains_a_peer_that_runs() -> None:
    class Draining:
        possible = True
        begun = asyncio.Event()

        def begin(self) -> None:
            self.begun.set()

    stop, exits, draining = asyncio.Event(), asyncio.Queue[int](), Draining()
    loop = asyncio.get_running_loop()
    obey_signals(stop, draining, exit_now=exits.put_nowait)  # type: ignore[arg-type]
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(draining.begun.wait(), 5)
        assert not stop.is_set() and exits.empty()
        os.kill(os.getpid(), signal.SIGINT)
        assert await asyncio.wait_for(exits.get(), 5) == 128 + signal.SIGINT
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.asyncio
async def test_a_peer_ends_when_the_pipe_of_its_starter_closes(limited: list[float]) -> None:
    stop = asyncio.Event()
    reading, writing = os.pipe()
    end_with(reading, stop)
    os.write(writing, b"still here")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not stop.is_set()
    os.close(writing)
    await asyncio.wait_for(stop.wait(), 5)
    assert limited == [daemon.ORPHAN_S]
    os.close(reading)


def test_the_pipe_of_the_starter_is_watched_by_run_peer(tmp_path: Path, limited: list[float]) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    assert run_peer(Config(data_dir=tmp_path), lifetime_fd=reading) == 0
    os.close(reading)


def test_of_two_limits_the_earlier_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    left, calls = [0.0], list[float]()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(signal, "getitimer", lambda _: (left[0], 0.0))
    monkeypatch.setattr(signal, "setitimer", lambda _, end_s: calls.append(end_s))
    limit_end(5.0)
    left[0] = 5.0
    limit_end(0.8)
    left[0] = 0.8
    limit_end(5.0)
    assert calls == [5.0, 0.8]


def test_a_report_is_one_json_line_and_needs_no_reader() -> None:
    reading, writing = os.pipe()
    report = report_to(writing)
    report({"pid": 1})
    assert json.loads(os.read(reading, 100)) == {"pid": 1}
    os.close(reading)
    report({"pid": 2})
    os.close(writing)


def test_a_peer_that_may_not_open_enough_files_says_what_to_do(
    tmp_path: Path, limited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Overlay, "error", OSError(errno.EMFILE, "Too many open files"))
    reports: list[Mapping[str, Any]] = []
    assert run_peer(Config(data_dir=tmp_path), report=reports.append) == 1
    assert "ask for fewer workers, or allow more files (ulimit -n)" in reports[0]["failed"]
