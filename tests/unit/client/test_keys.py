"""Keys are private files that are never replaced, and trust is a list that its owner edits."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcpn.client import keys
from p2pcpn.errors import UsageError

A, B = "ab" * 32, "cd" * 32


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_a_new_key_is_private_and_shown_by_its_public_half(env: dict[str, str], tmp_path: Path) -> None:
    made = keys.new_owner_key(None, env)
    assert made.path == tmp_path / "config" / "p2pcpn" / "owner.key"
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert keys.is_public_key(made.public)
    assert keys.show_owner_key(None, env) == made
    assert made.public not in made.path.read_text()


def test_a_key_that_exists_is_never_replaced(env: dict[str, str], tmp_path: Path) -> None:
    made = keys.new_owner_key(tmp_path / "one.key", env)
    with pytest.raises(UsageError, match="never replaced"):
        keys.new_owner_key(made.path, env)
    assert keys.show_owner_key(made.path, env) == made


def test_the_environment_names_a_key_where_the_command_does_not(env: dict[str, str], tmp_path: Path) -> None:
    made = keys.new_owner_key(tmp_path / "other.key", env)
    assert keys.show_owner_key(None, env | {"P2PCPN_KEY": str(made.path)}) == made
    with pytest.raises(UsageError, match="p2pcpn key new makes it"):
        keys.show_owner_key(None, env)


def test_a_swarm_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = keys.as_path(str(tmp_path / "deep" / "swarm.key"))
    first = keys.keep_swarm_key(path)
    assert keys.keep_swarm_key(path) == first and len(bytes.fromhex(first)) == 32
    assert keys.new_swarm_key_text() != keys.new_swarm_key_text()


def test_a_swarm_key_that_another_process_made_meanwhile_is_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "swarm.key"

    def slower(target: Path, text: str, **_: object) -> None:
        target.write_text(A + "\n")
        target.chmod(0o600)
        raise FileExistsError(target)

    monkeypatch.setattr(keys, "write_private", slower)
    assert keys.keep_swarm_key(path) == A


def test_trusted_keys_keep_their_order_and_their_notes(env: dict[str, str]) -> None:
    assert keys.trusted_keys(env) == {}
    assert keys.trust(B, "the  lab\nmachine", env)
    assert keys.trust(A.upper(), "", env)
    assert not keys.trust(B, "", env)
    assert keys.trusted_keys(env) == {B: "the lab machine", A: ""}
    assert not keys.trust(B, "home", env)
    assert keys.trusted_keys(env)[B] == "home"


def test_a_key_that_is_trusted_no_longer_is_gone(env: dict[str, str]) -> None:
    keys.trust(A, "", env)
    keys.distrust(A, env)
    assert keys.trusted_keys(env) == {}
    with pytest.raises(UsageError, match="not among the trusted keys"):
        keys.distrust(A, env)


@pytest.mark.parametrize("text", ["", "abc", "x" * 64, "ab" * 33, " " * 64])
def test_what_is_no_public_key_is_refused(text: str, env: dict[str, str]) -> None:
    assert not keys.is_public_key(text)
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        keys.trust(text, "", env)


def test_lines_that_hold_no_key_are_passed_over(env: dict[str, str], tmp_path: Path) -> None:
    keys.trust(A, "", env)
    path = tmp_path / "config" / "p2pcpn" / keys.TRUSTED_NAME
    path.write_text(f"# a comment\n\n{A} me\nnonsense\n")
    assert keys.trusted_keys(env) == {A: "me"}


def test_as_many_keys_can_be_trusted_as_the_file_may_hold(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "TRUSTED_MAX", 1)
    keys.trust(A, "", env)
    assert not keys.trust(A, "again", env)
    with pytest.raises(UsageError, match="as many as it may"):
        keys.trust(B, "", env)
