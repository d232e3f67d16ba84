"""``p2pcpn node``: a peer on this machine, in the foreground until it is told to leave."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from p2pcpn.cli.drain import progress_words
from p2pcpn.cli.failures import Ended, say
from p2pcpn.cli.notices import Notices
from p2pcpn.cli.options import json_option
from p2pcpn.cli.printing import number_of, print_json
from p2pcpn.config import ROLES, RUNTIMES, Config, parse_cpus, parse_size

NEW = "new"


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to listen, UDP and TCP (every interface, a free port).")
@click.option(
    "--bootstrap", metavar="HOST:PORT", multiple=True, help="A peer to join; may be repeated ($P2PCPN_BOOTSTRAP)."
)
@click.option(
    "--swarm-key", metavar="KEY",
    help="The swarm's key or a file with it; 'new' makes one and keeps it in the data directory ($P2PCPN_SWARM_KEY).",
)  # fmt: skip
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    help="What to do for others; may be repeated (compute, storage).",
)
@click.option("--cpus", metavar="N|MIN-MAX", help="Tasks at a time (one a core); of a range more while tasks queue.")
@click.option("--memory", metavar="SIZE", help="Memory for all tasks together: 2G.")
@click.option("--accept", type=click.Choice(RUNTIMES), multiple=True, help="A runtime to offer; may be repeated (all).")
@click.option(
    "--trust",
    metavar="PUBLIC_KEY",
    multiple=True,
    help="An owner whose jobs may run, beside those of p2pcpn key trust.",
)
@click.option("--tag", "tags", metavar="WORD", multiple=True, help="A word for the advert; may be repeated.")
@click.option("--data", metavar="DIR", help="Where identity and data are kept.")
@click.option("--history", metavar="DIR", help="Note what this peer does in DIR, for p2pcpn history check.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@json_option
def node(
    listen: str | None, bootstrap: tuple[str, ...], swarm_key: str | None, roles: tuple[str, ...], cpus: str | None,
    memory: str | None, accept: tuple[str, ...], trust: tuple[str, ...], tags: tuple[str, ...], data: str | None,
    history: str | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run a peer: it computes for its swarm, keeps results, and helps others to find each other.

    Without --bootstrap it starts a swarm of its own, for others to join. Without --swarm-key the swarm is open: only
    the jobs of trusted owners run. Ctrl-C, SIGTERM or p2pcpn drain let it finish what it runs, for ten minutes at
    most, and hand on what it keeps; a second Ctrl-C ends it at once.
    """
    from p2pcpn.client import hosting
    from p2pcpn.client.departing import left_behind

    least, most = parse_cpus(cpus) if cpus else (None, None)
    settings: dict[str, Any] = {
        "listen": listen or "", "bootstrap": list(bootstrap), "swarm_key": swarm_key, "trust": trust, "tags": tags,
        "cpus": most, "cpus_min": least, "memory_bytes": parse_size(memory) if memory else None, "data_dir": data,
        "history": history,
    }  # fmt: skip
    if roles:
        settings["roles"] = roles
    if accept:
        settings["accept"] = accept
    hosted = hosting.prepare(settings, os.environ, new_swarm_key=swarm_key == NEW)
    failed: list[str] = []
    behind: dict[str, int] = {}

    def report(words: Mapping[str, Any]) -> None:
        if "failed" in words:
            failed.append(str(words["failed"]))
        elif "left" in words:
            behind.update(words["left"])
        elif as_json:
            print_json(hosted.document(words))
            sys.stdout.flush()
        elif not quiet:
            _greet(hosted.config, words, hosted)

    status = None if quiet or as_json else Status(hosted.config.bootstrap)
    with Notices(errors_only=quiet) as notices:
        code = hosting.host(hosted, report, os.environ, status=status)
    if not quiet and not as_json and not failed:
        line = "left" + (f"; {left_behind(behind)}" if behind else "")
        click.echo(("\n" if sys.stdout.isatty() else "") + line)
    for text in failed:
        if text not in notices:
            say(text)
    raise Ended(code)


def _greet(config: Config, words: Mapping[str, Any], hosted: Any) -> None:
    address = words["address"]
    click.echo(f"peer {words['id'][:8]} at {address} (UDP and TCP), {hosted.slots_words}")
    key = hosted.swarm_key_text
    if key is not None:
        shown = key if hosted.made_key else "KEY"
        click.echo(f"others join with: p2pcpn node --bootstrap {address} --swarm-key {shown}")
    else:
        click.echo(f"others join with: p2pcpn node --bootstrap {address}")
        trusted = len(config.trust)
        names_one = "" if trusted else "; p2pcpn key trust PUBLIC_KEY names one"
        click.echo(f"open swarm: it runs the jobs of {number_of(trusted, 'trusted owner')}{names_one}")
        click.echo(f"owners take its results once they trust its key: {hosted.public_key}")
    if not config.bootstrap:
        click.echo("no --bootstrap: alone until somebody joins")
    sys.stdout.flush()


# A hello is given up after 3.75 s.
SILENCE_S: Final = 5.0


class Status:
    """One line that says how the peer is: kept up to date on a terminal, elsewhere a new line for each change.

    And one, once, where none of the ``bootstrap`` addresses has answered for some seconds.
    """

    def __init__(self, bootstrap: Sequence[str] = ()) -> None:
        self._shown = ""
        self._unanswered = ", ".join(bootstrap)
        self._live = sys.stdout.isatty()

    def __call__(self, words: Mapping[str, Any]) -> None:
        if words["known_peers"]:
            self._unanswered = ""
        elif self._unanswered and words.get("uptime_s", 0.0) >= SILENCE_S:
            if self._live:
                sys.stdout.write("\r\x1b[2K")
                sys.stdout.flush()
                self._shown = ""
            say(
                f"no peer answers at {self._unanswered}: it is asked again and again, at least each two minutes; check "
                "the address and the swarm key"
            )
            self._unanswered = ""
        line = f"{number_of(words['known_peers'], 'peer')} known, {number_of(words['jobs'], 'job')}"
        if self._live:
            line += f", {words['running']} of {words['slots']} slots busy, {words['queued']} tasks queued"
        if words.get("draining") and words.get("drain"):
            line = "draining"
            if self._live:
                line += f": {progress_words(words['drain'])}; Ctrl-C again ends it at once"
        if line == self._shown:
            return
        self._shown = line
        if self._live:
            sys.stdout.write(f"\r\x1b[2K{line}")
        else:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
