"""``p2pcpn job``: your jobs, from whichever peers keep them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from p2pcpn.cli.failures import DONE, FAILED, INTERRUPTED, Ended, say
from p2pcpn.cli.options import json_option, swarm_options, timeout_option, where
from p2pcpn.cli.plain import plain
from p2pcpn.cli.printing import duration, number_of, print_facts, print_failures, print_json, print_table
from p2pcpn.cli.progress import Progress

if TYPE_CHECKING:
    from p2pcpn.client.attended import Ending
    from p2pcpn.client.kept import KeptJob

T = TypeVar("T")
id_argument = click.argument("id_", metavar="ID")


@click.group()
def job() -> None:
    """Your jobs, read from whichever peers keep them.

    ID is what p2pcpn submit printed; the first digits do for a job submitted from this machine.
    """


@job.command(short_help="List them.")
@swarm_options
@json_option
def ls(bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool) -> None:
    """List the owner's jobs, newest first: those that peers keep, and those submitted here that no peer knows now."""
    from p2pcpn.client.connection import run
    from p2pcpn.client.kept import all_jobs

    rows = run(all_jobs(where(bootstrap, swarm_key), key, os.environ))
    if as_json:
        print_json(rows)
        return
    now = time.time()
    print_table(
        ("id", "state", "done", "age", "name"),
        [
            (
                row["id"],
                row["state"],
                f"{'?' if row['settled'] is None else row['settled']}/{row['tasks']}",
                duration(max(0.0, now - row["created_s"])),
                row["name"],
            )
            for row in rows
        ],
        numeric=("done", "age"),
    )


@job.command(short_help="How far it is, who grants it, who keeps it.")
@id_argument
@swarm_options
@json_option
def show(id_: str, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool) -> None:
    """Show how far a job is, who grants its leases and who keeps it."""

    async def look(found: KeptJob) -> dict[str, Any]:
        return await found.standing()

    state = _with(id_, bootstrap, swarm_key, key, look)
    if as_json:
        print_json(state)
        return
    total = state["tasks"] if state["closed"] else f"{state['tasks']} so far"
    print_facts(
        {
            "job": state["id"],
            "name": state["name"] or None,
            "state": state["state"],
            "tasks": f"{total}: {state['settled']} settled, {state['running']} running, {state['waiting']} waiting",
            "submitted": f"{duration(max(0.0, time.time() - state['created_s']))} ago, kept for "
            f"{duration(state['retention_s'])}",
            "orchestration": f"{state['orchestration']}, {state['routing']}, {number_of(state['replicas'], 'replica')}",
            "priority": state["priority"] or None,
            "deadline": _deadline(state),
            "time to live": None if state["ttl_s"] is None else f"{duration(state['ttl_s'])} without a new task",
            "needs": ", ".join([f"Python {state['python']}", *state["requires"]]),
            "stewards": _places(state["stewards"]),
            "holders": _places(state["holders"]) or "none yet",
            "conflicts": state["conflicts"] or None,
        }
    )


@job.command(short_help="Wait for its end.")
@id_argument
@timeout_option
@swarm_options
@json_option
def wait(
    id_: str, timeout: float | None, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool
) -> None:
    """Wait until a job has ended. Exit code 0 when all went well, 1 when a task failed, 4 after --timeout."""
    endings, cancelled = _follow(id_, timeout, bootstrap, swarm_key, key, as_json, None)
    failed = sum(not ending.ok for ending in endings)
    if as_json:
        print_json({"job": id_, "settled": len(endings), "failed": failed, "cancelled": cancelled})
    else:
        click.echo(f"{number_of(len(endings), 'task')} ended" + (f", {failed} failed" if failed else ""))
    raise Ended(_end(endings, cancelled))


@job.command(short_help="Its results, in order.")
@id_argument
@timeout_option
@click.option("--output", metavar="DIR", help="Save output files of task N in DIR/N, and each result's pickle.")
@swarm_options
@json_option
def result(
    id_: str, timeout: float | None, output: str | None, bootstrap: tuple[str, ...], swarm_key: str | None,
    key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Wait for a job's end and print its results in the order of the tasks, as the workers rendered them.

    Nothing is unpickled. Exit code 1 when a task failed, 4 after --timeout.
    """
    endings, cancelled = _follow(id_, timeout, bootstrap, swarm_key, key, as_json, output)
    if as_json:
        print_json({"job": id_, "cancelled": cancelled, "results": [asdict(ending) for ending in endings]})
    else:
        for ending in endings:
            if ending.ok:
                click.echo(plain(ending.text))
        print_failures((ending.index, ending.text) for ending in endings if not ending.ok)
    raise Ended(_end(endings, cancelled))


@job.command(short_help="What its tasks printed.")
@id_argument
@click.option("--task", type=int, metavar="N", help="Of one task only.")
@swarm_options
@json_option
def logs(
    id_: str, task: int | None, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool
) -> None:
    """Print what the tasks that have ended printed, by task: stdout to stdout, stderr to stderr."""

    async def look(found: KeptJob) -> list[tuple[int, int, bytes]]:
        await found.standing()
        return found.prints()

    prints = [line for line in _with(id_, bootstrap, swarm_key, key, look) if task is None or line[0] == task]
    if as_json:
        print_json(
            [
                {
                    "index": index,
                    "stream": "stdout" if stream == 1 else "stderr",
                    "text": data.decode("utf-8", "replace"),
                }
                for index, stream, data in prints
            ]
        )
        return
    for _, stream, data in prints:
        to = sys.stdout if stream == 1 else sys.stderr
        to.buffer.write(data)
        to.flush()


@job.command(short_help="End it.")
@id_argument
@swarm_options
@json_option
def cancel(id_: str, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool) -> None:
    """End a job: what has not run never will, what runs is stopped; results so far are kept."""
    from p2pcpn.client.ending import cancel_kept

    async def end(found: KeptJob) -> tuple[str, int]:
        return found.state, await cancel_kept(found.reader)

    state, told = _with(id_, bootstrap, swarm_key, key, end)
    if as_json:
        print_json({"job": id_, "stewards_told": told})
    else:
        click.echo(_noted("cancelled", told, state))


@job.command(short_help="Have it wait.")
@id_argument
@swarm_options
@json_option
def pause(id_: str, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool) -> None:
    """Have a job wait: what runs may end, nothing else begins until p2pcpn job resume. Deadlines go on."""
    _pause(id_, bootstrap, swarm_key, key, as_json, paused=True)


@job.command(short_help="Let it go on.")
@id_argument
@click.option("--here", is_flag=True, help="Grant it from this machine until it has ended.")
@timeout_option
@swarm_options
@json_option
def resume(
    id_: str, here: bool, timeout: float | None, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Let a job go on that was paused.

    With --here this machine grants it, whoever did before: for a job whose submitter is gone and that nobody takes
    over, as it is with --orchestration centralised. Any machine with the owner's key may. Exit code 0 when all went
    well, 1 when a task failed, 4 after --timeout.
    """
    if not here:
        _pause(id_, bootstrap, swarm_key, key, as_json, paused=False)
        return
    endings, cancelled = _follow(id_, timeout, bootstrap, swarm_key, key, as_json, None, resumed=True)
    failed = sum(not ending.ok for ending in endings)
    if as_json:
        print_json({"job": id_, "settled": len(endings), "failed": failed, "cancelled": cancelled})
    else:
        click.echo(f"{number_of(len(endings), 'task')} ended" + (f", {failed} failed" if failed else ""))
    raise Ended(_end(endings, cancelled))


def _pause(
    id_: str, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool, *, paused: bool
) -> None:
    from p2pcpn.client.pausing import pause_kept

    async def say_so(found: KeptJob) -> tuple[str, int]:
        return found.state, await pause_kept(found.reader, paused=paused)

    state, told = _with(id_, bootstrap, swarm_key, key, say_so)
    if as_json:
        print_json({"job": id_, "paused": paused, "stewards_told": told})
    else:
        click.echo(_noted("paused" if paused else "goes on", told, state))


def _noted(order: str, told: int, state: str) -> str:
    """The answer to an order that was given to a job in ``state``."""
    from p2pcpn.client.standing import OVER

    was_over = f", but the job was over already: {state}" if state in OVER else ""
    return f"{order}; {number_of(told, 'steward')} noted it{was_over}"


@job.command(short_help="Why peers run it, or do not.")
@id_argument
@swarm_options
@json_option
def explain(id_: str, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool) -> None:
    """Ask peers why they run a job or do not: how many say what, and each one's signed reason."""

    from p2pcpn.client.standing import OVER

    async def ask(found: KeptJob) -> tuple[dict[str, Any], list[dict[str, str]]]:
        state = await found.standing()
        # Of one that is over peers know no more than that whoever offered it is gone.
        return state, [] if state["state"] in OVER else await found.explain()

    state, reasons = _with(id_, bootstrap, swarm_key, key, ask)
    counts: dict[str, int] = {}
    for row in reasons:
        counts[row["code"]] = counts.get(row["code"], 0) + 1
    if as_json:
        print_json({"job": state["id"], "state": state["state"], "counts": counts, "peers": reasons})
        return
    click.echo(f"{state['state']}: {state['settled']} of {state['tasks']} settled, {state['running']} running")
    if state["state"] in OVER:
        click.echo("it is over: no peer has a reason to run it")
        return
    said = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
    click.echo(f"{number_of(len(reasons), 'peer')} asked: {said or 'nobody answered'}\n")
    if reasons:
        print_table(("peer", "says", "because"), [(row["peer"][:8], row["code"], row["text"]) for row in reasons])
    for each in state["shut_out"]:
        again = f"asked again in {duration(each['left_s'])}" if each["left_s"] else "asked again with one task"
        click.echo(f"shut out: {each['peer'][:8]} failed {each['failures']} times in a row, {each['text']}; {again}")


# --- Shared -----------------------------------------------------------------------------------------------------------


def _with(
    id_: str, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, act: Callable[[KeptJob], Awaitable[T]]
) -> T:
    from p2pcpn.client.connection import run
    from p2pcpn.client.kept import asked, kept_job

    question = asked(id_, key, os.environ)  # a mistake in it is told before a peer is looked for
    meeting = where(bootstrap, swarm_key)

    async def do() -> T:
        async with kept_job(meeting, question, os.environ) as found:
            return await act(found)

    return run(do())


def _follow(
    id_: str, timeout: float | None, bootstrap: tuple[str, ...], swarm_key: str | None, key: str | None, as_json: bool,
    output: str | None, *, resumed: bool = False,
) -> tuple[list[Ending], bool]:  # fmt: skip
    with Progress(f"job {id_[:8]}", None, shown=not as_json) as progress:

        async def look(found: KeptJob) -> tuple[list[Ending], bool]:
            try:
                if resumed:
                    await found.resume()
                endings = await found.follow(
                    timeout, lambda settled, total, failed: progress.update(settled, total, failed=failed)
                )
            except TimeoutError:
                known, total = len(found.reader.results), found.reader.total
                raise TimeoutError(
                    f"{known} of {'?' if total is None else total} tasks had ended after {timeout:g} s; the job goes on"
                ) from None
            if output is not None:
                count = await found.save(Path(output))
                say(f"{number_of(count, 'pickle')} in {output}")
            return endings, found.reader.cancelled and not found.reader.complete

        try:
            return _with(id_, bootstrap, swarm_key, key, look)
        except KeyboardInterrupt:
            if resumed:  # who grants it is gone with us
                raise
            say("interrupted; the job goes on")
            raise Ended(INTERRUPTED) from None


def _end(endings: list[Ending], cancelled: bool) -> int:
    if cancelled:
        say("the job was cancelled")
        return FAILED
    return DONE if all(ending.ok for ending in endings) else FAILED


def _deadline(state: dict[str, Any]) -> str | None:
    if state["deadline_s"] is None:
        return None
    left_s = state["created_s"] + state["deadline_s"] - time.time()
    return f"{duration(state['deadline_s'])}: " + (f"{duration(left_s)} left" if left_s > 0 else "passed")


def _places(contacts: list[dict[str, str]]) -> list[str]:
    return [f"{each['id'][:8]} at {each['address']}" for each in contacts]
