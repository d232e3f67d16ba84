"""``p2pcpn blob``: files of any size that the swarm keeps, sealed."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from p2pcpn.cli.failures import FAILED, Ended, say
from p2pcpn.cli.options import Duration, json_option, swarm_options, where
from p2pcpn.cli.printing import duration, print_json, print_table, size
from p2pcpn.cli.progress import BytesProgress
from p2pcpn.errors import StoreError, UsageError

if TYPE_CHECKING:
    from p2pcpn.client.blobs import Listing, Placed
    from p2pcpn.client.connection import Meeting


@click.group()
def blob() -> None:
    """Files of any size that peers keep, sealed.

    NAME is what p2pcpn blob put printed. Whoever has it can read the blob: it holds the key. Peers that keep a blob see
    neither its bytes nor its file's name.
    """


@blob.command(short_help="Have a file kept; prints its name.")
@click.argument("file", metavar="FILE")
@click.option(
    "--replicas", type=int, default=2, show_default=True, metavar="R", help="On how many peers each part is kept."
)
@click.option(
    "--retention",
    type=Duration(),
    metavar="TIME",
    help="How long it is kept (7d). Of several puts the one that ends last counts.",
)
@swarm_options
@json_option
def put(
    file: str, replicas: int, retention: float | None, bootstrap: tuple[str, ...], swarm_key: str | None,
    key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Have FILE kept by peers of the swarm (- reads standard input), and print the name that brings it back.

    A put that was cut goes on where it was when it is asked for again.
    """
    from p2pcpn import limits
    from p2pcpn.client.connection import run
    from p2pcpn.client.owner import owner_key

    owner = owner_key(key)
    if file != "-" and not os.access(file, os.R_OK):
        raise UsageError(f"{file}: there is no such file, or it cannot be read")
    kept_s = limits.RETENTION_S if retention is None else retention
    meeting = where(bootstrap, swarm_key)

    async def do() -> Placed:
        from p2pcpn.client.blobs import put_blob
        from p2pcpn.client.capacity import heard
        from p2pcpn.client.connection import joined

        async with joined(meeting, os.environ) as overlay:
            await heard(overlay, 1.0)
            source: Any = sys.stdin.buffer if file == "-" else file
            with BytesProgress(f"put {os.path.basename(file)}", shown=not as_json) as progress:
                return await put_blob(
                    overlay, owner, source, replicas=replicas, retention_s=kept_s, on_progress=progress.update
                )

    placed = run(do())
    if as_json:
        print_json(asdict(placed))
    else:
        click.echo(placed.name)
    if not placed.complete:
        for why in placed.refusals:
            say(why)
        say(f"under-replicated: {placed.replicas} of {placed.wanted} replicas; too few peers here keep blobs")


@blob.command(short_help="Bring it back.")
@click.argument("name", metavar="NAME")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("-o", "--output", metavar="FILE", help="The same as FILE (default: standard output).")
@swarm_options
def get(
    name: str,
    file: str | None,
    output: str | None,
    bootstrap: tuple[str, ...],
    swarm_key: str | None,
    key: str | None,
) -> None:
    """Bring a blob back: into FILE, or to standard output (-).

    What a get that was cut left in FILE.part is not asked for again.
    """
    from p2pcpn.client.blobs import parse_name
    from p2pcpn.client.connection import run

    wanted = parse_name(name)
    if None not in (file, output) and file != output:
        raise UsageError(f"two files are named, {file} and {output}; a blob is brought into one")
    output = file if output is None else output
    if output == "-":
        output = None
    if output is None and sys.stdout.isatty():
        raise UsageError("a blob's bytes are nothing for a terminal; name a file to bring it into")
    meeting = where(bootstrap, swarm_key)

    async def do() -> int:
        from p2pcpn.client.blobs import get_blob, stream_blob
        from p2pcpn.client.capacity import heard
        from p2pcpn.client.connection import joined

        async with joined(meeting, os.environ) as overlay:
            await heard(overlay, 1.0)
            with BytesProgress(f"get {output or ''}".rstrip()) as progress:
                if output is None:
                    return await stream_blob(overlay, wanted, _write_out, on_progress=progress.update)
                return await get_blob(overlay, wanted, output, on_progress=progress.update)

    run(do())
    _write_out(b"")


def _write_out(data: bytes) -> None:
    """To standard output. A reader that went away is no failure: that is told elsewhere."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(f"standard output: {error.strerror or error}") from error


@blob.command(short_help="Have the node on this machine keep it.")
@click.argument("name", metavar="NAME")
def pin(name: str) -> None:
    """Have your node on this machine bring a blob and keep it, whatever its retention says, until unpin."""
    from p2pcpn.client.pinning import pin_blob

    pin_blob(name, os.environ)


@blob.command(short_help="Let that node drop it again.")
@click.argument("name", metavar="NAME")
def unpin(name: str) -> None:
    """Let your node on this machine drop a blob when its retention has ended, or at once where it was kept for you."""
    from p2pcpn.client.pinning import pin_blob

    pin_blob(name, os.environ, pinned=False)


@blob.command(short_help="List yours.")
@swarm_options
@json_option
def ls(bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool) -> None:
    """List your blobs that peers keep, newest first: size, how many replicas answer, when they expire.

    Where your node runs on this machine: also whether it is to keep them (p2pcpn blob pin).
    """
    from p2pcpn.client.blobs import parse_name
    from p2pcpn.client.connection import run
    from p2pcpn.client.owner import owner_key
    from p2pcpn.client.pinning import pinned_here

    found = run(_list(where(bootstrap, swarm_key), owner_key(key)))
    rows = [asdict(each) for each in found.blobs]
    pinned = pinned_here(os.environ)
    for row in rows:
        row["pinned"] = bool(row["name"] and pinned and parse_name(row["name"]).digest in pinned)
    if found.silent or found.unasked:
        all_ = found.asked + found.unasked
        say(f"{found.asked - found.silent} of {all_} peers that keep blobs said what they have; others may have more")
    if as_json:
        print_json(rows)
        return
    now = time.time()
    print_table(
        ("size", "replicas", "expires in", *(() if pinned is None else ("pinned",)), "file", "name"),
        [
            (
                size(row["size_bytes"]), f"{row['replicas']}/{row['wanted']}",
                duration(max(0.0, row["expires_s"] - now)),
                *(() if pinned is None else ("here" if row["pinned"] else "",)), row["file"], row["name"],
            )
            for row in rows
        ],
        numeric=("size", "replicas", "expires in"),
        whole=True,  # a name is longer than a line, and part of it is none
    )  # fmt: skip
    if any(not row["replicas"] for row in rows):
        say("a blob with 0 replicas has parts that no peer which answers keeps")
        raise Ended(FAILED)


async def _list(meeting: Meeting, owner: Any) -> Listing:
    from p2pcpn.client.blobs import listing
    from p2pcpn.client.capacity import heard
    from p2pcpn.client.connection import joined

    async with joined(meeting, os.environ) as overlay:
        await heard(overlay, 1.0)
        return await listing(overlay, owner)
