"""``p2pcpn submit``: a script or a function of a file, run on the swarm."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from p2pcpn.cli.failures import DONE, FAILED, INTERRUPTED, TIMED_OUT, Ended, say
from p2pcpn.cli.options import Duration, json_option, swarm_options, timeout_option, where
from p2pcpn.cli.plain import plain
from p2pcpn.cli.printing import number_of, print_failures, print_json
from p2pcpn.cli.progress import Progress
from p2pcpn.config import RUNTIMES
from p2pcpn.limits import GRANTOR_PEERS, STEWARDS

if TYPE_CHECKING:
    from p2pcpn.client.attended import Attended, Ending
    from p2pcpn.client.submitting import Request

UNWANTED_S = 3.0
FORSAKEN_S = 8.0


@click.command()
@click.argument("target", metavar="FILE[:FUNCTION]")
@click.argument("arguments", nargs=-1, metavar="[ARGS]...", type=click.UNPROCESSED)
@click.option(
    "--map", "lines", metavar="LINES_FILE", help="A task for each line: FUNCTION(line, ARGS...); - reads stdin."
)
@click.option(
    "--input", "inputs", metavar="FILE", multiple=True,
    help="A file that travels. FUNCTION without --map: a task for each, FUNCTION(name, ARGS...).",
)  # fmt: skip
@click.option("--wait/--detach", "wait", default=True, help="Wait and show the results, or print the job's id and go.")
@timeout_option
@click.option(
    "--replicas", type=int, default=2, show_default=True, metavar="R", help="On how many peers results are kept."
)
@click.option("--max-workers", type=int, metavar="N", help="At most so many tasks at a time.")
@click.option("--runtime", type=click.Choice(RUNTIMES), default="function", help="How the tasks are run.")
@click.option(
    "--orchestration",
    type=click.Choice(["hybrid", "distributed", "centralised"]),
    default="hybrid",
    help="Who grants leases.",
)
@click.option("--routing", type=click.Choice(["nearest_idle"]), default="nearest_idle", help="Who is granted first.")
@click.option("--retention", type=Duration(), metavar="TIME", help="How long results are kept (7d).")
@click.option("--priority", type=int, default=0, metavar="N", help="Among your own jobs: -10 (last) to 10 (first).")
@click.option("--deadline", type=Duration(), metavar="TIME", help="What has not ended by then fails.")
@click.option("--ttl", type=Duration(), metavar="TIME", help="How long the job stays open without a new task.")
@click.option("--requires", metavar="PACKAGE", multiple=True, help="A package the peer must have, beside those found.")
@click.option(
    "--divide-at", type=int, default=GRANTOR_PEERS, metavar="PEERS", show_default=True,
    help="So many peers take part in a hybrid job: its stewards grant, too.",
)  # fmt: skip
@click.option(
    "--stewards", type=int, default=STEWARDS, metavar="N", show_default=True,
    help="How many peers keep the job, and grant it where one is too few: each serves 512 peers at a time.",
)  # fmt: skip
@click.option("--hedge/--no-hedge", default=True, help="Whether the slowest tasks may run twice at a time (they may).")
@click.option("--name", metavar="TEXT", help="What the job is called in listings.")
@swarm_options
@json_option
def submit(
    target: str, arguments: tuple[str, ...], lines: str | None, inputs: tuple[str, ...], wait: bool,
    timeout: float | None, replicas: int, max_workers: int | None, runtime: str, orchestration: str, routing: str,
    retention: float | None, priority: int, deadline: float | None, ttl: float | None, requires: tuple[str, ...],
    divide_at: int, stewards: int, hedge: bool, name: str | None, bootstrap: tuple[str, ...], swarm_key: str | None,
    key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run a script, or a function of a file, on the swarm.

    \b
      p2pcpn submit script.py a b              the whole script, one task
      p2pcpn submit file.py:f a b              f("a", "b")
      p2pcpn submit file.py:f --map lines.txt  f(line) for each line
      p2pcpn submit file.py:f --input x.csv    f("x.csv") with the file at hand

    Input files are read-only where a task runs. What it leaves in the folder out/ there is brought by
    p2pcpn job result ID --output DIR.

    What tasks print is shown as it comes, results when all have ended, in the order of the tasks; exit code 1 when one
    failed. Options stand before FILE or behind it; what follows -- belongs to the script.
    """
    from p2pcpn.client.calls import calls_of, read_lines
    from p2pcpn.client.connection import run
    from p2pcpn.client.submission import Options
    from p2pcpn.client.submitting import Request

    settings: dict[str, Any] = {"retention_s": retention} if retention is not None else {}
    calls = calls_of(target, arguments, read_lines(lines) if lines is not None else None, inputs)
    options = Options(
        name=name or calls.name, runtime=runtime, orchestration=orchestration, routing=routing, replicas=replicas,
        max_workers=max_workers, requires=requires, render=True, priority=priority, deadline_s=deadline, ttl_s=ttl,
        divide_at=divide_at, stewards=stewards, hedge=hedge, **settings,
    )  # fmt: skip
    request = Request(calls, options, where(bootstrap, swarm_key), key)
    if wait:
        raise Ended(run(_attend(request, timeout, as_json)))
    job = run(request.detached(os.environ))
    if as_json:
        print_json({"job": job, "tasks": len(calls.arguments)})
    else:
        click.echo(job)
    sys.stdout.flush()


async def _attend(request: Request, timeout: float | None, as_json: bool) -> int:
    total = len(request.calls.arguments)
    job, endings = None, []
    closed: BrokenPipeError | None = None  # whoever read what tasks print went away, as head does
    attending = asyncio.current_task()

    def printed(_: int, stream: int, data: bytes) -> None:
        nonlocal closed
        try:
            if closed is None:
                progress.printed(stream, data)
        except BrokenPipeError as error:
            closed = error
            assert attending is not None
            attending.cancel()

    try:
        with Progress(request.options.name, total, shown=not as_json) as progress:
            async with request.attended(os.environ) as job:
                job.on_printed = None if as_json else printed
                job.on_progress = lambda done, failed, running: progress.update(
                    done, total, failed=failed, note=f"{running} running" if running else ""
                )
                telling = asyncio.create_task(_tell_why(job, progress))
                try:
                    in_time = await job.finished(timeout)
                finally:
                    telling.cancel()
                    endings = job.endings  # before what has not ended is cancelled
    except asyncio.CancelledError:  # Ctrl-C, or a closed pipe
        if job is None:
            raise
        shown = f"; p2pcpn job result {job.id} shows what ended" if endings else ""
        why = "interrupted" if closed is None else "nobody reads on"
        say(f"{why}: {len(endings)} of {number_of(total, 'task')} ended; the job was cancelled{shown}")
        if closed is not None:
            raise closed from None
        return INTERRUPTED
    if as_json:
        print_json({"job": job.id, "tasks": total, "results": [asdict(ending) for ending in endings]})
    else:
        _show(endings, show_results=not request.calls.is_script)
    if not in_time:
        say(f"{len(endings)} of {number_of(total, 'task')} ended in {timeout:g} s; the job was cancelled")
        return TIMED_OUT
    return DONE if all(ending.ok for ending in endings) else FAILED


async def _tell_why(job: Attended, progress: Progress) -> None:
    """A job that nobody begins with, or that everybody left, needs a word of why. Each is said once."""
    reasons = await job.unwanted(UNWANTED_S)
    if reasons:
        said = "; ".join(f"{text} ({number_of(count, 'peer')})" for text, count in reasons.items())
        progress.say(f"no peer has begun with it: {said}")
    await job.forsaken(FORSAKEN_S)
    progress.say("no peer answers any more; the job waits for one to come back (Ctrl-C ends it)")


def _show(endings: Sequence[Ending], *, show_results: bool) -> None:
    failed = [ending for ending in endings if not ending.ok]
    results = [ending.text for ending in endings if ending.ok]
    if show_results and any(text != "None" for text in results):  # functions that return nothing have printed
        for text in results:
            click.echo(plain(text))
    if failed and failed[0].traceback:
        click.echo(plain(failed[0].traceback.rstrip()), err=True)
    print_failures((ending.index, ending.text) for ending in failed)
