"""The owner's key: from a file that is named, or this user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcpn.client.owner import owner_key
from p2pcpn.errors import UsageError


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("P2PCPN_KEY", raising=False)


def test_this_users_own_key_is_made_once() -> None:
    assert owner_key().public == owner_key().public


def test_a_file_is_named_by_argument_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = owner_key()
    file = next(path for path in tmp_path.rglob("owner.key"))
    assert owner_key(file).public == owner_key("~/" + str(file.relative_to(tmp_path))).public == mine.public
    monkeypatch.setenv("P2PCPN_KEY", str(tmp_path / "other.key"))
    with pytest.raises(UsageError):
        owner_key()
    assert owner_key(file).public == mine.public
