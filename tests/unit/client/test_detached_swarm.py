"""A local swarm outlives its command, and is asked, grown, thinned and ended by others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.client import detached_swarm
from p2pcpn.client.connection import SWARM_NOTE, read_note, write_note
from p2pcpn.client.detached_swarm import LocalPeer, add, down, drain, kill, last_swarm, running, up
from p2pcpn.errors import Unreachable, UsageError


@pytest.fixture
def ended(env: dict[str, str]) -> Iterator[dict[str, str]]:
    yield env
    down(env)


def test_a_swarm_outlives_the_command_grows_loses_a_peer_and_goes(ended: dict[str, str], tmp_path: Path) -> None:
    env = ended
    swarm = up(2, 1, env)
    assert [peer.n for peer in swarm.peers] == [0, 1] and last_swarm(env) == swarm
    assert (tmp_path / "state" / "p2pcpn" / SWARM_NOTE).stat().st_mode & 0o777 == 0o600
    first, second = (peer.status() for peer in swarm.peers)
    assert first is not None and second is not None
    assert first["swarm_key"] == swarm.swarm_key and first["slots"] == 1
    with pytest.raises(UsageError, match="2 peers runs already"):
        up(1, 1, env)
    assert [peer.n for peer in add(1, env)] == [2]
    killed = kill(0, env)
    assert killed.status() is None
    with pytest.raises(UsageError, match="dead already"):
        kill(0, env)
    with pytest.raises(UsageError, match="p2pcpn swarm status"):
        kill(7, env)
    assert down(env) == 2
    assert last_swarm(env) is None and not (tmp_path / "data" / "p2pcpn" / "swarm").exists()
    assert down(env) == 0


def test_a_peer_that_drains_leaves_the_swarm_and_its_place_is_free_again(ended: dict[str, str]) -> None:
    up(2, 1, ended)
    words: list[Any] = []
    assert drain(1, ended, 30.0, words.append) == {} and words
    swarm = running(ended)
    assert [peer.n for peer in swarm.peers] == [0]
    assert [peer.n for peer in add(1, ended)] == [1]
    with pytest.raises(UsageError, match="p2pcpn swarm status"):
        drain(7, ended)


def test_a_swarm_that_is_to_grow_is_scaled_by_a_process_of_its_own(
    ended: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    popen = SimpleNamespace(DEVNULL=None, Popen=lambda words, **options: started.append((words, options)))
    monkeypatch.setattr(detached_swarm, "subprocess", popen)
    up(1, 1, ended, peers_max=3, idle_s=7.0)
    ((words, options),) = started
    assert "keep_scaled()" in words[3] and options["start_new_session"]
    assert running(ended).scale == (1, 3, 7.0)
    with pytest.raises(UsageError, match="peers_max"):
        up(2, 1, ended, peers_max=1)


def test_a_dead_swarm_is_replaced_by_a_new_one(ended: dict[str, str]) -> None:
    first = up(1, 2, ended)
    kill(0, ended)
    second = up(1, 2, ended)
    assert second.swarm_key != first.swarm_key
    status = second.peers[0].status()
    assert status is not None and status["slots"] == 2


def test_a_swarm_that_died_out_comes_back_where_programs_look_for_it(ended: dict[str, str]) -> None:
    first = up(2, 1, ended)
    for n in (0, 1):
        kill(n, ended)
    third, fourth = add(2, ended)
    assert third.address in first.bootstrap and fourth.address != third.address
    assert all(peer.status() is not None for peer in (third, fourth))


def test_without_a_swarm_it_is_said_how_to_start_one(env: dict[str, str]) -> None:
    for act in (lambda: running(env), lambda: kill(0, env), lambda: add(1, env)):
        with pytest.raises(Unreachable, match="p2pcpn swarm up starts one"):
            act()


@pytest.mark.parametrize("peers", [0, -1, 10_000])
def test_a_number_of_peers_that_cannot_be_is_refused(peers: int, env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="1 to"):
        up(peers, 1, env)


def test_a_start_that_fails_leaves_no_peer_no_note_and_no_folder(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(detached_swarm, "START_S", 0.0)
    monkeypatch.setattr(detached_swarm.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(Exception, match="not up after 0 s"):
        up(1, 1, env)
    assert read_note(SWARM_NOTE, env) is None
    assert not list(tmp_path.glob("p2pcpn-up-*"))


def test_a_note_that_cannot_be_understood_is_no_swarm(env: dict[str, str]) -> None:
    for note in ({}, {"swarm_key": "x", "cpus": 1, "peers": [{"n": 1}]}):
        write_note(SWARM_NOTE, note, env)
        assert last_swarm(env) is None


def test_another_peer_that_answers_there_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(detached_swarm, "ask", lambda *_, **__: {"id": "somebody else", "pid": 1})
    assert LocalPeer(0, 1, "127.0.0.1:5", "ours", str(tmp_path)).status() is None


def test_a_peer_that_does_not_answer_lives_and_is_neither_replaced_nor_left_behind(
    ended: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached_swarm, "ASK_S", 0.2)
    monkeypatch.setattr(detached_swarm, "END_S", 0.2)
    (peer,) = up(1, 1, ended).peers
    os.kill(peer.pid, signal.SIGSTOP)
    try:
        assert peer.status() is None and peer.lives()
        with pytest.raises(UsageError, match="1 peer runs already"):
            up(1, 1, ended)
        assert down(ended) == 1
        assert detached_swarm._wait_gone([peer]) == []
    finally:
        with suppress(ProcessLookupError):
            os.kill(peer.pid, signal.SIGKILL)


def test_a_peer_that_does_not_leave_when_asked_is_killed(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    peer = {"n": 0, "pid": 7, "address": "127.0.0.1:5", "id": "ours", "data_dir": str(env["HOME"])}
    write_note(SWARM_NOTE, {"swarm_key": "k", "cpus": 1, "bootstrap": [], "peers": [peer]}, env)
    killed: list[Any] = []
    monkeypatch.setattr(detached_swarm, "ask", lambda *_, **__: {"id": "ours", "pid": 7})
    monkeypatch.setattr(detached_swarm, "listener", lambda *_: 7)
    monkeypatch.setattr(detached_swarm, "END_S", 0.0)
    monkeypatch.setattr(detached_swarm.os, "kill", lambda pid, number: killed.append((pid, number)))
    assert down(env) == 1
    assert killed == [(7, signal.SIGKILL)]
