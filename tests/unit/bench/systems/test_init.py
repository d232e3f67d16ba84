"""Systems are made by name, and those whose package is missing are absent."""

from __future__ import annotations

import pytest

from p2pcpn.bench import systems
from p2pcpn.bench.systems import absent, is_installed, make
from p2pcpn.errors import UsageError


def test_each_name_makes_a_system_without_importing_its_package() -> None:
    made = {name: type(make(name)).__name__ for name in systems.SYSTEMS}
    assert made["p2pcpn"] == "SwarmSystem" and made["ray"] == "RaySystem" and len(set(made.values())) == 6


def test_an_unknown_name_is_usage() -> None:
    with pytest.raises(UsageError, match="no system 'spark'"):
        make("spark")


def test_what_is_not_installed_is_absent_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert absent("pool") is None
    monkeypatch.setattr(systems, "find_spec", lambda package: None)
    assert absent("ray") == "ray is not installed: pip install 'p2pcpn[bench]'"


def test_a_package_that_cannot_be_looked_for_is_not_there() -> None:
    assert is_installed("json") and not is_installed("no_such_package_of_a_test.module")
