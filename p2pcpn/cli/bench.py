"""``p2pcpn bench``: p2pcpn and the systems people would pick instead, measured in turn in one run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from p2pcpn.cli.failures import DONE, FAILED, Ended, say
from p2pcpn.cli.options import json_option
from p2pcpn.cli.printing import duration, print_json, print_table
from p2pcpn.errors import UsageError

if TYPE_CHECKING:
    from p2pcpn.bench.figures import Figure, Outcome
    from p2pcpn.bench.run import Report

F = TypeVar("F", bound=Callable[..., Any])
COLUMNS = ("figure", "system", "median", "unit", "p2pcpn is", "floor", "goal", "verdict")


def _file(name: str, text: str) -> Callable[[F], F]:
    return click.option(name, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=text)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "listed", is_flag=True, help="Name the benchmarks and the systems, and end.")
@click.option(
    "--against", metavar="NAME,...", help="Systems to compare with, or all, none (default all; --short: pool)."
)
@click.option("--rounds", type=click.IntRange(1, 1000), metavar="N", help="How often each system has its turn.")
@click.option("--short", is_flag=True, help="Little of everything; without NAMEs only the ratios that CI looks at.")
@_file("--plot", "Draw the figures as a PNG.")
@_file("--check", "Fail when a ratio is more than a third worse than the one stored there.")
@_file("--store", "Store the ratios found, for --check.")
@json_option
def bench(
    names: tuple[str, ...], listed: bool, against: str | None, rounds: int | None, short: bool, plot: Path | None,
    check: Path | None, store: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure p2pcpn and other systems in turn: A B A B ..., after a warm-up of each. Prints medians and ratios.

    p2pcpn is measured as its users have it, with everything on: two peers, two replicas, signatures, encryption,
    leases, captured output. The others come with the extra: pip install 'p2pcpn[bench]'. Progress goes to stderr.
    """
    from p2pcpn.bench import catalogue, run, scale, stored

    if listed:
        _list(as_json)
        return
    chosen = catalogue.chosen(names, short=short)
    others = run.systems_of(against, short=short)
    if against not in (None, "all", "none"):
        run.require(others)
    ratios = stored.load(check) if check is not None else None
    if ratios is not None and not stored.compared(chosen, others, ratios):
        raise UsageError(f"nothing of what is to be measured is stored in {check}, so the check could not fail")
    if store is not None and _within_a_folder(store).exists():
        stored.load(store)
    if plot is not None:
        from p2pcpn.bench.plot import draw, require

        require()
        _within_a_folder(plot)
    with _ended_by_sigterm():
        report = run.run(
            chosen, others, scale.SHORT if short else scale.FULL, rounds=rounds, check=ratios, say=say,
            found=lambda outcome: None if as_json else _print(outcome),
        )  # fmt: skip
    if as_json:
        print_json(report.to_json())
    if store is not None:
        stored.store(store, report.figures, report.machine)
        say(f"ratios stored in {store}")
    if plot is not None:
        for path in draw(report.outcomes, plot):
            say(f"drawn: {path}")
    _end(report, check)


def _within_a_folder(path: Path) -> Path:
    """``path``. Raises :class:`UsageError` where nothing can be written there: before an hour of measuring."""
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")
    return path


def _list(as_json: bool) -> None:
    from p2pcpn.bench.catalogue import BENCHMARKS, SHORT
    from p2pcpn.bench.systems import SYSTEMS, absent

    if as_json:
        print_json(
            {
                "benchmarks": {benchmark.name: benchmark.idea for benchmark in BENCHMARKS},
                "short": list(SHORT),
                "systems": {name: {"as": words, "absent": absent(name)} for name, (_, _, words) in SYSTEMS.items()},
            }
        )
        return
    print_table(
        ("benchmark", "short", "measures"),
        [(benchmark.name, "yes" if benchmark.name in SHORT else "", benchmark.idea) for benchmark in BENCHMARKS],
    )
    click.echo()
    print_table(("system", "as"), [(name, absent(name) or words) for name, (_, _, words) in SYSTEMS.items()])


def _print(outcome: Outcome) -> None:
    click.echo(f"{outcome.name}, {duration(outcome.seconds)}")
    rows = [row for figure in outcome.figures for row in _rows(figure)]
    if rows:
        print_table(COLUMNS, rows, numeric=("median", "floor", "goal"))
    for system, why in outcome.failed.items():
        click.echo(f"not measured: {system}: {why}")
    click.echo()


def _rows(figure: Figure) -> Iterator[tuple[str, ...]]:
    from p2pcpn.bench.figures import judge

    verdicts = {judgement.target.against: judgement for judgement in judge(figure)}
    for system in figure.values:
        median, ratio = figure.median(system), figure.ratio(system)
        ours = system == "p2pcpn"
        judgement = verdicts.get(None if ours else system)
        yield (
            figure.title if ours else "", system, "" if median is None else _number(median), figure.unit,
            "" if ours or ratio is None else f"{ratio:.3g} x",
            *(("", "", "") if judgement is None else (
                _number(judgement.target.floor), _number(judgement.target.goal), judgement.verdict)),
        )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _end(report: Report, check: Path | None) -> None:
    for name, why in report.broken.items():
        say(f"{name} could not be measured: {why}")
    for drop in report.drops:
        say(str(drop))
    if report.drops:
        say(f"a ratio is more than a third worse than stored; if that is meant: p2pcpn bench --short --store {check}")
    raise Ended(FAILED if report.drops or report.broken else DONE)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: in order, with nothing left behind."""

    def interrupt(number: int, frame: FrameType | None) -> Any:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread, where signals are not ours
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
