"""What the peers run for the demonstration: a tile, or a batch of files, each with the seconds it took."""

from __future__ import annotations

from time import perf_counter

from p2pcpn.cli.demo import picture, words


def paint(number: int) -> tuple[float, bytes]:
    """Seconds, and the pixels of a tile."""
    began = perf_counter()
    pixels = picture.tile(number)
    return perf_counter() - began, pixels


def read(paths: list[str]) -> tuple[float, int, dict[str, int]]:
    """Seconds, how many files were read, and the words of their documentation."""
    began = perf_counter()
    files, found = words.count(paths)
    return perf_counter() - began, files, found
