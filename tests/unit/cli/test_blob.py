"""``p2pcpn blob``: put prints a name, get brings it back, ls says what is alive of it."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.cli.blob import _write_out
from p2pcpn.client.swarm import Swarm
from p2pcpn.errors import StoreError
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
    assert listed.code == 0 and listed.lines[0].split()[:2] == ["size", "replicas"]
    assert listed.lines[1].split()[-2:] == ["in.bin", name] and "2/2" in listed.lines[1]
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
    listed = {line.split()[-1]: line.split() for line in p2pcpn("blob", "ls", *named).lines}
    assert "pinned" in listed["name"] and "here" in listed[names[0]] and "here" not in listed[names[1]]


def test_a_terminal_is_shown_whole_names(
    p2pcpn: Command, named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(b"of a terminal")
    name = p2pcpn("blob", "put", str(tmp_path / "in"), *named).out.strip()
    monkeypatch.setattr("p2pcpn.cli.printing.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setenv("COLUMNS", "80")
    assert any(line.split()[-2:] == ["in", name] for line in p2pcpn("blob", "ls", *named).lines)


def test_a_dash_is_standard_output_and_a_name_of_a_file_need_be_no_utf_8(
    p2pcpn: Command, named: list[str], tmp_path: Path
) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/b\xffd")
    Path(odd).write_bytes(b"x" * 9)
    name = p2pcpn("blob", "put", odd, *named).out.strip()
    got = p2pcpn("blob", "get", name, "-", *named)
    assert (got.code, got.out) == (0, "x" * 9) and not Path("-").exists()
    rows = {row["name"]: row["file"] for row in json.loads(p2pcpn("blob", "ls", "--json", *named).out)}
    assert rows[name] == "b?d"


def test_a_disk_without_room_is_named(
    p2pcpn: Command, named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(b"no room")
    name = p2pcpn("blob", "put", str(tmp_path / "in"), *named).out.strip()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("p2pcpn.client.files.os.pwrite", full)
        put = p2pcpn("blob", "put", "-", *named, stdin="x")
        got = p2pcpn("blob", "get", name, "-", *named)
    said = f"p2pcpn: a temporary file in {tempfile.gettempdir()}: No space left on device\n"
    assert (put.code, put.err) == (got.code, got.err) == (1, said)
    with open("/dev/full", "wb", buffering=0) as out:
        monkeypatch.setattr("p2pcpn.cli.blob.sys", SimpleNamespace(stdout=SimpleNamespace(buffer=out)))
        with pytest.raises(StoreError, match="standard output: No space"):
            _write_out(b"x" * 100)


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


def test_peers_that_were_not_asked_are_counted_beside_the_list(
    p2pcpn: Command, named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from p2pcpn.client import blobs

    assert "peers that keep blobs" not in p2pcpn("blob", "ls", *named).err
    monkeypatch.setattr(blobs, "LISTED_PEERS_MAX", 0)
    found = p2pcpn("blob", "ls", "--json", *named)
    assert json.loads(found.out) == []
    assert "0 of 2 peers that keep blobs said what they have; others may have more" in found.err
