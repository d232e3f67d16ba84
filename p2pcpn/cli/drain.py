"""``p2pcpn drain``: the node on this machine finishes, hands on what it keeps, and leaves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from p2pcpn.cli.options import Duration, json_option
from p2pcpn.cli.printing import number_of, print_json
from p2pcpn.cli.progress import Words
from p2pcpn.client.connection import node_sockets
from p2pcpn.client.departing import control_of, drain, left_behind, listens, stay
from p2pcpn.errors import P2pcpnError, Unreachable


@click.command(name="drain")
@click.option("--timeout", "timeout_s", type=Duration(), default="10m", metavar="TIME",
              help="How long tasks may run on; then they go back, to run elsewhere (10m).")  # fmt: skip
@click.option("--undo", is_flag=True, help="Have a node that drains stay.")
@click.option("--data", metavar="DIR", help="The node's data directory (the usual one, or that of the last node).")
@json_option
def drain_verb(timeout_s: float, undo: bool, data: str | None, as_json: bool) -> None:
    """Let the node on this machine leave without a loss, and wait until it is gone.

    It takes nothing new, gives back tasks that have not started, finishes those that run, and brings what it keeps for
    others (results, records, blobs) to peers that stay. Ctrl-C here only ends the waiting.
    """
    control = node_control(data, "p2pcpn swarm drain N is for peers of p2pcpn swarm up")
    if undo:
        if not stay(control):
            raise P2pcpnError("the node does not drain, or is as good as gone")
        if as_json:
            print_json({"stays": True})
        else:
            click.echo("it stays")
        return
    with Words("drain", shown=not as_json) as progress:
        behind = drain(control, timeout_s, lambda words: progress.update(progress_words(words)))
    if as_json:
        print_json({"left": True, "behind": behind})
    else:
        click.echo("the node has left" + (f"; {left_behind(behind)}" if behind else ""))


def progress_words(words: Mapping[str, Any]) -> str:
    """How far a peer that drains is."""
    if words["state"] == "finishing":
        parts = []
        if words["running"]:
            parts.append(f"{number_of(words['running'], 'task')} still run" + ("s" if words["running"] == 1 else ""))
        if words["unsettled"]:
            parts.append("results are on their way to whoever keeps them")
        return ", ".join(parts) + f", {words['left_s']:.0f} s left" if parts else "nothing runs any more"
    if words["state"] == "handing over":
        return f"handing over {number_of(words['jobs'], 'job')} and {number_of(words['sections'], 'blob section')}"
    return str(words["state"])


def node_control(data: str | None, hint: str) -> Path:
    """Where the node on this machine is asked. Raises :class:`Unreachable` where none answers, with a ``hint``."""
    if data is not None:
        return control_of(Path(data).expanduser())
    for path in node_sockets(os.environ):
        if listens(path):
            return path
    raise Unreachable(f"no node of yours runs on this machine; {hint}")
