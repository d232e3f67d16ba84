"""``p2pcpn key``: keys are made once, shown, never replaced, and trusted by name."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.identity.files import load_key, load_swarm_key

OTHER = "AB" * 32
Command = Callable[..., Any]


def test_a_new_key_is_the_users_own_and_private(p2pcpn: Command, user: Path) -> None:
    ended = p2pcpn("key", "new")
    path = user / "config" / "p2pcpn" / "owner.key"
    assert (ended.code, ended.err) == (0, "")
    assert ended.lines == [f"public key     {load_key(path).public.hex()}", f"secret key in  {path}"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_shown_and_is_never_replaced(p2pcpn: Command) -> None:
    made = json.loads(p2pcpn("key", "new", "--json").out)
    assert json.loads(p2pcpn("key", "show", "--json").out) == made
    assert p2pcpn("key", "show").out.startswith(f"public key     {made['public_key']}\n")
    refused = p2pcpn("key", "new")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "never replaced" in refused.err
    assert json.loads(p2pcpn("key", "show", "--json").out) == made


def test_a_key_may_be_kept_in_a_file_that_is_named(
    p2pcpn: Command, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = json.loads(p2pcpn("key", "new", "~/mine.key", "--json").out)
    assert made["file"] == str(user / "mine.key")
    assert json.loads(p2pcpn("key", "show", str(user / "mine.key"), "--json").out) == made
    monkeypatch.setenv("P2PCPN_KEY", str(user / "mine.key"))
    assert json.loads(p2pcpn("key", "show", "--json").out) == made


def test_no_key_yet_is_usage_and_says_how_to_make_one(p2pcpn: Command) -> None:
    ended = p2pcpn("key", "show")
    assert ended.code == 2 and "p2pcpn key new makes it" in ended.err and ended.err.count("\n") == 1
    assert p2pcpn("key", "show", "nowhere").err == "p2pcpn: nowhere: there is no such file\n"


def test_a_key_that_others_can_read_is_refused(p2pcpn: Command, user: Path) -> None:
    path = Path(json.loads(p2pcpn("key", "new", "--json").out)["file"])
    path.chmod(0o644)
    ended = p2pcpn("key", "show")
    assert ended.code == 2 and f"chmod 600 {path}" in ended.err


def test_a_swarms_key_is_printed_alone(p2pcpn: Command) -> None:
    ended = p2pcpn("key", "new", "--swarm")
    assert ended.code == 0 and len(load_swarm_key(ended.out.strip())) == 32
    document = json.loads(p2pcpn("key", "new", "--swarm", "--json").out)
    assert document["file"] is None and document["swarm_key"] != ended.out.strip()


def test_a_swarms_key_in_a_file_is_not_printed_and_not_replaced(p2pcpn: Command) -> None:
    ended = p2pcpn("key", "new", "--swarm", "swarm.key")
    key = load_swarm_key(Path("swarm.key")).hex()
    assert ended.out == "a swarm key is in swarm.key; whoever has it is a member\n" and key not in ended.out
    refused = p2pcpn("key", "new", "--swarm", "swarm.key")
    assert (refused.code, refused.err) == (2, "p2pcpn: swarm.key exists; it is not replaced\n")
    assert load_swarm_key(Path("swarm.key")).hex() == key


def test_nobody_is_trusted_until_somebody_is_named(p2pcpn: Command) -> None:
    assert "no keys are trusted" in p2pcpn("key", "trust").out
    assert json.loads(p2pcpn("key", "trust", "--json").out) == []
    assert p2pcpn("key", "trust", OTHER, "my", "friend").out == f"{OTHER.lower()} is trusted\n"
    assert p2pcpn("key", "trust", OTHER).out == f"{OTHER.lower()} is trusted already\n"
    assert json.loads(p2pcpn("key", "trust", "--json").out) == [{"public_key": OTHER.lower(), "note": "my friend"}]
    assert p2pcpn("key", "trust").lines[1].split() == [OTHER.lower(), "my", "friend"]


def test_trust_is_taken_back_once(p2pcpn: Command) -> None:
    assert json.loads(p2pcpn("key", "trust", OTHER, "--json").out) == {"public_key": OTHER.lower(), "trusted": True}
    assert p2pcpn("key", "trust", "--remove", OTHER).out == f"{OTHER.lower()} is no longer trusted\n"
    refused = p2pcpn("key", "trust", "--remove", OTHER)
    assert refused.code == 2 and "not among the trusted keys" in refused.err
    assert json.loads(p2pcpn("key", "trust", "--json").out) == []


def test_what_is_no_public_key_is_not_trusted(p2pcpn: Command) -> None:
    ended = p2pcpn("key", "trust", "bob")
    assert (ended.code, ended.out) == (2, "") and "64 hexadecimal digits" in ended.err and ended.err.count("\n") == 1
