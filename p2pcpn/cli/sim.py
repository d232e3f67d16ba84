"""``p2pcpn sim``: the protocol of real peers under a virtual clock and network, with faults and a checker."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import NoReturn

import click

from p2pcpn.cli.failures import DONE, FAILED, Ended, say
from p2pcpn.cli.options import json_option
from p2pcpn.cli.printing import number_of, print_facts, print_json
from p2pcpn.cli.progress import Progress, VirtualProgress
from p2pcpn.errors import UsageError


class Scenarios(click.Command):
    """Shows the scenarios' names in its help, asked when the help is shown."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from p2pcpn.sim import scenarios

        formatter.write_paragraph()
        formatter.write_text(f"Scenarios: {', '.join(scenarios.names())}.")


@click.command(cls=Scenarios)
@click.argument("scenario")
@click.option("--peers", default=50, show_default=True, metavar="N", help="How many peers beside the submitter.")
@click.option("--seed", default=1, show_default=True, metavar="S", help="The same seed gives the same run.")
@click.option(
    "--seeds", metavar="A-B", help="Many seeds, one after the other on every core: those that fail are named."
)
@click.option(
    "--mode", "modes", multiple=True, metavar="MODE",
    help="Of scenario modes: play this one alone, or these. Their reports are drawn together.",
)  # fmt: skip
@click.option(
    "--tasks-a-slot", type=click.IntRange(1), metavar="N",
    help="Of scenario modes: how many tasks its jobs have for each worker slot.  [default: 4]",
)  # fmt: skip
@click.option(
    "--png", type=click.Path(path_type=Path), metavar="FILE",
    help="With --report: draw the figures of scenario modes, as PNG.",
)  # fmt: skip
@click.option(
    "--report", "reports", type=click.Path(path_type=Path), multiple=True, metavar="FILE",
    help="A report saved with --json, to be drawn; nothing is played.",
)  # fmt: skip
@json_option
def sim(
    scenario: str,
    peers: int,
    seed: int,
    seeds: str | None,
    modes: tuple[str, ...],
    tasks_a_slot: int | None,
    png: Path | None,
    reports: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Simulate a swarm: the same protocol code, virtual time, injected faults, every promise checked.

    The run is named by a hash of all its events: one seed, one hash. Exit code 1 when a promise was broken.
    """
    from p2pcpn.sim import scenarios

    if png is not None or reports:
        _drawn(scenario, png, reports)
    load = scenarios.load(modes, tasks_a_slot)
    if seeds is not None:
        if load is not None:
            raise UsageError("--mode and --tasks-a-slot go with one seed")
        _many(scenario, peers, seeds, as_json)
    with VirtualProgress(scenario) as progress:
        report = scenarios.run(scenario, peers=peers, seed=seed, watch=progress.update, load=load)
    if as_json:
        print_json(report.to_json())
    else:
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(report.faults.items()))
        print_facts(
            {
                "scenario": f"{report.scenario}, {number_of(report.peers, 'peer')}, seed {report.seed}",
                "verdict": "everything held" if report.ok else report.verdict,
                "tasks": f"{report.tasks}: {report.delivered} delivered, {report.lost_tasks} lost",
                "faults": faults or "none",
                "network": f"{report.datagrams_sent} datagrams sent, {report.datagrams_lost} lost",
                "time": f"{report.virtual_s:.1f} virtual s, {report.events} events, {report.checks} checks",
                **({"history": _history(report.history)} if report.history else {}),
                "cost": f"{time.process_time():.1f} s of processor time, {_memory_mb():.0f} MB at most",
                "trace": report.trace_hash,
                **{name: f"{figure:g}" for name, figure in report.figures.items()},
            }
        )
    if not report.ok:
        say(f"seed {report.seed} breaks a promise: {report.verdict}")
        say(f"again with: {report.command}")
    raise Ended(DONE if report.ok else FAILED)


def _drawn(scenario: str, png: Path | None, reports: tuple[Path, ...]) -> NoReturn:
    """Draw saved reports."""
    from p2pcpn.bench import modes, plot

    if png is None or not reports or scenario != "modes":
        raise UsageError("--png FILE and --report FILE... go together, and draw what p2pcpn sim modes --json printed")
    plot.require()
    say(f"drawn: {modes.draw(modes.saved(reports), png)}")
    raise Ended(DONE)


def _memory_mb() -> float:
    """The most memory this process has had, as the system counts it: KiB, and bytes on macOS."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def _history(said: dict[str, int]) -> str:
    words = ", ".join(
        f"{count} {word}" for word, count in said.items() if count and word not in ("events", "violations")
    )
    return f"{said['events']} events, {said['violations']} broken promises; {words}"


def _many(scenario: str, peers: int, text: str, as_json: bool) -> NoReturn:
    """Play many seeds; exit code 1 where one breaks a promise."""
    from p2pcpn.sim import seeds
    from p2pcpn.sim.report import Report

    wanted = seeds.parse(text)
    began = time.monotonic()
    ended: list[Report] = []
    with Progress(f"sim {scenario}", len(wanted)) as progress:

        def found(report: Report) -> None:
            ended.append(report)
            if not report.ok:
                progress.say(f"seed {report.seed} breaks a promise: {report.verdict}; again with: {report.command}")
            progress.update(len(ended), len(wanted), failed=sum(not report.ok for report in ended))

        bad = seeds.play(scenario, wanted, peers=peers, found=found)
    took_s = time.monotonic() - began
    lost = sum(report.lost_tasks for report in ended)
    noted, broken = (sum(report.history.get(word, 0) for report in ended) for word in ("events", "violations"))
    if as_json:
        print_json(
            {
                "scenario": scenario, "peers": peers, "seeds": text, "played": len(ended), "lost_tasks": lost,
                "violations": broken, "took_s": round(took_s, 1), "failed": [report.to_json() for report in bad],
            }
        )  # fmt: skip
    else:
        print_facts(
            {
                "scenario": f"{scenario}, {number_of(peers, 'peer')}, {number_of(len(ended), 'seed')}",
                "verdict": f"{number_of(len(bad), 'seed')} failed" if bad else "everything held",
                "tasks": f"{sum(report.tasks for report in ended)}: {lost} lost",
                "history": f"{noted} events, {broken} broken promises",
                "time": f"{took_s:.0f} s",
            }
        )
        for report in bad:
            say(f"seed {report.seed}: {report.verdict}")
            say(f"again with: {report.command}")
    raise Ended(FAILED if bad else DONE)
