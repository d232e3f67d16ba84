"""``p2pcpn swarm``: what its verbs say of a real local swarm, to people and to programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2pcpn.cli.swarm import _addresses
from p2pcpn.client import detached_swarm
from p2pcpn.client.detached_swarm import LocalPeer, LocalSwarm

Command = Callable[..., Any]


@pytest.fixture
def command(p2pcpn: Command) -> Iterator[Command]:
    """The command; what it leaves running is ended."""
    yield p2pcpn
    p2pcpn("swarm", "down")


def test_people_see_a_swarm_come_grow_lose_a_peer_and_go(command: Command) -> None:
    up = command("swarm", "up", "-n", "1")
    assert (up.code, up.err) == (0, "")
    assert up.lines[0].startswith("1 peer up at 127.0.0.1:") and len(up.lines[1].split()[-1]) == 64
    assert up.lines[2] == "now p2pcpn submit, p2pcpn peers, p2pcpn job find them; p2pcpn swarm down ends them"
    added = command("swarm", "add")
    assert added.out.startswith("peer 1 (") and ") up at 127.0.0.1:" in added.out
    killed = command("swarm", "kill", "0")
    assert killed.code == 0 and killed.out.startswith("peer 0 (") and killed.out.endswith(") is dead\n")
    heading, first, second = command("swarm", "status").lines
    assert heading.split() == ["n", "id", "address", "pid", "state", "up", "running", "queued"]
    assert first.split()[0] == "0" and first.split()[-1] == "dead"
    assert second.split()[4] == "alive" and second.split()[-2:] == ["0/1", "0"]
    assert command("swarm", "down").out == "1 peer ended\n"
    assert command("swarm", "down").out == "no local swarm runs\n"


def test_who_would_be_led_elsewhere_is_told_how_to_reach_the_swarm(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2PCPN_BOOTSTRAP", "127.0.0.1:1")
    ready, key, last = command("swarm", "up", "-n", "1").lines
    assert last == (
        f"p2pcpn submit, p2pcpn peers, p2pcpn job find P2PCPN_BOOTSTRAP first; to them lead "
        f"--bootstrap {ready.split()[-1]} --swarm-key {key.split()[-1]}; p2pcpn swarm down ends them"
    )


def test_programs_get_documents_and_other_verbs_find_the_swarm(command: Command) -> None:
    up = json.loads(command("swarm", "up", "--peers", "1", "--cpus", "2", "--json").out)
    (peer,) = up["peers"]
    assert up["bootstrap"] == [peer["address"]] and len(up["swarm_key"]) == 64
    assert peer["status"]["slots"] == 2 and peer["status"]["id"] == peer["id"]
    refused = command("swarm", "up")
    assert (refused.code, refused.out) == (2, "") and "runs already" in refused.err and refused.err.count("\n") == 1
    (added,) = json.loads(command("swarm", "add", "1", "--json").out)
    assert added["n"] == 1 and set(added) == {"n", "id", "address", "pid", "data_dir"}
    assert {each["id"] for each in json.loads(command("peers", "--json").out)} == {peer["id"], added["id"]}
    assert json.loads(command("swarm", "kill", "1", "--json").out) == added
    found = json.loads(command("swarm", "status", "--json").out)
    assert [each["status"] is not None for each in found["peers"]] == [True, False]
    for words, said in ((("kill", "1"), "peer 1 is dead already"), (("kill", "7"), "there is no peer 7")):
        ended = command("swarm", *words)
        assert ended.code == 2 and said in ended.err and ended.err.count("\n") == 1
    assert json.loads(command("swarm", "down", "--json").out) == {"ended": 1}


def test_what_needs_a_swarm_finds_none_and_says_how_to_start_one(p2pcpn: Command) -> None:
    for words in (("status",), ("add", "1"), ("kill", "0")):
        ended = p2pcpn("swarm", *words)
        assert (ended.code, ended.out) == (3, "")
        assert ended.err == "p2pcpn: no local swarm runs; p2pcpn swarm up starts one\n"
    assert json.loads(p2pcpn("swarm", "down", "--json").out) == {"ended": 0}


def test_a_swarm_that_cannot_be_is_usage(p2pcpn: Command) -> None:
    for words in (("up", "--peers", "0"), ("up", "--peers", "x"), ("kill",), ("kill", "first"), ("fly",)):
        ended = p2pcpn("swarm", *words)
        assert (ended.code, ended.out) == (2, "") and ended.err.count("\n") == 1


def test_who_says_how_many_peers_without_the_option_is_told_it(p2pcpn: Command) -> None:
    ended = p2pcpn("swarm", "up", "4")
    assert (ended.code, ended.out) == (2, "") and ended.err == (
        "p2pcpn: got unexpected extra argument (4); how many peers says --peers 4 (p2pcpn swarm up --help)\n"
    )
    assert p2pcpn("swarm", "up", "--help").lines[0] == "Usage: p2pcpn swarm up [OPTIONS]"


def test_of_many_addresses_four_are_shown() -> None:
    peers = [LocalPeer(n, n, f"127.0.0.1:{n}", "ab" * 20, "") for n in range(1, 7)]
    assert _addresses(LocalSwarm("", 1, peers[:4])) == "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3, 127.0.0.1:4"
    assert _addresses(LocalSwarm("", 1, peers)).endswith("127.0.0.1:4 …")


def test_a_swarm_that_scales_says_so(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached_swarm, "_keep_scaled", lambda env: None)
    line = "1 to 3 peers: more while tasks queue, fewer after 20 s without"
    assert line in command("swarm", "up", "-n", "1", "--peers-max", "3", "--idle", "20s").lines
    assert line in command("swarm", "status").err
    assert json.loads(command("swarm", "status", "--json").out)["scale"] == [1, 3, 20.0]


def test_a_peer_that_drains_says_when_it_has_left(command: Command) -> None:
    command("swarm", "up", "-n", "2")
    assert command("swarm", "drain", "1").out == "peer 1 has left\n"
    assert json.loads(command("swarm", "drain", "0", "--json").out) == {"n": 0, "behind": {}}
