"""Departure: whatever happens in whatever order, a peer that is to leave leaves, and until it does it may stay."""

from __future__ import annotations

import hypothesis.strategies as some
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2pcpn.protocol import departure as d
from p2pcpn.protocol.departure import Departure, Stage, Undone

NOTHING = Undone()
BUSY = Undone(tasks=1, results=1)


def jobs_under_way(undone: Undone = NOTHING, *, careful: bool = False, timeout_s: float = 0.0) -> tuple[Departure, int]:
    """One that hands over jobs at 0 s, and in which turn."""
    machine = Departure()
    assert machine.begin(timeout_s, 0.0, careful=careful) == [d.Drain()]
    assert machine.expire(undone, 0.0) == [d.Acknowledge()]
    (step,) = machine.expire(undone, 0.0)
    assert isinstance(step, d.HandOver) and step.what is Stage.JOBS
    return machine, step.turn


def test_it_waits_for_tasks_then_for_results_then_hands_on_and_goes() -> None:
    machine = Departure()
    assert machine.deadline() is None and machine.expire(NOTHING, 9.0) == []
    assert machine.begin(60.0, 10.0) == [d.Drain()] and machine.stage.word == "finishing"
    assert machine.expire(BUSY, 10.0) == [] and machine.deadline() == 10.0 + d.LOOK_S
    assert machine.expire(NOTHING, 10.01) == []  # too early to look
    assert machine.expire(Undone(results=1), 11.0) == [d.Acknowledge()]
    assert machine.expire(Undone(results=1), 11.0) == []
    assert machine.expire(NOTHING, 12.0) == [d.HandOver(Stage.JOBS, 1)] and machine.stage.word == "handing over"
    assert machine.handed_over(1, NOTHING, 13.0) == [d.HandOver(Stage.SECTIONS, 2)]
    assert machine.handed_over(2, NOTHING, 14.0) == [] and machine.stage.word == "leaving"
    assert machine.deadline() == 14.0 and machine.expire(NOTHING, 14.0) == [d.Go()]
    assert machine.deadline() is None and machine.expire(NOTHING, 99.0) == [] and machine.behind == {}
    assert machine.begin(1.0, 99.0) == [] and machine.failed(NOTHING, 99.0) == []


def test_patience_ends_and_what_is_left_is_said() -> None:
    machine = Departure()
    machine.begin(60.0, 0.0)
    assert machine.begin(5.0, 0.0) == []  # the newer word counts
    assert machine.expire(BUSY, 4.9) == []
    assert machine.expire(BUSY, 5.0) == [d.Acknowledge()]
    (step,) = machine.expire(BUSY, 5.0)
    assert isinstance(step, d.HandOver)
    machine.handed_over(step.turn, BUSY, 6.0)
    machine.handed_over(step.turn + 1, Undone(1, 0, 2, 3), 6.0)
    assert machine.behind == {"tasks": 1, "jobs": 2, "sections": 3}


def test_results_that_nobody_takes_hold_it_for_seconds_only() -> None:
    machine = Departure()
    machine.begin(600.0, 0.0)
    machine.expire(NOTHING, 0.0)
    assert machine.expire(BUSY, d.SETTLE_S - 0.1) == []
    assert machine.expire(BUSY, d.SETTLE_S) == [d.HandOver(Stage.JOBS, 1)]


def test_handing_over_that_does_not_end_is_ended_by_time() -> None:
    machine, _ = jobs_under_way()
    assert machine.deadline() == d.HAND_OVER_S
    assert machine.expire(NOTHING, d.HAND_OVER_S - 1.0) == []
    assert machine.expire(NOTHING, d.HAND_OVER_S) == [d.HandOver(Stage.SECTIONS, 2)]
    assert machine.begin(100.0, 40.0) == [] and machine.deadline() == 140.0  # its owner gives it more
    assert machine.expire(NOTHING, 140.0) == [] and machine.stage is Stage.TELLING


def test_what_a_turn_that_is_over_says_is_not_heard() -> None:
    machine, turn = jobs_under_way()
    assert machine.undo() == [d.Stay()] and machine.deadline() is None
    assert machine.handed_over(turn, NOTHING, 1.0) == []
    machine.begin(0.0, 2.0)
    machine.expire(NOTHING, 2.0)
    assert machine.expire(NOTHING, 2.0) == [d.HandOver(Stage.JOBS, turn + 1)]
    assert machine.handed_over(turn, NOTHING, 3.0) == []
    assert machine.handed_over(turn + 1, NOTHING, 3.0) == [d.HandOver(Stage.SECTIONS, turn + 2)]


def test_a_careful_one_stays_where_it_is_the_last_to_have_something() -> None:
    for undone in (Undone(tasks=1), Undone(results=1), Undone(alone=1), Undone(jobs=1)):
        machine, turn = jobs_under_way(undone, careful=True)
        machine.handed_over(turn, undone, 1.0)
        stays = machine.handed_over(turn + 1, undone, 1.0)
        assert stays == ([d.Stay()] if undone.last else [])
        assert machine.stage is (Stage.STAYING if undone.last else Stage.TELLING)


def test_it_may_stay_until_it_leaves() -> None:
    machine = Departure()
    assert machine.undo() == []
    machine, turn = jobs_under_way()
    machine.handed_over(turn, NOTHING, 1.0)
    assert machine.undo() == [d.Stay()] and machine.undo() == []
    machine, turn = jobs_under_way()
    machine.handed_over(turn, NOTHING, 1.0)
    machine.handed_over(turn + 1, NOTHING, 1.0)
    assert machine.undo() == [] and machine.stage is Stage.TELLING


def test_whoever_watches_hears_the_last_word_and_is_not_waited_for_long() -> None:
    for asks in (True, False):
        machine, turn = jobs_under_way()
        machine.watch(0.5)
        machine.handed_over(turn, NOTHING, 1.0)
        machine.handed_over(turn + 1, NOTHING, 1.0)
        assert machine.expire(NOTHING, 1.5) == [] and machine.stage.word == "leaving"
        if asks:
            machine.watch(1.6)
        assert machine.expire(NOTHING, 1.6 if asks else 1.0 + d.TOLD_S) == [d.Go()]


def test_who_watched_an_earlier_departure_is_not_waited_for() -> None:
    machine = Departure()
    machine.watch(0.0)
    machine.begin(0.0, 1.0)
    machine.failed(NOTHING, 1.0)
    assert [machine.failed(NOTHING, 1.0) for _ in range(3)][-1] == []
    assert machine.stage is Stage.TELLING and machine.deadline() == 1.0


def test_a_step_that_fails_is_gone_on_without() -> None:
    machine = Departure()
    assert machine.failed(NOTHING, 0.0) == []
    machine.begin(600.0, 0.0)
    steps = [step for _ in range(5) for step in machine.failed(Undone(jobs=1), 1.0)]
    assert steps == [d.Acknowledge(), d.HandOver(Stage.JOBS, 1), d.HandOver(Stage.SECTIONS, 2), d.Go()]
    assert machine.behind == {"jobs": 1}


class Leaving(RuleBasedStateMachine):
    """Any events in any order, in a world whose tasks and results never have to end."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Departure()
        self.now = 0.0
        self.undone = NOTHING
        self.draining = False  # what the last of Drain and Stay made of the peer
        self.gone = False
        self.turn = 0

    def perform(self, steps: list[d.Step]) -> None:
        for step in steps:
            assert not self.gone, "nothing follows on leaving"
            match step:
                case d.Drain():
                    assert not self.draining
                    self.draining = True
                case d.Stay():
                    assert self.draining
                    self.draining = False
                case d.HandOver():
                    assert step.turn == self.turn + 1
                    self.turn = step.turn
                case d.Go():
                    self.gone = True

    @rule(tasks=some.integers(0, 2), results=some.integers(0, 2), jobs=some.integers(0, 2), alone=some.integers(0, 1))
    def turns_out(self, tasks: int, results: int, jobs: int, alone: int) -> None:
        self.undone = Undone(tasks, results, jobs, 0, alone)

    @rule(timeout_s=some.floats(0.0, 600.0), careful=some.booleans())
    def begin(self, timeout_s: float, careful: bool) -> None:
        self.perform(self.machine.begin(timeout_s, self.now, careful=careful))
        assert self.draining or self.gone

    @rule()
    def undo(self) -> None:
        possible = self.draining and self.machine.stage.word != "leaving"
        steps = self.machine.undo()
        assert steps == ([d.Stay()] if possible else [])
        self.perform(steps)

    @rule()
    def watch(self) -> None:
        self.machine.watch(self.now)

    @rule(late=some.integers(0, 2))
    def handed_over(self, late: int) -> None:
        self.perform(self.machine.handed_over(self.turn - late, self.undone, self.now))

    @rule()
    def failed(self) -> None:
        self.perform(self.machine.failed(self.undone, self.now))

    @rule(passes_s=some.floats(0.0, 700.0))
    def time(self, passes_s: float) -> None:
        self.now += passes_s
        self.perform(self.machine.expire(self.undone, self.now))

    @precondition(lambda self: self.draining and not self.gone)
    @rule()
    def left_alone(self) -> None:
        """Nobody says anything any more: time alone brings it to its end, soon after its owner's patience ends."""
        until_s = max(self.machine.until_s, self.now) + 2 * d.HAND_OVER_S + d.TOLD_S + 1.0
        for _ in range(100_000):
            due_s = self.machine.deadline()
            if due_s is None:
                break
            self.now = max(self.now, due_s)
            self.perform(self.machine.expire(self.undone, self.now))
        assert self.gone or not self.draining
        assert self.gone or self.undone.last, "only a careful one stays, and only where it is the last"
        assert self.now <= until_s

    @invariant()
    def it_drains_while_it_is_under_way(self) -> None:
        assert self.draining == (self.machine.stage is not Stage.STAYING)
        assert self.gone == (self.machine.stage is Stage.GONE)
        assert (self.machine.deadline() is None) == (self.gone or not self.draining)


TestLeaving = Leaving.TestCase
TestLeaving.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
