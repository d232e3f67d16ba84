"""Chunks of a map: several calls of one function as one task. Workers import this module, so it imports nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any


def chunks(items: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """``size`` of ``items`` at a time, fewer at the end."""
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def run_chunk(function: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    """Call ``function`` with each arguments of ``chunk``."""
    return [function(*arguments) for arguments in chunk]


def flattened(results: Iterator[list[Any]]) -> Iterator[Any]:
    """The results of all chunks; none is referred to once it was handed out."""
    for chunk in results:
        chunk.reverse()
        while chunk:
            yield chunk.pop()
