"""How things are printed: tables on a terminal, plain columns elsewhere, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import click

from p2pcpn.cli.failures import say
from p2pcpn.cli.plain import one_line, plain

FAILURES_SHOWN = 20
# What is left of the last column on a narrow terminal, and of an id: first so much, and if that does not do, less.
LAST_CHARS_MIN = 4
ID_CHARS_MIN = (17, 9)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    indent = 2 if sys.stdout.isatty() else None
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if plain(text) != text:  # some of it would act on a terminal
        text = json.dumps(value, indent=indent)
    click.echo(text)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, numeric: Sequence[str] = (), whole: bool = False
) -> None:
    """Rows under headings; columns named in ``numeric`` are flush right. ``whole``: none is cut to fit a terminal.

    On a narrow terminal columns stand closer, and the last one and an id behind its first digits are cut; where that
    does not do, each row is a block of facts.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if whole or not sys.stdout.isatty():
        _print_plain(columns, cells, numeric)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    gap = 2 if _fitting(columns, cells, console.width) else 1
    widths = _fitting(columns, cells, console.width, gap)
    if widths is None:
        for at, row in enumerate(cells):
            click.echo(nl=at > 0, message="")
            print_facts({column: cell or None for column, cell in zip(columns, row, strict=True)})
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column, justify="right" if column in numeric else "left", overflow="ellipsis", no_wrap=True, width=width
        )
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _fitting(columns: Sequence[str], cells: list[list[str]], width: int, gap: int = 2) -> list[int] | None:
    """How wide each column may be; ``None`` where what they say does not fit."""
    widths = [max(len(line[at]) for line in [list(columns), *cells]) for at in range(len(columns))]
    over = sum(widths) + gap * (len(columns) - 1) - width
    ids = [(0, least) for least in ID_CHARS_MIN if columns[0] == "id"]
    for at, least in (*ids[:1], (len(columns) - 1, LAST_CHARS_MIN), *ids[1:]):
        cut = max(0, min(over, widths[at] - max(least, len(columns[at]))))
        widths[at] -= cut
        over -= cut
    return widths if over <= 0 else None


def _print_plain(columns: Sequence[str], cells: list[list[str]], numeric: Sequence[str]) -> None:
    lines = [list(columns), *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        padded = [
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def print_facts(facts: Mapping[str, object]) -> None:
    """A name and a value a line, a list's items one below the other; what is ``None`` is left out."""
    shown = {name: value for name, value in facts.items() if value is not None}
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        for at, item in enumerate(value if isinstance(value, list) else [value]):
            click.echo(f"{click.style(('' if at else name).ljust(width), dim=True)}  {_cell(item)}")


def _cell(value: object) -> str:
    return "" if value is None else one_line(str(value))


def print_failures(failed: Iterable[tuple[int, str]]) -> None:
    """A line on stderr for each text with which tasks failed; no more than twenty, for there may be a million."""
    tasks: dict[str, list[int]] = {}
    for index, text in failed:
        tasks.setdefault(text, []).append(index)
    for text, indices in islice(tasks.items(), FAILURES_SHOWN):
        more = f" and {len(indices) - 1:,} more" if len(indices) > 1 else ""
        say(f"task {indices[0]}{more} failed: {text}")
    left = sum(len(indices) for indices in islice(tasks.values(), FAILURES_SHOWN, None))
    if left:
        say(f"{number_of(left, 'more task')} failed; --json tells of each")


def size(count: float | None) -> str:
    """Bytes for people: ``1.5 GiB``."""
    if count is None:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """A time span for people: ``0.4 s``, ``12 s``, ``3 min``, ``2 h``, ``5 d``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, below, divisor in (("s", 120, 1), ("min", 7200, 60), ("h", 172800, 3600)):
        if seconds < below:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def number_of(count: int, noun: str) -> str:
    """``1 peer``, ``2 peers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
