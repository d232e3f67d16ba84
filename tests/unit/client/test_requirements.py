"""The packages that a function needs are read from its pickle and its code."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from p2pcpn.client.bundle import project_bundle
from p2pcpn.client.requirements import needed_packages, pickled_modules


def by_value(text: str, name: str = "f") -> Callable[..., Any]:
    """A function as ``__main__`` would define it."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(text, scope)
    found: Callable[..., Any] = scope[name]
    return found


def needed(function: Callable[..., Any]) -> tuple[str, ...]:
    return needed_packages(cloudpickle.dumps(function), function)


def test_builtins_and_the_standard_library_are_no_requirement() -> None:
    assert needed(pow) == ()
    assert needed(by_value("import json\ndef f():\n    import os.path\n    return json")) == ()


def test_a_module_in_a_global_is_a_requirement() -> None:
    text = "import msgspec, networkx.algorithms as na\ndef f():\n    return msgspec.json, na"
    assert needed(by_value(text)) == ("msgspec", "networkx")


def test_a_function_of_an_installed_package_requires_it() -> None:
    import msgspec.json

    assert needed(msgspec.json.encode) == ("msgspec",)
    assert pickled_modules(b"cnumpy.core\nf\n.") == {"numpy.core"}


def test_imports_inside_functions_count_wherever_they_are() -> None:
    text = (
        "import functools\n"
        "def helper():\n    def inner():\n        import msgspec\n    return inner\n"
        "class Kind:\n    def method(self):\n        from psutil import Process\n"
        "def closed(g):\n    return lambda: g\n"
        "def third():\n    import nacl.signing\n"
        "def f():\n    return helper() and Kind\n"
        "g = functools.partial(closed(third), 1)\n"
        "h = Kind().method\n"
    )
    assert needed(by_value(text)) == ("msgspec", "psutil")
    assert needed(by_value(text, "g")) == ("nacl",)
    assert needed(by_value(text, "h")) == ("psutil",)


def test_what_cannot_be_imported_here_is_optional() -> None:
    assert (
        needed(by_value("def f():\n    try:\n        import no_such_package_at_all\n    except ImportError: pass"))
        == ()
    )


def test_names_that_only_look_like_modules_are_none() -> None:
    assert needed(by_value("def f():\n    return 'msgspec', b'psutil'")) == ()


def test_the_bundle_travels_and_brings_its_own_requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.py").write_text("import mine_m\n")
    (tmp_path / "mine_m.py").write_text("import msgspec\ndef g(): ...\n")
    bundle = project_bundle(tmp_path / "main.py")
    module = types.ModuleType("mine_m")
    exec((tmp_path / "mine_m.py").read_text(), vars(module))
    monkeypatch.setitem(sys.modules, "mine_m", module)
    assert needed_packages(cloudpickle.dumps(module.g), module.g, bundle=bundle) == ("msgspec",)
    assert needed_packages(cloudpickle.dumps(module.g), module.g) == ("mine_m",)


def test_the_answer_is_kept_with_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    function = by_value("def f():\n    import msgspec")
    assert needed(function) == ("msgspec",)
    assert needed_packages(b"not even a pickle", function) == ("msgspec",)
    listed = functools.partial(max, [])
    assert needed(listed) == needed(listed) == ()


def test_a_callable_that_cannot_be_kept_is_read_each_time() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> None: ...

    assert needed_packages(cloudpickle.dumps(len), Unhashable()) == ()
