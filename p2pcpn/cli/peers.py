"""``p2pcpn peers``: who is there, and what they can do."""

from __future__ import annotations

import os
from typing import Any

import click

from p2pcpn.cli.options import Duration, json_option, swarm_options, where
from p2pcpn.cli.printing import number_of, print_json, print_table, size
from p2pcpn.client.capacity import adverts
from p2pcpn.client.connection import run

COLUMNS = ("id", "address", "cores", "free", "load", "memory", "python", "runs", "rtt", "more")
NUMERIC = ("cores", "free", "load", "memory", "rtt")


@click.command()
@swarm_options
@click.option("--wait", "wait_s", type=Duration(), default="1s", metavar="TIME", help="How long to listen (1s).")
@json_option
def peers(bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, wait_s: float, as_json: bool) -> None:
    """List the peers of the swarm, as far as they have been heard of.

    Free are the slots that wait for work; load is what other programs use of the machine.
    """
    found = run(adverts(where(bootstrap, swarm_key), os.environ, wait_s))
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, [_row(peer) for peer in found], numeric=NUMERIC)
    click.echo(f"{number_of(len(found), 'peer')}, {sum(peer['slots_free'] for peer in found)} free slots", err=True)


def _row(peer: dict[str, Any]) -> tuple[object, ...]:
    rtt = peer["rtt_ms"]
    more = [f"{each['count']}x {each['kind']} {size(each['memory_bytes'])}" for each in peer["accelerators"]]
    more += [*peer["tags"], *peer["packages"]]
    if peer["draining"]:
        more.insert(0, "draining")
    if "compute" not in peer["roles"]:
        more.insert(0, "no compute")
    return (
        peer["id"][:8], peer["address"], peer["cores"], f"{peer['slots_free']}/{peer['slots']}",
        f"{peer['load']:.0%}", size(peer["memory_free_bytes"]), peer["python"], " ".join(peer["runtimes"]),
        "" if rtt is None else f"{rtt:.1f} ms", " ".join(more),
    )  # fmt: skip
