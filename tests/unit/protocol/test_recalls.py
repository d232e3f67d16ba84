"""Recalls: what has not started goes to who idles, once, uncharged, and nothing that runs is touched."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.recalls import LATE_S
from p2pcpn.wire import messages as m
from p2pcpn.wire.pages import cut, spans_of
from tests.unit.protocol.leased import GRANTOR_AT, STRANGER_AT, Bench, Made, told


class Cutting(Bench):
    """A bench whose runtime cuts batches off where it is asked to, unless the task has ``moved``."""

    moved = False

    def do(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        rest = super().do(effects)
        for effect in [effect for effect in rest if isinstance(effect, fx.CutRun)]:
            rest.remove(effect)
            self.effects.remove(effect)
            rest += self.cut(effect.batch)
        return rest

    def cut(self, number: int) -> list[fx.Effect]:
        run, at = self.runs[number], self.at.get(number)
        end = len(run.arguments) if self.moved else 0 if at is None else at + 1
        if end == 0:
            del self.runs[number]
        elif end < len(run.arguments):
            self.runs[number] = fx.Run(
                run.batch, run.owner, run.code, run.code_key, run.functions, run.numbers, run.arguments[:end],
                run.digest_key, run.output,
            )  # fmt: skip
        return self.do(self.worker.cut(number, end, self.now))


def recall(bench: Bench, made: Made, count: int, sender: Any = GRANTOR_AT) -> list[int]:
    """The grantor wants tasks back; which ones come at once."""
    return back(bench.do(bench.worker.recalled(sender, m.Recall(made.job, count), bench.now)))


def back(effects: list[fx.Effect]) -> list[int]:
    """Indices that are returned."""
    returns = told(effects, m.Return)
    assert all(message.code == "recalled" for message in returns)
    return sorted(index for message in returns for index in cut(message.spans))


def long_first(slots: int = 1, tasks: int = 40, **options: Any) -> tuple[Cutting, Made]:
    """Tasks that were short so far, in batches of some; the first of the running batch takes long."""
    bench = Cutting(slots=slots, **options)
    made = bench.know(Made(), tasks)
    bench.take(made, (0, tasks), slots=slots)
    bench.ran(1, ran_s=0.004)
    return bench, made


def test_what_would_run_last_goes_first() -> None:
    bench = Cutting(slots=1)
    made = bench.know(Made(), 20)
    bench.take(made, (0, 6), slots=1)
    bench.take(made, (10, 4), slots=1)
    assert recall(bench, made, 6) == [4, 5, 10, 11, 12, 13]
    assert bench.worker.queued == 3
    assert back(bench.run_all(ran_s=1.0)) == []
    assert not bench.worker.works[made.job].leases


def test_what_runs_is_not_touched_and_no_more_goes_than_there_is() -> None:
    bench = Cutting(slots=1)
    made = bench.know(Made(), 4)
    bench.take(made, (0, 4), slots=1)
    assert recall(bench, made, 4096) == [1, 2, 3]
    assert recall(bench, made, 4096) == []
    bench.ran(1)
    assert bench.worker.deadline() is None or not bench.worker.works[made.job].running


def test_nothing_goes_to_who_granted_nothing_or_for_a_job_that_is_not_here() -> None:
    bench = Cutting(slots=1)
    made = bench.know(Made(), 4)
    bench.take(made, (0, 4), slots=1)
    assert recall(bench, made, 4, sender=STRANGER_AT) == []
    assert bench.worker.recalled(GRANTOR_AT, m.Recall(bytes(20), 1), bench.now) == []
    assert bench.worker.queued == 3


def test_what_lies_behind_a_long_task_goes_once_that_is_late() -> None:
    bench, made = long_first()
    batches = {number: len(run.arguments) for number, run in bench.runs.items()}
    assert all(size > 1 for size in batches.values()) and len(batches) == 2
    queued = bench.worker.queued
    bench.at.pop(max(bench.runs))  # the second one waits in the same process
    assert len(recall(bench, made, 40)) == queued
    taken = back(bench.wait(2 * LATE_S))
    assert len(taken) == sum(batches.values()) - 1
    assert [len(run.arguments) for run in bench.runs.values()] == [1]
    bench.ran(2)
    assert not bench.worker.works[made.job].leases


def test_a_stranger_who_wants_tasks_back_changes_nothing_of_what_the_grantor_is_owed() -> None:
    bench, made = long_first()
    recall(bench, made, 4096)
    assert recall(bench, made, 1, sender=STRANGER_AT) == []
    assert back(bench.wait(2 * LATE_S))


def test_no_more_is_cut_off_than_was_asked_for() -> None:
    bench, made = long_first()
    queued = bench.worker.queued
    assert len(recall(bench, made, queued + 1)) == queued
    assert len(back(bench.wait(2 * LATE_S))) == 1
    assert bench.worker.queued > 0


def test_a_new_lease_says_that_nothing_is_wanted_back() -> None:
    bench, made = long_first(tasks=41)
    bench.worker.turns.clear(bench.worker.works[made.job])
    assert recall(bench, made, 5) == []
    bench.know(made, 5)
    bench.take(made, (41, 5), slots=1)
    assert back(bench.wait(2 * LATE_S)) == []


def test_a_batch_that_moved_on_is_asked_for_again_a_little_later() -> None:
    bench, made = long_first()
    recall(bench, made, 40)
    bench.moved = True
    assert back(bench.wait(LATE_S * 1.5)) == []
    bench.moved = False
    assert back(bench.wait(LATE_S * 2)) != []


def test_what_lies_behind_a_long_task_runs_in_another_process_of_ours_that_idles() -> None:
    bench, _ = long_first(slots=2, tasks=13)
    stuck = min(bench.runs, key=lambda number: -len(bench.runs[number].arguments))
    assert len(bench.runs[stuck].arguments) > 1
    for _ in range(40):
        others = [number for number in bench.runs if number != stuck]
        if others:
            bench.ran(others[0], ran_s=0.001)
        else:
            bench.wait(LATE_S / 2)
        if not others and len(bench.runs) == 1 and len(bench.runs[stuck].arguments) == 1:
            break
    assert [len(run.arguments) for run in bench.runs.values()] == [1]
    bench.ran(stuck)
    assert bench.worker.completed == 13 and not told(bench.effects, m.Return)


def test_revoked_tasks_behind_a_cut_are_in_nobodys_hands() -> None:
    bench, made = long_first()
    work = bench.worker.works[made.job]
    number = min(bench.runs)
    size, first = len(bench.runs[number].arguments), bench.worker.turns.batches[number].first
    revoke = m.Revoke(made.job, [(first + size - 1, 1)], False)
    bench.do(bench.worker.revoked(GRANTOR_AT, revoke, bench.now))
    taken = recall(bench, made, 40) + back(bench.wait(2 * LATE_S))
    assert first + size - 1 not in taken and len(taken) == len(set(taken))
    bench.run_all()
    assert not work.leases


class Recalling(RuleBasedStateMachine):
    """Leases, results, recalls and cuts in any order: each task ends once, here or back at the grantor."""

    @initialize(slots=st.integers(1, 4))
    def begin(self, slots: int) -> None:
        self.bench = Cutting(slots=slots)
        self.made = self.bench.know(Made(), *[40] * 5)
        self.next = 0
        self.run: list[int] = []
        self.back: list[int] = []

    def note(self, effects: list[fx.Effect]) -> None:
        self.back += back(effects)
        for message in told(effects, m.Results):
            opened = self.made.open(message)
            self.run += opened.indices

    @rule(count=st.integers(1, 40))
    def lease(self, count: int) -> None:
        count = min(count, 200 - self.next)
        if count:
            self.note(self.bench.take(self.made, (self.next, count), slots=self.bench.slots))
            self.next += count

    @rule(data=st.data(), takes_s=st.sampled_from([1e-6, 0.001, 0.02, 1.0]))
    def ends(self, data: st.DataObject, takes_s: float) -> None:
        bench = self.bench
        running = sorted(bench.at)[: bench.slots]
        if running:
            number = data.draw(st.sampled_from(running))
            left = len(bench.runs[number].arguments) - bench.at[number]
            self.note(bench.ran(number, data.draw(st.integers(1, left)), takes_s))

    @rule(count=st.integers(1, 60))
    def recalled(self, count: int) -> None:
        self.note(self.bench.do(self.bench.worker.recalled(GRANTOR_AT, m.Recall(self.made.job, count), self.bench.now)))

    @rule(wait_s=st.sampled_from([0.001, 0.011, 0.1]), moved=st.booleans())
    def time_passes(self, wait_s: float, moved: bool) -> None:
        self.bench.moved = moved
        self.note(self.bench.wait(wait_s))

    @invariant()
    def each_task_ends_once(self) -> None:
        if not hasattr(self, "bench"):
            return
        ended = self.run + self.back
        assert len(ended) == len(set(ended))
        work = self.bench.worker.works[self.made.job]
        held = work.queued + sum(b.count - b.done for b in self.bench.worker.turns.batches.values())
        assert held + len(ended) == self.next
        assert sum(lease.remaining for lease in work.leases.values()) == held
        assert work.queued == self.bench.worker.queued == sum(len(piece.arguments) for piece in work.queue)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            while self.bench.runs:
                self.note(self.bench.ran(min(self.bench.at)))
            assert spans_of(sorted(self.run + self.back)) == ([(0, self.next)] if self.next else [])


Recalling.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestEachTaskEndsOnce = Recalling.TestCase


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 100))
@settings(max_examples=30, deadline=None)
def test_a_recall_takes_from_the_end_and_leaves_the_rest_in_order(sizes: list[int], count: int) -> None:
    bench = Cutting(slots=1)
    made = bench.know(Made(), sum(sizes))
    first = 0
    for size in sizes:
        bench.take(made, (first, size), slots=1)
        first += size
    taken = recall(bench, made, count)
    kept = [
        index for piece in bench.worker.works[made.job].queue for index in cut([(piece.first, len(piece.arguments))])
    ]
    assert len(taken) == min(count, sum(sizes) - 1)
    assert [0, *kept, *taken] == list(range(sum(sizes)))
