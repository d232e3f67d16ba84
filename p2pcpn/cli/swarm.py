"""``p2pcpn swarm``: a local swarm that stays until it is told to go, to try things on."""

from __future__ import annotations

import os

import click

from p2pcpn.cli.drain import progress_words
from p2pcpn.cli.options import Duration, json_option, where
from p2pcpn.cli.printing import duration, number_of, print_json, print_table
from p2pcpn.cli.progress import Words
from p2pcpn.client import detached_swarm
from p2pcpn.client.departing import left_behind
from p2pcpn.client.detached_swarm import LocalSwarm


@click.group()
def swarm() -> None:
    """A swarm of real peers on this machine, to try things on.

    The other verbs find it by themselves where no p2pcpn node runs. It listens on the loopback only.
    """


@swarm.command(short_help="Start it.")
@click.argument("words", nargs=-1, metavar="")
@click.option("--peers", "-n", default=4, show_default=True, metavar="N", help="How many peers.")
@click.option("--cpus", default=1, show_default=True, metavar="N", help="Tasks at a time on each peer.")
@click.option("--peers-max", type=int, metavar="N", help="Add peers up to so many while tasks queue.")
@click.option("--idle", "idle_s", type=Duration(), default="30s", metavar="TIME",
              help="With --peers-max: drain those that were not needed for so long (30s).")  # fmt: skip
@json_option
def up(
    words: tuple[str, ...], peers: int, cpus: int, peers_max: int | None, idle_s: float, as_json: bool
) -> None:  # fmt: skip
    """Start a local swarm in the background."""
    if words:  # as p2pcpn swarm add takes it
        raise click.UsageError(f"got unexpected extra argument ({words[0]}); how many peers says --peers {words[0]}")
    started = detached_swarm.up(peers, cpus, os.environ, peers_max=peers_max, idle_s=idle_s)
    if as_json:
        print_json(_document(started))
        return
    click.echo(f"{number_of(len(started.peers), 'peer')} up at {_addresses(started)}")
    click.echo(f"swarm key {started.swarm_key}")
    if started.scale is not None:
        click.echo(_scaled(started.scale))
    click.echo(_found(started))


@swarm.command(short_help="End it; results that lie on it are gone.")
@json_option
def down(as_json: bool) -> None:
    """End the local swarm's peers and remove their data, kept results included."""
    ended = detached_swarm.down(os.environ)
    if as_json:
        print_json({"ended": ended})
    else:
        click.echo(f"{number_of(ended, 'peer')} ended" if ended else "no local swarm runs")


@swarm.command(short_help="Who of it lives, and what they do.")
@json_option
def status(as_json: bool) -> None:
    """Show the local swarm's peers."""
    found = detached_swarm.running(os.environ)
    if as_json:
        print_json(_document(found))
        return
    rows = []
    for peer in found.peers:
        said = peer.status()
        if said is None:
            lives = peer.lives()
            rows.append(
                (
                    peer.n,
                    peer.id[:8],
                    peer.address,
                    peer.pid if lives else "",
                    "silent" if lives else "dead",
                    "",
                    "",
                    "",
                )
            )
        else:
            rows.append(
                (
                    peer.n,
                    peer.id[:8],
                    peer.address,
                    said["pid"],
                    "draining" if said["draining"] else "alive",
                    duration(said["uptime_s"]),
                    f"{said['running']}/{said['slots']}",
                    said["queued"],
                )
            )
    if found.scale is not None:
        click.echo(_scaled(found.scale), err=True)
    print_table(("n", "id", "address", "pid", "state", "up", "running", "queued"), rows, numeric=("n", "pid", "queued"))


@swarm.command(short_help="Start N more peers.")
@click.argument("n", type=int, default=1)
@json_option
def add(n: int, as_json: bool) -> None:
    """Start N more peers in the local swarm (default 1)."""
    started = detached_swarm.add(n, os.environ)
    if as_json:
        print_json([_peer(peer) for peer in started])
    else:
        for peer in started:
            click.echo(f"peer {peer.n} ({peer.id[:8]}) up at {peer.address}")


@swarm.command(short_help="Let peer N finish, hand over, and leave.")
@click.argument("n", type=int)
@click.option("--timeout", "timeout_s", type=Duration(), default="10m", metavar="TIME",
              help="How long its tasks may run on; then they go back, to run elsewhere (10m).")  # fmt: skip
@json_option
def drain(n: int, timeout_s: float, as_json: bool) -> None:
    """Let peer N of the local swarm finish what it runs, hand on what it keeps, and leave."""
    with Words(f"drain peer {n}", shown=not as_json) as progress:
        behind = detached_swarm.drain(n, os.environ, timeout_s, lambda words: progress.update(progress_words(words)))
    if as_json:
        print_json({"n": n, "behind": behind})
    else:
        click.echo(f"peer {n} has left" + (f"; {left_behind(behind)}" if behind else ""))


@swarm.command(short_help="Kill peer N, as if its machine lost power.")
@click.argument("n", type=int)
@json_option
def kill(n: int, as_json: bool) -> None:
    """Kill peer N of the local swarm with SIGKILL, as if its machine lost power."""
    killed = detached_swarm.kill(n, os.environ)
    if as_json:
        print_json(_peer(killed))
    else:
        click.echo(f"peer {killed.n} ({killed.id[:8]}) is dead")


def _found(started: LocalSwarm) -> str:
    """How other verbs reach it: by themselves, unless something else is found first."""
    named = where((), None)
    if set(named.bootstrap) & set(started.bootstrap):
        return "now p2pcpn submit, p2pcpn peers, p2pcpn job find them; p2pcpn swarm down ends them"
    return (
        f"p2pcpn submit, p2pcpn peers, p2pcpn job find {named.source} first; to them lead "
        f"--bootstrap {started.bootstrap[0]} --swarm-key {started.swarm_key}; p2pcpn swarm down ends them"
    )


def _scaled(scale: tuple[int, int, float]) -> str:
    least, most, idle_s = scale
    return f"{least} to {most} peers: more while tasks queue, fewer after {duration(idle_s)} without"


def _addresses(started: LocalSwarm) -> str:
    shown = started.bootstrap[:4]
    return ", ".join(shown) + (" …" if len(started.peers) > len(shown) else "")


def _document(found: LocalSwarm) -> dict[str, object]:
    return {
        "bootstrap": found.bootstrap,
        "swarm_key": found.swarm_key,
        "scale": found.scale,
        "peers": [_peer(peer) | {"status": peer.status()} for peer in found.peers],
    }


def _peer(peer: detached_swarm.LocalPeer) -> dict[str, object]:
    return {"n": peer.n, "id": peer.id, "address": peer.address, "pid": peer.pid, "data_dir": peer.data_dir}
