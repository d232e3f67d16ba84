"""A project's modules are found by their import statements and packed into equal bytes."""

from __future__ import annotations

import io
import os
import sys
import types
import zipfile
from pathlib import Path

import pytest

from p2pcpn.client import bundle as bundles
from p2pcpn.client.bundle import Bundle, is_project_module, project_bundle
from p2pcpn.errors import UsageError


def project(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / (name.replace("__slash__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def names(bundle: Bundle | None) -> list[str]:
    assert bundle is not None
    with zipfile.ZipFile(io.BytesIO(bundle.data)) as archive:
        return archive.namelist()


def test_modules_are_followed_from_the_main_file(tmp_path: Path) -> None:
    root = project(
        tmp_path,
        main="import alpha_m\ndef f():\n    from pack_m.inner import deep\n",
        alpha_m="import beta_m, json, numpy\n",
        beta_m="import alpha_m\n",
        unused_m="",
        pack_m__slash____init__="",
        pack_m__slash__inner__slash____init__="from . import near\nfrom ..side import x\n",
        pack_m__slash__inner__slash__near="",
        pack_m__slash__inner__slash__deep="from .... import beyond\n",
        pack_m__slash__side="x = 1\n",
    )
    bundle = project_bundle(root / "main.py")
    assert names(bundle) == [
        "alpha_m.py",
        "beta_m.py",
        "pack_m/__init__.py",
        "pack_m/inner/__init__.py",
        "pack_m/inner/deep.py",
        "pack_m/inner/near.py",
        "pack_m/side.py",
    ]
    assert bundle is not None
    assert "alpha_m" in bundle and "pack_m" in bundle and "unused_m" not in bundle and 3 not in bundle


def test_what_modules_need_from_outside_is_followed_through_the_project(tmp_path: Path) -> None:
    root = project(
        tmp_path,
        main="import first_m, other_m",
        first_m="import second_m",
        second_m="import numpy.linalg\ntry:\n    import orjson\nexcept ImportError:\n    import ujson\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n",
        other_m="import scipy\ntry:\n    import yaml\nexcept:\n    pass\nimport yaml\n",
    )
    bundle = project_bundle(root / "main.py")
    assert bundle is not None
    assert bundle.imports(["first_m"]) == {"numpy", "typing", "ujson"}
    assert bundle.imports(["other_m", "elsewhere"]) == {"scipy", "yaml"}


def test_installed_hidden_and_own_modules_stay_here(tmp_path: Path) -> None:
    root = project(
        tmp_path,
        main="import p2pcpn, sys, json\nimport plain_m\nimport env_m.thing\nimport broken_m\n",
        plain_m="",
        broken_m="def (:\n",
        env_m__slash__thing="",
        p2pcpn__slash____init__="",
        json="",
    )
    (root / "env_m" / "pyvenv.cfg").write_text("")
    assert names(project_bundle(root / "main.py")) == ["broken_m.py", "plain_m.py"]


def test_equal_sources_give_equal_bytes(tmp_path: Path) -> None:
    bundles = []
    for number, folder in enumerate(("a", "b")):
        root = project(tmp_path / folder, main="import x_m, y_m", x_m="1", y_m="2")
        os.utime(root / "x_m.py", (number * 1e9, number * 1e9))
        bundles.append(project_bundle(root / "main.py"))
    first, second = bundles
    assert first is not None and second is not None
    assert first.data == second.data and first.digest == second.digest and len(first.digest) == 32


def test_a_program_without_local_modules_has_no_bundle(tmp_path: Path) -> None:
    root = project(tmp_path, main="import json")
    assert project_bundle(root / "main.py") is None


def test_a_main_file_inside_a_package_sees_its_neighbours_and_its_package(tmp_path: Path) -> None:
    root = project(
        tmp_path,
        tool_m__slash____init__="",
        tool_m__slash__main="import sibling_m\nimport tool_m.core\n",
        tool_m__slash__sibling_m="",
        tool_m__slash__core="",
    )
    found = names(project_bundle(root / "tool_m" / "main.py"))
    assert found == ["sibling_m.py", "tool_m/__init__.py", "tool_m/core.py"]


def test_a_session_without_main_file_starts_from_the_modules_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path, given_m="import helped_m", helped_m="", loaded__slash__elsewhere="")
    monkeypatch.chdir(root)
    assert names(project_bundle(None, ["given_m"])) == ["given_m.py", "helped_m.py"]
    module = types.ModuleType("odd.name_m")
    module.__file__ = str(root / "loaded" / "elsewhere.py")
    monkeypatch.setitem(sys.modules, "odd.name_m", module)
    assert names(project_bundle(None, [module])) == ["odd/name_m.py"]
    assert project_bundle(Path(pytest.__file__), ["json", "not a name"]) is None


def test_a_bundle_beyond_its_bound_names_what_is_large(tmp_path: Path) -> None:
    root = project(tmp_path, main="import big_m, small_m", big_m="x = 1\n" * 10_000, small_m="")
    with pytest.raises(UsageError, match=r"Largest: big_m\.py \(60000 bytes\)"):
        project_bundle(root / "main.py", bytes_max=100)


def test_what_is_imported_from_other_folders_travels_unless_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = project(tmp_path / "app", main="import faraway_m, linked_m, packaged_m\n")
    lib = project(tmp_path / "lib", faraway_m="import farther_m\n", farther_m="", linked_m="")
    installed = project(tmp_path / "site-packages", packaged_m="")
    for folder in (lib, installed, tmp_path / "none"):
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(bundles, "_is_installed", lambda top: top == "linked_m")
    assert names(project_bundle(app / "main.py")) == ["faraway_m.py", "farther_m.py"]
    assert is_project_module("faraway_m") and not is_project_module("linked_m")
    (lib / "farther_m.py").write_text(f"x = {os.urandom(3000).hex()!r}")
    app_only = project(app, main="import near_m, faraway_m\n", near_m="") / "main.py"
    assert names(project_bundle(app_only, bytes_max=1000)) == ["near_m.py"]
    assert project_bundle(app_only, bytes_max=100_000) is not None
    with pytest.raises(UsageError):
        project_bundle(app_only, bytes_max=10)


def test_an_installed_distribution_is_known_by_its_names() -> None:
    assert bundles._is_installed("pytest") and not bundles._is_installed("no_such_module_anywhere")
