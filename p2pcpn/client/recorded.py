"""Recorded histories: the files that peers wrote, read back together and judged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from p2pcpn.errors import PeerError, UsageError
from p2pcpn.protocol.history import Line, lines_of
from p2pcpn.protocol.verdict import Verdict, in_order, judge

SUFFIX = ".jsonl"


def files_of(paths: Iterable[str | Path]) -> list[Path]:
    """The files that ``paths`` name: themselves, or all histories in a folder. Raises :class:`UsageError`."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(path.glob(f"*{SUFFIX}"))
            if not inside:
                raise UsageError(f"there is no history in {path}; peers write one with --history {path}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"there is no history {path}")
    return found


def lines(paths: Iterable[str | Path]) -> list[Line]:
    """All lines of the histories, each life of a peer in its order. Raises :class:`UsageError` for what is none."""
    found: list[Line] = []
    files = files_of(paths)
    for path in files:
        try:
            found += lines_of(path.read_bytes())
        except (OSError, PeerError) as error:
            raise UsageError(f"{path} cannot be read as a history: {error}") from error
    if not found:
        raise UsageError(f"there is no event that can be read in {', '.join(map(str, files))}")
    return list(in_order(found))


def verdict(*paths: str | Path, over: bool = True) -> Verdict:
    """The verdict over all histories that ``paths`` name; not ``over``: jobs may go on still.

    Raises :class:`UsageError` for what is no history.
    """
    return judge(lines(paths), over=over)
