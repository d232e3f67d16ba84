"""The facts of a machine are plain values, and absent packages have no version."""

from __future__ import annotations

import json
import platform

import pytest

from p2pcpn.bench import machine


def test_facts_name_cores_python_and_versions() -> None:
    found = machine.facts()
    assert found["cores"] >= 1 and found["usable_cores"] >= 1 and found["python"] == platform.python_version()
    assert found["cpu"] and found["memory_bytes"] > 1 << 20
    assert found["versions"]["msgspec"]
    json.dumps(found)


def test_what_is_not_installed_has_no_version() -> None:
    assert machine.versions(["no-such-thing-of-a-test"]) == {}


def test_a_machine_without_cpuinfo_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)
    assert machine._cpu() == (platform.processor() or platform.machine())


def test_load_is_three_means() -> None:
    assert len(machine.load()) == 3
