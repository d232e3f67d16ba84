"""A program in a fresh interpreter tells when it imported, computed and ended."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from p2pcpn.bench import cold
from p2pcpn.bench.stage import DriverFailed


def test_the_pools_program_runs() -> None:
    found = cold.in_fresh_interpreter("pool")
    assert 0 < found["made_s"] <= found["first_s"] < found["whole_s"] and found["shutdown_s"] >= 0


def test_a_program_that_fails_tells_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cold.EXECUTORS, "pool", ("no_such_module_of_a_test", "X"))  # type: ignore[arg-type]
    with pytest.raises(DriverFailed, match="no_such_module_of_a_test"):
        cold.in_fresh_interpreter("pool")


def test_a_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*words: Any, timeout: float, **options: Any) -> None:
        raise subprocess.TimeoutExpired("python", timeout)

    monkeypatch.setattr(cold.subprocess, "run", hang)
    with pytest.raises(DriverFailed, match="did not end within 60 s"):
        cold.in_fresh_interpreter("p2pcpn")
