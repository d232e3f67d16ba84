"""Archives are unpacked once, beside where they are wanted; what is no project bundle is refused."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from p2pcpn.errors import UsageError
from p2pcpn.runtime.function import bundles
from p2pcpn.runtime.function.bundles import unpack


def archive(folder: Path, *names: str, text: str = "x = 1\n") -> Path:
    path = folder / "bundle-1.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for name in names:
            opened.writestr(name, text)
    return path


def test_modules_are_unpacked_with_their_packages(tmp_path: Path) -> None:
    folder = unpack(archive(tmp_path, "a.py", "b/__init__.py", "b/c.py"))
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py")) == [
        "a.py",
        "b/__init__.py",
        "b/c.py",
    ]


def test_the_second_worker_finds_them_there(tmp_path: Path) -> None:
    path = archive(tmp_path, "a.py")
    folder = unpack(path)
    path.unlink()
    assert unpack(path) == folder


def test_a_worker_that_loses_the_race_uses_the_winners_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, "a.py")
    checked = bundles._check

    def other_wins(opened: zipfile.ZipFile) -> None:
        checked(opened)
        (tmp_path / "bundle-1").mkdir()
        (tmp_path / "bundle-1" / "a.py").write_text("the winner's")

    monkeypatch.setattr(bundles, "_check", other_wins)
    assert (unpack(path) / "a.py").read_text() == "the winner's"
    assert sorted(os.listdir(tmp_path)) == ["bundle-1", "bundle-1.zip"]


@pytest.mark.parametrize("name", ["../a.py", "/etc/a.py", "a/../../b.py", "a\\b.py"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="outside itself"):
        unpack(archive(tmp_path, name))


def test_a_bundle_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "BUNDLE_UNPACKED_BYTES_MAX", 10)
    with pytest.raises(UsageError, match="12 bytes, at most 10"):
        unpack(archive(tmp_path, "a.py", "b.py"))
    monkeypatch.setattr(bundles, "BUNDLE_FILES_MAX", 1)
    with pytest.raises(UsageError, match="2 files, at most 1"):
        unpack(archive(tmp_path, "a.py", "b.py"))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle-1.zip").write_bytes(b"PK no")
    with pytest.raises(UsageError, match="no zip archive"):
        unpack(tmp_path / "bundle-1.zip")
