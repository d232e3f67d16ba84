"""A peer says which of the named packages it lacks, and imports nothing to find out."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from p2pcpn.metrics import packages
from p2pcpn.metrics.packages import missing


def test_what_is_missing_is_named_in_order() -> None:
    assert missing(["msgspec", "zz_not_here", "json", "aa_not_here"]) == ("zz_not_here", "aa_not_here")
    assert missing(["msgspec"]) == ()


def test_a_name_that_is_no_plain_identifier_is_missing_and_never_looked_up() -> None:
    assert missing(["os.path", "", "a b", "../x"]) == ("os.path", "", "a b", "../x")


def test_a_package_that_was_missing_is_found_once_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert missing(["late_package_m"]) == ("late_package_m",)
    (tmp_path / "late_package_m.py").write_text("raise RuntimeError('imported')")
    importlib.invalidate_caches()
    assert missing(["late_package_m"]) == ()
    assert "late_package_m" not in sys.modules


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_KEPT_MAX", 1)
    monkeypatch.setattr(packages, "_found", set())
    assert missing(["json", "os", "json"]) == ()
    assert len(packages._found) == 1
