"""The verbs in their groups. A verb's module is loaded when the verb is called, so that every other costs nothing."""

from __future__ import annotations

from importlib import import_module

import click
from click.exceptions import NoSuchCommand

from p2pcpn.cli.version import version

# Group, then (verb, where it is, one line of help).
SECTIONS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "See it",
        (
            ("demo", "p2pcpn.cli.demo.verb:demo", "a local swarm does a real job and shows it"),
            ("sim", "p2pcpn.cli.sim:sim", "the same protocol in a simulated swarm"),
            ("history", "p2pcpn.cli.history:history", "what peers noted of jobs, judged: check"),
            ("bench", "p2pcpn.cli.bench:bench", "measured beside process pools, Ray, dask, Parsl"),
        ),
    ),
    (
        "Take part",
        (
            ("node", "p2pcpn.cli.node:node", "run a peer on this machine"),
            ("drain", "p2pcpn.cli.drain:drain_verb", "let the node here finish, hand over, and leave"),
            ("autoscale", "p2pcpn.cli.autoscale:autoscale", "your commands start and drain peers as tasks queue"),
            ("swarm", "p2pcpn.cli.swarm:swarm", "a local swarm to try things on: up, down, status, add, drain, kill"),
            ("peers", "p2pcpn.cli.peers:peers", "who is there, and what they can do"),
            ("key", "p2pcpn.cli.key:key", "your key and the keys you trust: new, show, trust"),
        ),
    ),
    (
        "Keep",
        (("blob", "p2pcpn.cli.blob:blob", "files of any size that the swarm keeps: put, get, ls, pin, unpin"),),
    ),
    (
        "Compute",
        (
            ("submit", "p2pcpn.cli.submit:submit", "run a script or a function on the swarm"),
            ("job", "p2pcpn.cli.job:job", "jobs: ls, show, wait, logs, result, pause, resume, cancel, explain"),
        ),
    ),
)
VERB_WIDTH = max(len(verb) for _, verbs in SECTIONS for verb, _, _ in verbs)


class Verbs(click.Group):
    """A group that knows its verbs' names and one-liners without loading them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb for _, verbs in SECTIONS for verb, _, _ in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for _, verbs in SECTIONS:
            for verb, where, _ in verbs:
                if verb == cmd_name:
                    module, _, name = where.partition(":")
                    found: click.Command = getattr(import_module(module), name)
                    return found
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = str(args[0])
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise NoSuchCommand(name, possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, verbs in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(verb.ljust(VERB_WIDTH), text) for verb, _, text in verbs])
        click.Command.format_options(self, ctx, formatter)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
    epilog="Exit code 0 done, 1 the work failed, 2 usage, 3 no peer reachable, 4 timed out.",
    subcommand_metavar="VERB ...",
)
@click.version_option(version(), message="p2pcpn %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks, and what happens, on stderr.")
@click.pass_context
def p2pcpn(ctx: click.Context, debug: bool) -> None:
    """A swarm that computes: peers find each other, claim work and keep its results, with no coordinator."""
    if debug:
        import logging

        logging.basicConfig(level=logging.DEBUG, format="%(relativeCreated)7.0f %(name)s: %(message)s")
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
