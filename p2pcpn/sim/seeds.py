"""Many seeds of one scenario, a process for each core: which of them break a promise, and how each is played again."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial

from p2pcpn.errors import UsageError
from p2pcpn.sim import scenarios
from p2pcpn.sim.report import Report

SEEDS_MAX = 1_000_000


def parse(text: str) -> range:
    """``"7"`` or ``"1-1000"`` as seeds. Raises :class:`UsageError`."""
    first, _, last = text.partition("-")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError:
        raise UsageError(f"seeds are a number or a range such as 1-1000, not {text!r}") from None
    if not 0 < len(seeds) <= SEEDS_MAX:
        raise UsageError(f"seeds are 1 to {SEEDS_MAX} in number, and go upwards; {text!r} does not")
    return seeds


def play(
    name: str,
    seeds: Sequence[int],
    *,
    peers: int = 50,
    processes: int | None = None,
    found: Callable[[Report], None] = lambda report: None,
) -> list[Report]:
    """Play all ``seeds``, ``processes`` at a time, one a core by default; ``found`` is told each report as it comes.

    Returns the reports of the seeds that broke a promise, in the order of the seeds. Raises :class:`UsageError` as
    :func:`p2pcpn.sim.scenarios.run` does.
    """
    scenarios.check(name, peers)
    bad: list[Report] = []
    waiting = iter(seeds)
    count = processes or len(os.sched_getaffinity(0))
    # A fresh interpreter for each process: what this program has loaded or locked is none of theirs.
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        begin = partial(_begin, pool, name, peers)
        try:
            with _deaf():
                running: set[Future[Report]] = {begin(seed) for _, seed in zip(range(2 * count), waiting, strict=False)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    report = future.result()
                    found(report)
                    if not report.ok:
                        bad.append(report)
                    running |= {begin(seed) for _, seed in zip(range(1), waiting, strict=False)}
        except BaseException:
            with _deaf():  # Ctrl-C pressed twice is told of again behind this
                pool.shutdown(wait=False, cancel_futures=True)
                for process in set(multiprocessing.active_children()) - others:  # a seed may take a minute
                    process.terminate()
            raise
    return sorted(bad, key=lambda report: report.seed)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that start meanwhile never hear of Ctrl-C, which is for this one: it ends them without a word."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(pool: ProcessPoolExecutor, name: str, peers: int, seed: int) -> Future[Report]:
    return pool.submit(scenarios.run, name, peers=peers, seed=seed)
