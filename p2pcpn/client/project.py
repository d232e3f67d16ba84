"""The submitting program's own modules, ready to travel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from p2pcpn.client.bundle import Bundle, main_file, project_bundle


def project(*functions: Callable[..., Any]) -> Bundle | None:
    """The modules of this program's own project that its ``__main__`` and ``functions`` need; ``None`` for none.

    Under a tool that runs the project, as pytest does, and in an interactive session there is no main file, and the
    modules that ``functions`` come from say what is needed.
    """
    return project_bundle(main_file(), [name for function in functions for name in module_names(function)])


def module_names(function: Any) -> list[str]:
    """The modules that a callable, and what it wraps or is a method of, come from."""
    names: list[str] = []
    for _ in range(16):
        name = getattr(function, "__module__", None) or getattr(type(function), "__module__", None)
        if isinstance(name, str) and name != "__main__":
            names.append(name)
        if isinstance(function, functools.partial):
            names += [name for each in function.args if callable(each) for name in module_names(each)]
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif hasattr(function, "__func__"):
            function = function.__func__
        else:
            break
    return list(dict.fromkeys(names))
