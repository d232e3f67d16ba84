"""``p2pcpn blob``: put prints a name, get brings it back, ls says what is alive of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client.swarm import Swarm
from p2pcpn.wire.manifests import BlobName, parse_name

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def swarm() -> Iterator[Swarm]:
    with Swarm(peers=2) as swarm:
        yield swarm


@pytest.fixture
def named(swarm: Swarm) -> list[str]:
    """The options that name the swarm."""
    return ["--bootstrap", swarm.bootstrap[0], "--swarm-key", swarm.key]


def test_a_file_is_put_listed_and_brought_back(p2pcpn: Command, named: list[str], tmp_path: Path) -> None:
    data = bytes(range(256)) * 3000
    (tmp_path / "in.bin").write_bytes(data)
    put = p2pcpn("blob", "put", str(tmp_path / "in.bin"), *named)
    assert (put.code, put.err) == (0, "") and put.out.startswith("blob")
    name = put.out.strip()
    got = p2pcpn("blob", "get", name, "-o", str(tmp_path / "out.bin"), *named)
    assert (got.code, got.out) == (0, "") and (tmp_path / "out.bin").read_bytes() == data
    listed = p2pcpn("blob", "ls", *named)
    assert listed.code == 0 and listed.lines[0].split()[:3] == ["name", "size", "replicas"]
    assert listed.lines[1].startswith(name) and "2/2" in listed.lines[1] and listed.lines[1].endswith("in.bin")
    (row,) = json.loads(p2pcpn("blob", "ls", "--json", *named).out)
    assert (row["name"], row["size_bytes"], row["replicas"], row["file"]) == (name, len(data), 2, "in.bin")
    assert not row["pinned"]
    again = p2pcpn("blob", "get", name, str(tmp_path / "again.bin"), *named)
    assert again.code == 0 and (tmp_path / "again.bin").read_bytes() == data


def test_what_the_node_here_keeps_pinned_is_listed_so(
    p2pcpn: Command, named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for text in ("one", "two"):
        (tmp_path / text).write_text(text)
        names.append(p2pcpn("blob", "put", str(tmp_path / text), *named).out.strip())
    monkeypatch.setattr("p2pcpn.client.pinning.pinned_here", lambda env: frozenset([parse_name(names[0]).digest]))
    rows = {row["name"]: row["pinned"] for row in json.loads(p2pcpn("blob", "ls", "--json", *named).out)}
    assert (rows[names[0]], rows[names[1]]) == (True, False)
    listed = {line.split()[0]: line.split() for line in p2pcpn("blob", "ls", *named).lines}
    assert "pinned" in listed["name"] and "here" in listed[names[0]] and "here" not in listed[names[1]]


def test_too_few_peers_are_told_on_stderr(p2pcpn: Command, named: list[str], tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    put = p2pcpn("blob", "put", str(tmp_path / "in"), "--replicas", "3", "--retention", "1h", "--json", *named)
    assert put.code == 0 and "under-replicated: 2 of 3" in put.err
    assert json.loads(put.out)["replicas"] == 2


def test_mistakes_are_one_line(p2pcpn: Command, named: list[str], tmp_path: Path) -> None:
    two = p2pcpn("blob", "get", str(BlobName(bytes(32), bytes(32))), "x", "-o", "y", *named)
    assert two.code == 2 and "two files are named, x and y" in two.err
    wrong = p2pcpn("blob", "get", "nonsense", "-o", "x", *named)
    assert wrong.code == 2 and "is no name of a blob" in wrong.err
    absent = p2pcpn("blob", "put", "/nowhere", *named)
    assert absent.code == 2 and "no such file" in absent.err
    spelt = p2pcpn("blob", "get", "blob" + "a" * 109, "-o", "x", *named)
    assert spelt.code == 2 and "has a wrong character" in spelt.err and len(spelt.err.splitlines()) == 1
    nobodys = str(BlobName(bytes(32), bytes(32)))
    lost = p2pcpn("blob", "get", nobodys, "-o", str(tmp_path / "never"), *named)
    assert lost.code == 1 and "no peer that answers has" in lost.err


def test_pinning_where_no_node_runs_is_one_line(p2pcpn: Command) -> None:
    for verb in ("pin", "unpin"):
        said = p2pcpn("blob", verb, str(BlobName(bytes(32), bytes(32))))
        assert said.code == 3 and said.err == "p2pcpn: no node of yours runs on this machine; p2pcpn node starts one\n"


def test_a_node_that_runs_here_pins(p2pcpn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr("p2pcpn.client.pinning.pin_blob", lambda name, env, pinned=True: asked.append((name, pinned)))
    assert p2pcpn("blob", "pin", "x").code == p2pcpn("blob", "unpin", "x").code == 0
    assert asked == [("x", True), ("x", False)]
