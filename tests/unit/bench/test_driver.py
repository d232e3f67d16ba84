"""A driver obeys line by line, answers what goes wrong, and stops its system at the end."""

from __future__ import annotations

import json
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from p2pcpn.bench import driver
from p2pcpn.bench.driver import Driver

if TYPE_CHECKING:
    from conftest import Here


def test_it_starts_its_system_measures_and_stops(here: Here) -> None:
    driven = Driver(here)
    assert driven.obey({"op": "start"})["ok"]["start_s"] >= 0
    assert driven.obey({"op": "load", "name": "deliver", "count": 5})["ok"]["tasks"] == 5
    driven.close()
    driven.close()
    assert here.said == ["start", "stop"]


def test_what_goes_wrong_is_an_answer(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(here), "start", lambda self: 1 / 0)
    driven = Driver(here)
    assert driven.obey({"op": "start"}) == {"error": "ZeroDivisionError: division by zero"}
    driven.close()
    assert here.said == ["stop"]  # half of a system has to be stopped, too


def test_without_a_system_it_measures_whole_swarms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(driver.WITHOUT_SYSTEM, "ready", lambda peers: {"peers": peers})
    assert Driver(None).obey({"op": "swarm", "name": "ready", "peers": 3}) == {"ok": {"peers": 3}}


def test_it_serves_until_the_other_side_hangs_up(here: Here) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        thread = threading.Thread(target=Driver(here).serve, args=(theirs,))
        thread.start()
        with ours, ours.makefile("rb") as answers:
            ours.sendall(b'{"op": "start"}\n{"op": "load", "name": "trips", "count": 3}\n')
            assert [sorted(json.loads(answers.readline())["ok"]) for _ in range(2)] == [
                ["start_s"], ["p50_ms", "p99_ms", "trips"],
            ]  # fmt: skip
            ours.shutdown(socket.SHUT_WR)
        thread.join(10)
    assert not thread.is_alive()


def test_an_order_whose_giver_is_gone_is_interrupted(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, interrupted = threading.Event(), threading.Event()

    def start(self: Here) -> None:
        gone.set()
        assert interrupted.wait(10)

    monkeypatch.setattr(type(here), "start", start)
    ours, theirs = socket.socketpair()
    with theirs:
        thread = threading.Thread(target=_until_broken, args=(Driver(here, interrupted.set), theirs))
        thread.start()
        ours.sendall(b'{"op": "start"}\n')
        assert gone.wait(10)
        ours.close()
        thread.join(10)
    assert interrupted.is_set() and not thread.is_alive()


def _until_broken(driven: Driver, control: socket.socket) -> None:
    try:
        driven.serve(control)
    except ConnectionError:
        pass  # the answer finds nobody


def test_the_process_stops_its_system_when_it_is_interrupted(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: dict[Any, Any] = {}
    monkeypatch.setattr(driver.signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(driver, "make", lambda name: here)
    ours, theirs = socket.socketpair()

    def interrupted(self: Here) -> None:
        self.said.append("start")
        handlers[signal.SIGTERM](signal.SIGTERM, None)

    monkeypatch.setattr(type(here), "start", interrupted)
    with ours:
        ours.sendall(b'{"op": "start"}\n')
        driver.main([str(theirs.detach()), "pool"])
    assert here.said == ["start", "stop"]
    assert handlers[signal.SIGINT] == signal.SIG_IGN  # once more would leave processes behind
