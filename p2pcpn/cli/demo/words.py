"""The word count: what Python's own standard library says in its docstrings and help topics. Runs on any peer.

Each peer reads its own copy of the library; a task names files by their path within it.
"""

from __future__ import annotations

import ast
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

WORD: Final = re.compile(r"[a-z]{2,}(?:'[a-z]+)?")
_SKIPPED: Final = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__", "turtledemo"}
TOPICS: Final = "pydoc_data/topics.py"


def sources(bytes_a_batch: int) -> list[list[str]]:
    """The library's source files, in batches of about so many bytes."""
    root = Path(sysconfig.get_path("stdlib"))
    batches: list[list[str]] = []
    batch: list[str] = []
    size = 0
    for path in _walk(root):
        batch.append(path.relative_to(root).as_posix())
        size += path.stat().st_size
        if size >= bytes_a_batch:
            batches.append(batch)
            batch, size = [], 0
    return [*batches, batch] if batch else batches


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        if entry.is_dir():
            if entry.name not in _SKIPPED and not entry.name.startswith("config-"):
                yield from _walk(Path(entry.path))
        elif entry.name.endswith(".py"):
            yield Path(entry.path)


def count(paths: list[str]) -> tuple[int, dict[str, int]]:
    """How many of the files are here, and how often each word stands in their documentation."""
    root = Path(sysconfig.get_path("stdlib"))
    found: Counter[str] = Counter()
    read = 0
    for name in paths:
        try:
            text = (root / name).read_text("utf-8", "replace")
        except OSError:
            continue  # another build of Python has other files
        read += 1
        for part in documentation(text, topics=name == TOPICS):
            found.update(WORD.findall(part.lower()))
    return read, dict(found)


def documentation(text: str, *, topics: bool = False) -> Iterator[str]:
    """The docstrings of a module, or with ``topics`` all its strings."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if topics and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield docstring
