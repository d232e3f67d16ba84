"""``p2pcpn node``: from the options to a peer's settings, and from what the peer reports to what is said of it.

The peer itself is made up: a real one listens to the process's own signals.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.cli.node import Status
from p2pcpn.client import hosting
from p2pcpn.config import Config
from p2pcpn.identity.files import load_or_create_key
from p2pcpn.metrics.machine import cores

Command = Callable[..., Any]
KEY = "ab" * 32
OWNER = "cd" * 32
WORDS = {"address": "192.0.2.1:4000", "id": "ef" * 20, "pid": 7}


class Peer:
    """A peer that reports ``words`` and then leaves with ``code``."""

    def __init__(self) -> None:
        self.words: Mapping[str, Any] = WORDS
        self.code = 0
        self.left: dict[str, int] | None = None
        self.key = ""
        self.configs: list[Config] = []

    def __call__(self, config: Config, *, report: Callable[[Mapping[str, Any]], None]) -> int:
        self.configs.append(config)
        if "failed" not in self.words:
            assert config.data_dir is not None
            self.key = load_or_create_key(Path(config.data_dir) / "node.key").public.hex()
        report(self.words)
        if self.left is not None:
            report({"left": self.left})
        return self.code


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Peer:
    peer = Peer()
    monkeypatch.setattr(hosting, "run_peer", peer)
    return peer


def test_every_option_becomes_a_setting(p2pcpn: Command, peer: Peer, user: Path) -> None:
    ended = p2pcpn(
        "node", "--listen", "127.0.0.1:4000", "--bootstrap", "192.0.2.7:1", "--bootstrap", "192.0.2.8:2",
        "--swarm-key", KEY, "--role", "storage", "--cpus", "3", "--memory", "2G", "--accept", "function",
        "--trust", OWNER, "--tag", "lab", "--data", str(user / "data"),
    )  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    assert peer.configs == [
        Config(
            listen="127.0.0.1:4000", bootstrap=("192.0.2.7:1", "192.0.2.8:2"), swarm_key=KEY, roles=("storage",),
            cpus=3, memory_bytes=2 << 30, accept=("function",), trust=(OWNER,), tags=("lab",), data_dir=user / "data",
        )
    ]  # fmt: skip


def test_without_options_the_defaults_and_the_environment_hold(
    p2pcpn: Command, peer: Peer, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2PCPN_BOOTSTRAP", "192.0.2.7:1")
    monkeypatch.setenv("P2PCPN_SWARM_KEY", KEY)
    assert p2pcpn("node", "--quiet").out == ""
    data = user / "data" / "p2pcpn" / "node"
    assert peer.configs == [Config(bootstrap=("192.0.2.7:1",), swarm_key=KEY, data_dir=data)]


def test_a_member_says_how_to_join_without_telling_the_key(p2pcpn: Command, peer: Peer) -> None:
    ended = p2pcpn("node", "--swarm-key", KEY, "--bootstrap", "192.0.2.7:1", "--cpus", "1")
    assert ended.lines == [
        "peer efefefef at 192.0.2.1:4000 (UDP and TCP), 1 task at a time",
        "others join with: p2pcpn node --bootstrap 192.0.2.1:4000 --swarm-key KEY",
        "left",
    ]


def test_a_key_that_was_made_for_the_swarm_is_told_and_kept(p2pcpn: Command, peer: Peer) -> None:
    ended = p2pcpn("node", "--swarm-key", "new", "--cpus", "2")
    key = str(peer.configs[0].swarm_key)
    assert len(key) == 64 and ended.lines[1].endswith(f"--swarm-key {key}")
    assert ended.lines[2] == "no --bootstrap: alone until somebody joins"
    p2pcpn("node", "--swarm-key", "new")
    assert peer.configs[1].swarm_key == key  # the next start is in the same swarm


def test_an_open_swarm_says_whose_jobs_it_runs(p2pcpn: Command, peer: Peer) -> None:
    alone = p2pcpn("node").lines
    assert alone[0].endswith(f"{cores()} task{'s' if cores() > 1 else ''} at a time")
    assert alone[1] == "others join with: p2pcpn node --bootstrap 192.0.2.1:4000"
    assert alone[2] == "open swarm: it runs the jobs of 0 trusted owners; p2pcpn key trust PUBLIC_KEY names one"
    assert alone[3].endswith(f"once they trust its key: {peer.key}")
    assert alone[-1] == "left"
    p2pcpn("key", "trust", OWNER)
    assert p2pcpn("node").lines[2] == "open swarm: it runs the jobs of 1 trusted owner"
    assert peer.configs[1].trust == (OWNER,)


def test_programs_get_one_document_with_the_key(p2pcpn: Command, peer: Peer) -> None:
    ended = p2pcpn("node", "--json", "--swarm-key", KEY, "--cpus", "2", "--data", "here")
    assert json.loads(ended.out) == {
        **WORDS, "public_key": peer.key, "swarm_key": KEY, "slots": 2, "data_dir": "here",
    }  # fmt: skip


def test_a_peer_that_cannot_start_says_why_in_one_line(p2pcpn: Command, peer: Peer) -> None:
    peer.words, peer.code = {"failed": "192.0.2.1:4000: the address is in use", "kind": "usage"}, 2
    for words in ((), ("--json",), ("--quiet",)):
        ended = p2pcpn("node", *words)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == "p2pcpn: 192.0.2.1:4000: the address is in use\n"


def test_the_exit_code_is_the_peers(p2pcpn: Command, peer: Peer) -> None:
    for code in (0, 1, 3):
        peer.code = code
        assert p2pcpn("node", "--quiet").code == code


@pytest.mark.parametrize(
    "words, said",
    [
        (("--memory", "much"), "'much' is no size"),
        (("--listen", "here"), "listen takes HOST:PORT"),
        (("--bootstrap", "here"), "bootstrap takes HOST:PORT"),
        (("--cpus", "0"), "cpus must be at least 1"),
        (("--cpus", "4-2"), "'4-2' is no number of tasks"),
        (("--cpus", "many"), "no number of tasks"),
        (("--role", "boss"), "'boss' is not one of"),
        (("--trust", "bob"), "trust takes owners' public keys"),
        (("--swarm-key", "short"), "a swarm key is 64 hexadecimal digits"),
        (("--swarm-key", "new", "--cpus", "0"), "cpus must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_usage_before_a_peer_starts(
    p2pcpn: Command, peer: Peer, user: Path, words: tuple[str, ...], said: str
) -> None:
    ended = p2pcpn("node", *words)
    assert (ended.code, ended.out) == (2, "") and said in ended.err and ended.err.count("\n") == 1
    assert not peer.configs and not (user / "data").exists()


# --- how it is ----------------------------------------------------------------------------------------------------


def _status(known: int, running: int = 0) -> dict[str, int]:
    return {"known_peers": known, "jobs": 1, "running": running, "slots": 2, "queued": 3}


def test_a_change_is_one_line_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    status = Status()
    for words in (_status(1), _status(1, running=2), _status(2)):
        status(words)
    assert capsys.readouterr().out == "1 peer known, 1 job\n2 peers known, 1 job\n"


def test_slots_of_a_range_are_said(p2pcpn: Command, peer: Peer) -> None:
    assert "1 to 4 tasks at a time" in p2pcpn("node", "--cpus", "1-4").lines[0]
    assert (peer.configs[0].cpus, peer.configs[0].cpus_min) == (4, 1)
    assert "1 task at a time" in p2pcpn("node", "--cpus", "1").lines[0]
    assert p2pcpn("node", "--role", "storage").lines[0].endswith(", no tasks")


def test_a_node_that_left_says_what_it_left_undone(p2pcpn: Command, peer: Peer) -> None:
    peer.left = {}
    assert p2pcpn("node").lines[-1] == "left"
    peer.left = {"jobs": 2}
    assert p2pcpn("node").lines[-1] == "left; not enough other storage peers for 2 jobs"
    assert len(json.loads(p2pcpn("node", "--json").out)) > 1  # one document, as before


def test_a_node_that_drains_says_what_it_waits_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drain = {"state": "finishing", "running": 2, "unsettled": 0, "left_s": 9.0}
    words = _status(1) | {"draining": True, "drain": drain}
    status = Status()
    status(words)
    status(words | {"drain": drain | {"left_s": 8.0}})
    assert capsys.readouterr().out == "draining\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Status()(words)
    assert "draining: 2 tasks still run, 9 s left; Ctrl-C again ends it at once" in capsys.readouterr().out


def test_a_terminal_has_one_line_that_is_kept_up_to_date(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    status = Status()
    for words in (_status(1), _status(1), _status(1, running=2)):
        status(words)
    line = "\r\x1b[2K1 peer known, 1 job, {} of 2 slots busy, 3 tasks queued"
    assert capsys.readouterr().out == line.format(0) + line.format(2)


def test_a_bootstrap_that_does_not_answer_is_said_once_and_forgotten_when_one_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = {"known_peers": 0, "jobs": 0, "running": 0, "slots": 1, "queued": 0}
    status = Status(["192.0.2.7:1", "192.0.2.8:2"])
    for uptime_s in (1.0, 4.0, 6.0, 60.0):
        status(words | {"uptime_s": uptime_s})
    heard = capsys.readouterr().err
    assert heard.count("no peer answers at 192.0.2.7:1, 192.0.2.8:2") == 1 and "swarm key" in heard
    for quiet in (Status(["192.0.2.7:1"]), Status()):
        quiet(words | {"known_peers": 1, "uptime_s": 1.0})
        quiet(words | {"uptime_s": 60.0})  # it was known: that it is gone now is another matter
    Status()(words | {"uptime_s": 60.0})  # nobody was named
    assert capsys.readouterr().err == ""


def test_what_the_node_warns_of_is_said_and_why_it_failed_is_said_once(
    p2pcpn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_peer(config: Config, *, report: Callable[[Mapping[str, Any]], None]) -> int:
        logging.getLogger("p2pcpn.store").warning("node.db is corrupt")
        logging.getLogger("p2pcpn.daemon").error("no port is free")
        report({"failed": "no port is free", "kind": "UsageError"})
        return 2

    monkeypatch.setattr(hosting, "run_peer", run_peer)
    ended = p2pcpn("node", "--swarm-key", KEY)
    assert (ended.code, ended.err) == (2, "p2pcpn: node.db is corrupt\np2pcpn: no port is free\n")
