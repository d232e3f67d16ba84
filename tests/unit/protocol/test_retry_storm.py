"""A swarm in which many runs fail, and one in which all do: how many runs that costs, and how soon it is over.

Virtual time; the grantor and all its machines are the real ones. A failure is the loss of a peer with what it ran,
which may run again at once where nothing holds it back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from p2pcpn.protocol import backoff, breakers, retry_budget
from p2pcpn.protocol import book as books
from p2pcpn.protocol.retry_budget import BURST, EARNED, FLOOR_PER_S
from p2pcpn.wire.statements import Lease
from tests.unit.protocol.granting import Table, Worker

PEERS = 20
STORM_S = 20.0


@dataclass
class Storm:
    """A job on ``PEERS`` peers of one slot each."""

    tasks: int
    takes_s: float
    step_s: float
    seed: int = 5

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.table = Table(retries=10_000, dice=random.Random(self.seed), hedge=False)
        self.table.extend(*[100] * (self.tasks // 100))
        self.workers = [self.table.worker(10 + number, slots=1) for number in range(PEERS)]
        self.since: dict[int, float] = {}
        self.runs = 0
        self.began = self.table.now

    def play(self, seconds: float, failing: float) -> None:
        """Let ``seconds`` pass, or what the job takes, while so large a share of all runs fails."""
        table, until = self.table, self.table.now + seconds
        while table.now < until and table.grantor.ledger.open:
            for token, held in list(table.grantor.leases.items()):
                if token not in self.since:
                    self.since[token] = table.now
                    self.runs += held.remaining
                if table.now >= self.since[token] + self.takes_s and token in table.grantor.leases:
                    self._over(table.workers[held.peer], token, held.open, fails=self.rng.random() < failing)
            for worker in self.workers:
                if worker.node not in table.grantor.participants:
                    worker.claim()
            table.pass_time(self.step_s)

    def _over(self, worker: Worker, token: int, spans: list[tuple[int, int]], *, fails: bool) -> None:
        if not fails:
            worker.run(Lease(self.table.job, 0, token, worker.node, spans), ran_s=self.takes_s)
            return
        self.table.session_closed(worker.node)
        self.table.peer_dead(worker.node)
        worker.boot += 1

    @property
    def took_s(self) -> float:
        return self.table.now - self.began


def without_back_off(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(books, "BASE_S", 0.0)
    patched.setattr(books, "CAP_S", 0.0)
    patched.setattr(backoff.Backoff, "wait", _at_once)


def _at_once(self: backoff.Backoff, spans: list[tuple[int, int]], failures: int, now: float, **bounds: float) -> None:
    self._enter(now, list(spans))


def without_budget(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(retry_budget, "FLOOR_PER_S", 1e9)


def without_breakers(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(breakers, "FAILURES_MAX", 10**9)


def test_where_30_of_100_runs_fail_the_extra_runs_are_those_that_failed_and_the_job_takes_little_longer() -> None:
    storm = Storm(tasks=500, takes_s=1.0, step_s=0.2)
    storm.play(1000.0, failing=0.3)
    extra, needed = storm.runs - storm.tasks, storm.tasks * 0.3 / 0.7
    ideal_s = storm.tasks * storm.takes_s / 0.7 / PEERS
    print(
        f"30 % of runs fail: {extra} extra runs of {needed:.0f} needed, {storm.took_s:.0f} s of {ideal_s:.0f} s ideal"
    )
    assert sorted(storm.table.delivered) == list(range(storm.tasks))
    assert 0.8 * needed <= extra <= 1.2 * needed
    assert extra <= BURST + FLOOR_PER_S * storm.took_s + EARNED * storm.tasks
    assert storm.took_s <= 1.35 * ideal_s


def test_where_every_run_fails_the_swarm_does_not_melt_and_goes_on_when_they_succeed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: dict[str, int] = {}
    guards = {"back-off": without_back_off, "budget": without_budget, "breakers": without_breakers}
    for kept in ((), ("back-off",), ("back-off", "budget"), ("back-off", "budget", "breakers")):
        with monkeypatch.context() as patched:
            for name, take_away in guards.items():
                if name not in kept:
                    take_away(patched)
            storm = Storm(tasks=300, takes_s=0.0, step_s=0.1)
            storm.play(STORM_S, failing=1.0)
            runs[" + ".join(kept) or "nothing"] = storm.runs
    print(f"all runs fail for {STORM_S:.0f} s; runs by what holds them back: {runs}")
    nothing, waiting, bounded, everything = runs.values()
    assert nothing > waiting > bounded > everything
    assert bounded <= 300 + BURST + FLOOR_PER_S * STORM_S + 1
    storm.play(120.0, failing=0.0)
    assert sorted(storm.table.delivered) == list(range(300)), "a few always try, and notice at once"
