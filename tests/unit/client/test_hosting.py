"""A node's settings, the word it leaves of itself while it runs, and what is said of it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client import hosting
from p2pcpn.client.connection import NODE_NOTE, read_note
from p2pcpn.client.keys import trust
from p2pcpn.config import Config
from p2pcpn.errors import Unreachable, UsageError
from p2pcpn.identity.files import load_or_create_key
from p2pcpn.node.control import control_path

A, B, KEY = "ab" * 32, "cd" * 32, "12" * 32


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)} | {
        f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "STATE")
    }


def test_settings_come_from_the_command_then_the_environment_then_the_usual_place(
    env: dict[str, str], tmp_path: Path
) -> None:
    hosted = hosting.prepare({"cpus": 3}, env | {"P2PCPN_SWARM_KEY": KEY}, new_swarm_key=False)
    assert hosted.slots == 3 and hosted.swarm_key_text == KEY and not hosted.made_key
    assert hosted.config.data_dir == tmp_path / "data" / "p2pcpn" / "node"
    named = hosting.prepare({"data_dir": tmp_path / "other"}, env, new_swarm_key=False)
    assert named.config.data_dir == tmp_path / "other" and named.swarm_key_text is None and named.slots >= 1


def test_trusted_keys_of_the_user_are_the_nodes_too(env: dict[str, str]) -> None:
    trust(A, "", env)
    assert hosting.prepare({"trust": (B, A)}, env, new_swarm_key=False).config.trust == (B, A)
    assert hosting.prepare({}, env, new_swarm_key=False).config.trust == (A,)


def test_a_new_swarm_key_is_made_once_and_only_for_settings_that_can_be(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "data" / "p2pcpn" / "node" / hosting.SWARM_KEY_NAME
    with pytest.raises(UsageError):
        hosting.prepare({"cpus": 0}, env, new_swarm_key=True)
    assert not path.exists()
    first = hosting.prepare({}, env, new_swarm_key=True)
    assert first.made_key and first.swarm_key_text == path.read_text().strip()
    assert hosting.prepare({}, env, new_swarm_key=True).swarm_key_text == first.swarm_key_text


def test_a_swarm_key_that_is_none_is_refused_before_anything_starts(env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        hosting.prepare({"swarm_key": "short"}, env, new_swarm_key=False)


def test_the_document_names_the_keys_that_others_need(env: dict[str, str], tmp_path: Path) -> None:
    hosted = hosting.prepare({"swarm_key": KEY, "cpus": 2}, env, new_swarm_key=False)
    assert hosted.config.data_dir is not None
    key = load_or_create_key(Path(hosted.config.data_dir) / "node.key")
    assert hosted.document({"id": "x"}) == {
        "id": "x", "public_key": key.public.hex(), "swarm_key": KEY, "slots": 2,
        "data_dir": str(hosted.config.data_dir),
    }  # fmt: skip


def test_a_node_that_listens_leaves_word_where_and_takes_it_back(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted = hosting.prepare({}, env, new_swarm_key=False)
    said: list[Mapping[str, Any]] = []
    notes: list[dict[str, Any] | None] = []
    watched = threading.Event()

    def be_peer(config: Config, *, report: Callable[[Mapping[str, Any]], None]) -> int:
        assert config is hosted.config
        report({"id": "x"})
        notes.append(read_note(NODE_NOTE, env))
        assert watched.wait(10)
        return 7

    monkeypatch.setattr(hosting, "run_peer", be_peer)
    monkeypatch.setattr(hosting, "watch", lambda *_: watched.set())
    assert hosting.host(hosted, said.append, env, status=lambda words: None) == 7
    assert said == [{"id": "x"}]
    assert notes[0] is not None and hosted.config.data_dir is not None
    assert notes[0]["control"] == str(control_path(Path(hosted.config.data_dir)))
    assert read_note(NODE_NOTE, env) is None


def test_a_node_that_cannot_start_leaves_no_word(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: Config, *, report: Callable[[Mapping[str, Any]], None]) -> int:
        report({"failed": "no port", "kind": "usage"})
        assert read_note(NODE_NOTE, env) is None
        return 2

    monkeypatch.setattr(hosting, "run_peer", fail)
    said: list[Mapping[str, Any]] = []
    assert hosting.host(hosting.prepare({}, env, new_swarm_key=False), said.append, env) == 2
    assert said[0]["failed"] == "no port"


def test_watching_passes_on_what_the_peer_says_until_it_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers: list[dict[str, Any] | None] = [{"jobs": 0}, None, {"jobs": 1}]
    ended = threading.Event()
    said: list[Mapping[str, Any]] = []

    def ask(path: Path, operation: str) -> dict[str, Any]:
        answer = answers.pop(0)
        if not answers:
            ended.set()
        if answer is None:
            raise Unreachable("busy")
        return answer

    monkeypatch.setattr(hosting, "ask", ask)
    monkeypatch.setattr(hosting, "STATUS_S", 0.0)
    hosting.watch(tmp_path, said.append, ended)
    assert said == [{"jobs": 0}, {"jobs": 1}]
