"""Jobs submitted here are remembered in order, within a bound, whatever stands in the file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from p2pcpn.client import history
from p2pcpn.client.history import Submitted, remember, remembered
from p2pcpn.errors import StoreError


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}


def job(number: int) -> Submitted:
    return Submitted(f"{number:040x}", 1.5, "naïve name", "ab" * 32, number)


def test_jobs_are_remembered_in_their_order(env: dict[str, str]) -> None:
    assert remembered(env) == []
    for number in range(3):
        remember(job(number), env)
    assert remembered(env) == [job(0), job(1), job(2)]


def test_the_list_is_private_and_bounded(env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "JOBS_MAX", 10)
    for number in range(25):
        remember(job(number), env)
    kept = remembered(env)
    assert len(kept) <= 10 and kept[-1] == job(24)
    assert [each.tasks for each in kept] == list(range(25 - len(kept), 25))
    assert (tmp_path / "state" / "p2pcpn" / history.NAME).stat().st_mode & 0o777 == 0o600


def test_lines_that_cannot_be_read_are_left_out(env: dict[str, str], tmp_path: Path) -> None:
    remember(job(1), env)
    path = tmp_path / "state" / "p2pcpn" / history.NAME
    path.write_text('half a li\n{"id": 1}\n[]\n' + path.read_text())
    assert remembered(env) == [job(1)]


def test_a_disk_that_refuses_is_a_store_error(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    remember(job(1), env)

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(history.os, "open", refuse)
    with pytest.raises(StoreError, match="No space left"):
        remember(job(2), env)


def test_the_time_of_history_is_the_wall_clock() -> None:
    assert abs(history.now_s() - time.time()) < 60
