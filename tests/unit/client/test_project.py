"""The modules of the submitting program that travel, and the modules a callable comes from."""

from __future__ import annotations

import functools
import json
import sys
import types
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client.project import module_names, project


class Thing:
    def method(self) -> None: ...
    def __call__(self) -> None: ...


def test_a_callable_names_the_modules_of_all_that_it_wraps() -> None:
    here = __name__
    assert module_names(json.dumps) == ["json"]
    assert module_names(Thing().method) == [here] and module_names(Thing()) == [here]
    assert module_names(functools.partial(map, json.dumps)) == ["functools", "json", "builtins"]

    @functools.wraps(json.loads)
    def wrapped() -> Any: ...

    assert module_names(wrapped) == ["json"]


def test_in_an_interactive_session_a_functions_module_says_what_travels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_x.py").write_text("import beside_x\ndef work(): ...\n")
    (tmp_path / "beside_x.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    work = __import__("mine_x").work
    bundle = project(work)
    assert bundle is not None
    assert zipfile.ZipFile(BytesIO(bundle.data)).namelist() == ["beside_x.py", "mine_x.py"]
    assert project(json.dumps) is None
    for name in ("mine_x", "beside_x"):
        sys.modules.pop(name, None)
