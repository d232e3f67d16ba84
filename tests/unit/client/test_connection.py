"""A verb finds its swarm by what was named, then by the node here, then by the last swarm; and joins it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client import connection
from p2pcpn.client.connection import (
    NODE_NOTE,
    SWARM_NOTE,
    Meeting,
    joined,
    local_node,
    meeting,
    node_sockets,
    read_note,
    remove_note,
    run,
    write_note,
)  # fmt: skip
from p2pcpn.client.keys import trust
from p2pcpn.errors import Unreachable, UsageError

KEY = "12" * 32
SWARM = {"bootstrap": ["127.0.0.1:5"], "swarm_key": KEY}


def test_named_addresses_come_first_then_those_of_the_environment(env: dict[str, str]) -> None:
    write_note(SWARM_NOTE, SWARM, env)
    env |= {"P2PCPN_BOOTSTRAP": "192.0.2.1:4000, 192.0.2.2:4000", "P2PCPN_SWARM_KEY": KEY}
    named = meeting(["127.0.0.1:4000"], None, env)
    assert (named.bootstrap, named.swarm_key, named.source) == (("127.0.0.1:4000",), KEY, "--bootstrap")
    assert named.local
    found = meeting([], None, env)
    assert found.source == "P2PCPN_BOOTSTRAP" and len(found.bootstrap) == 2 and not found.local


def test_then_the_node_on_this_machine_then_the_last_swarm(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_note(SWARM_NOTE, SWARM, env)
    assert meeting([], None, env) == Meeting(("127.0.0.1:5",), KEY, "the last p2pcpn swarm up")
    monkeypatch.setattr(connection, "ask", lambda path, op: {"bootstrap": ["127.0.0.1:6"], "swarm_key": None})
    assert meeting([], None, env) == Meeting(("127.0.0.1:6",), None, "the node on this machine")
    assert meeting([], KEY, env).swarm_key == KEY


def test_where_nothing_names_a_peer_it_is_said_how_to_name_one(env: dict[str, str]) -> None:
    with pytest.raises(Unreachable, match="p2pcpn swarm up"):
        meeting([], None, env)
    with pytest.raises(UsageError):
        meeting(["nowhere"], None, env)


def test_a_node_is_looked_for_in_the_usual_place_and_where_the_last_one_started(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local_node(env) is None
    write_note(NODE_NOTE, {"control": "/elsewhere/control.sock"}, env)
    assert node_sockets(env)[1] == Path("/elsewhere/control.sock")

    def ask(path: Path, op: str) -> dict[str, Any]:
        if path.parent.name != "elsewhere":
            raise Unreachable("nobody")
        return {"id": "x"}

    monkeypatch.setattr(connection, "ask", ask)
    assert local_node(env) == {"id": "x"}


def test_notes_are_private_and_what_cannot_be_read_is_none(env: dict[str, str], tmp_path: Path) -> None:
    assert read_note(SWARM_NOTE, env) is None
    write_note(SWARM_NOTE, SWARM, env)
    path = tmp_path / "state" / "p2pcpn" / SWARM_NOTE
    assert path.stat().st_mode & 0o777 == 0o600 and read_note(SWARM_NOTE, env) == SWARM
    for text in ("[]", "half a no"):
        path.write_text(text)
        assert read_note(SWARM_NOTE, env) is None
    remove_note(SWARM_NOTE, env)
    remove_note(SWARM_NOTE, env)
    assert not path.exists()


def test_a_verb_joins_for_as_long_as_it_takes_and_trusts_whom_the_user_trusts(
    where: Meeting, env: dict[str, str]
) -> None:
    trust("ab" * 32, "", env)

    async def verb() -> tuple[int, tuple[str, ...]]:
        async with joined(where, env) as overlay:
            return overlay.roles, tuple(overlay.config.trust)

    assert run(verb()) == (0, ("ab" * 32,))


def test_a_wrong_swarm_key_reaches_nobody(where: Meeting, env: dict[str, str]) -> None:
    async def verb() -> None:
        async with joined(Meeting(where.bootstrap, KEY, ""), env, wait_s=0.3):
            raise AssertionError("it must not join")

    with pytest.raises(Unreachable, match="check the address and the swarm key"):
        run(verb())


def test_what_a_verb_raises_comes_out_of_run() -> None:
    async def late() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(late())
