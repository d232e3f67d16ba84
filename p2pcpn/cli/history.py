"""``p2pcpn history``: what peers noted of jobs, judged."""

from __future__ import annotations

import click

from p2pcpn.cli.failures import DONE, FAILED, Ended, say
from p2pcpn.cli.options import json_option
from p2pcpn.cli.printing import print_facts, print_json

COUNTS = (
    "events",
    "jobs",
    "tasks",
    "settled",
    "failed",
    "cancelled",
    "reruns",
    "late",
    "copies",
    "readers",
    "conflicts",
)
SHOWN = 10


@click.group()
def history() -> None:
    """What peers noted of jobs with --history, judged: check."""


@history.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--running", is_flag=True, help="Jobs may go on still: what has not ended is not lost.")
@json_option
def check(paths: tuple[str, ...], running: bool, as_json: bool) -> None:
    """Judge the histories in PATH, files or folders of them. Exit code 1 when a promise was broken.

    Settled once, leases that do not overlap, nothing accepted under a fenced token, one canonical result for every
    reader, no task lost, no future that changes: each violation is shown with the lines that break it.
    """
    from p2pcpn.client import recorded

    found = recorded.verdict(*paths, over=not running)
    counts = {name: getattr(found, name) for name in COUNTS}
    if as_json:
        broken = [
            {"rule": each.rule, "text": each.text, "lines": [f"{line.process} {line.number}" for line in each.lines]}
            for each in found.violations
        ]
        print_json({"ok": found.ok, "broken": found.broken, **counts, "violations": broken})
    else:
        print_facts({"verdict": str(found), **{name: str(count) for name, count in counts.items()}})
        for each in found.violations[:SHOWN]:
            say(f"{each.rule}: {each.text}")
            for line in each.lines:
                say(f"  {line.process[:8]} {line.number}: {line.event}")
    raise Ended(DONE if found.ok else FAILED)
