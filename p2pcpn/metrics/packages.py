"""Which packages this peer offers to functions."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Final

_KEPT_MAX: Final = 1024
_found: set[str] = set()


def missing(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the top-level import ``names`` that cannot be imported here, in their order.

    Names may come from anyone: only plain identifiers are looked up, so nothing is imported by looking. What was found
    is remembered; what was missing is looked for again, because its owner may install it.
    """
    return tuple(name for name in names if not _is_here(name))


def _is_here(name: str) -> bool:
    if name in _found:
        return True
    if not name.isidentifier():
        return False
    try:
        here = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
    if here:
        if len(_found) >= _KEPT_MAX:
            _found.clear()
        _found.add(name)
    return here


# What people look for in a peer. An advert has room for two dozen short names, not for all that is installed.
_LOOKED_FOR: Final = (
    "numpy", "scipy", "pandas", "polars", "pyarrow", "torch", "tensorflow", "jax", "sklearn", "xgboost", "lightgbm",
    "transformers", "cv2", "PIL", "matplotlib", "networkx", "sympy", "numba", "cython", "requests", "httpx", "lxml",
    "nltk", "spacy",
)  # fmt: skip


def notable() -> tuple[str, ...]:
    """Which of two dozen packages that people look for can be imported here, by import name, for the advert."""
    return tuple(name for name in _LOOKED_FOR if _is_here(name))
