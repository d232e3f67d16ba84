"""Stand-ins for packages that need not be installed, put where imports find them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """``module("ray", init=f)``: from now on ``import ray`` finds it."""

    def put(name: str, **names: Any) -> ModuleType:
        made = ModuleType(name)
        for key, value in names.items():
            setattr(made, key, value)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    return put
