"""``p2pcpn key``: your key, and the keys of those whose jobs your machine runs."""

from __future__ import annotations

import os

import click

from p2pcpn.cli.options import json_option
from p2pcpn.cli.printing import print_facts, print_json, print_table
from p2pcpn.client import keys
from p2pcpn.errors import UsageError


@click.group()
def key() -> None:
    """Your key, which signs your jobs, and the keys you trust.

    Without --key every verb uses the key in your configuration directory; it is made when it is first needed.
    """


@key.command(short_help="Make one.")
@click.argument("file", required=False)
@click.option("--swarm", is_flag=True, help="A swarm's key instead of an owner's; without FILE it is printed.")
@json_option
def new(file: str | None, swarm: bool, as_json: bool) -> None:
    """Make an owner's key in FILE, or your own where you have none."""
    if swarm:
        if file is not None and os.path.lexists(file):
            raise UsageError(f"{file} exists; it is not replaced")
        text = keys.keep_swarm_key(keys.as_path(file)) if file is not None else keys.new_swarm_key_text()
        if as_json:
            print_json({"swarm_key": text, "file": file})
        else:
            click.echo(text if file is None else f"a swarm key is in {file}; whoever has it is a member")
        return
    made = keys.new_owner_key(file, os.environ)
    if as_json:
        print_json({"public_key": made.public, "file": str(made.path)})
    else:
        print_facts({"public key": made.public, "secret key in": made.path})


@key.command(short_help="Show the public half.")
@click.argument("file", required=False)
@json_option
def show(file: str | None, as_json: bool) -> None:
    """Show the public key: what others pass to p2pcpn key trust."""
    found = keys.show_owner_key(file, os.environ)
    if as_json:
        print_json({"public_key": found.public, "file": str(found.path)})
    else:
        print_facts({"public key": found.public, "secret key in": found.path})


@key.command(short_help="Whose jobs p2pcpn node runs here.")
@click.argument("public_key", required=False)
@click.argument("note", nargs=-1)
@click.option("--remove", is_flag=True, help="Trust it no longer.")
@json_option
def trust(public_key: str | None, note: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """Let p2pcpn node on this machine run the jobs of an owner, or list those who may.

    Trust is complete: a job runs with the rights of your user. It holds from the next start of the node on.
    """
    if public_key is None:
        known = keys.trusted_keys(os.environ)
        if as_json:
            print_json([{"public_key": each, "note": words} for each, words in known.items()])
        elif known:
            print_table(("public key", "note"), list(known.items()))
        else:
            click.echo("no keys are trusted; p2pcpn key trust PUBLIC_KEY adds one")
        return
    if remove:
        keys.distrust(public_key, os.environ)
        said = "no longer trusted"
    else:
        said = "trusted" if keys.trust(public_key, " ".join(note), os.environ) else "trusted already"
    if as_json:
        print_json({"public_key": public_key.lower(), "trusted": not remove})
    else:
        click.echo(f"{public_key.lower()} is {said}")
