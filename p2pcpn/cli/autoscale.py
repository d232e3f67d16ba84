"""``p2pcpn autoscale``: commands of yours start peers while tasks queue in the swarm, and drain those that idle."""

from __future__ import annotations

import click

from p2pcpn.cli.drain import node_control
from p2pcpn.cli.options import Duration
from p2pcpn.client.hooks import watch
from p2pcpn.errors import UsageError


@click.command()
@click.option("--up", required=True, metavar="CMD", help="Starts $P2PCPN_ADD peers, so that there are $P2PCPN_WANTED.")
@click.option("--down", required=True, metavar="CMD", help="Drains the peers $P2PCPN_DRAIN (ids), or others.")
@click.option("--min", "least", type=int, default=1, show_default=True, metavar="N", help="Peers there always are.")
@click.option("--max", "most", type=int, required=True, metavar="N", help="Peers there are at most.")
@click.option(
    "--idle", "idle_s", type=Duration(), default="5m", metavar="TIME", help="Not needed for so long: it goes (5m)."
)
@click.option("--coming", "coming_s", type=Duration(), default="3m", metavar="TIME",
              help="How long a peer may take to come (3m).")  # fmt: skip
@click.option("--data", metavar="DIR", help="The data directory of the node that is asked (the usual one).")
def autoscale(up: str, down: str, least: int, most: int, idle_s: float, coming_s: float, data: str | None) -> None:
    """Watch the swarm of the node on this machine, and run commands that add peers or drain them.

    The node hears what grantors call for, and who idles. CMD is run by the shell, with $P2PCPN_PEERS (there are now),
    $P2PCPN_WANTED (there should be), $P2PCPN_ADD (to start), $P2PCPN_DRAIN and $P2PCPN_DRAIN_ADDRESSES (idle peers that
    may go; p2pcpn drain on their machines lets them leave without a loss). It goes on until Ctrl-C.
    """
    if not 0 <= least <= most or not most:
        raise UsageError(f"--min is 0 or more and --max 1 or more, and no less than --min: not {least} and {most}")
    control = node_control(data, "p2pcpn node starts one, which hears what the swarm needs; --data names its folder")
    watch(control, (up, down), (least, most, idle_s), coming_s, click.echo)
