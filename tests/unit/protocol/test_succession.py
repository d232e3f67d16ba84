"""Succession: whose turn it is takes the job over, nobody else, and nobody while the grantor shows signs of life."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Commit, Effect, Load, Probe, Provide, Tell
from p2pcpn.protocol.heartbeat import BEAT_S
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.steward import Steward
from p2pcpn.protocol.succession import SILENT_LOOKS, SILENT_S, TURN_S, Succession
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.statements import Cancel, signed
from p2pcpn.wire.statements import Steward as Named
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, OWNER, Made, at, keypair

KEYS = [keypair(40 + number) for number in range(4)]
NAMED = [Named(key.public, at(key, 5000 + number), b"k") for number, key in enumerate(KEYS)]
GONE = NodeId(GRANTOR_AT.id)


class Seat:
    """One steward of a job, and its view of who grants."""

    def __init__(self, number: int = 0, **options: Any) -> None:
        self.made = Made(**{"stewards": NAMED, **options})
        self.key = KEYS[number]
        self.granting = False
        self.steward = Steward(me=self.key, storing=True, wall=lambda: 0.0, granting=lambda job: None)
        self.kept = Kept(Authority(self.made.spec), 1e9)
        self.steward.restore(self.kept)
        self.machine = Succession(
            self.key, self.steward, lambda job, epoch: self.granting, lambda: NAMED[number].contact
        )
        self.now = 0.0
        self.kept.add_segment(self.made.segment(4).segment, 4, 10)

    def heard(self) -> None:
        """A sign of life of whoever grants."""
        grantor = self.kept.authority.grantor
        sender = GRANTOR_AT if grantor == GRANTOR.public else next(s.contact for s in NAMED if s.key == grantor)
        self.machine.heard(self.made.job, sender, self.now)

    def wait(self, seconds: float) -> list[Effect]:
        """Let time pass, every deadline met."""
        until, effects = self.now + seconds, []
        while (due := self.machine.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            effects += self.machine.expire(self.now)
        self.now = until
        return effects

    def mandate(self, epoch: int, left: int, tasks: int = 4) -> m.Mandate:
        """What a grantor says."""
        return m.Mandate(0, self.made.job, epoch, GRANTOR_AT, None, 0, tasks, left)


def loads(effects: list[Effect]) -> list[bytes]:
    return [then.job for e in effects if isinstance(e, Commit) for then in e.then if isinstance(then, Load)]


def probed(effects: list[Effect]) -> list[bytes]:
    return [effect.peer.id for effect in effects if isinstance(effect, Probe)]


def test_the_first_steward_takes_over_when_the_grantor_is_found_dead() -> None:
    seat = Seat(0)
    seat.heard()
    assert seat.machine.session_closed(GONE) == [Probe(GRANTOR_AT)]
    effects = seat.machine.dead(GONE, 1.0)
    assert loads(effects) == [seat.made.job]
    assert (seat.kept.authority.epoch, seat.kept.authority.grantor) == (1, KEYS[0].public)
    commit, provided = effects
    assert isinstance(commit, Commit) and commit.writes[0].table == "jobs"
    # Seed 113 of `faults` with 50 peers: an owner that died at once had left no record, and no reader found the job.
    assert isinstance(provided, Provide) and provided.name == seat.made.job and provided.retention_s > 0
    assert seat.machine.taken_over == 1 and len(seat.machine) == 0


def test_whoever_takes_over_has_its_epoch_on_disk_before_it_leases() -> None:
    seat = Seat(0)
    seat.kept.mandate = seat.mandate(0, left=3)
    seat.heard()
    commit, _ = seat.machine.dead(GONE, 1.0)
    assert isinstance(commit, Commit)
    row = commit.writes[0].value
    assert row is not None and isinstance(row[-1], bytes)
    again = Kept(Authority(seat.made.spec), 1e9)  # after a loss of power
    again.granted(pages.GRANTS.decode(row[-1]))
    assert (again.authority.epoch, again.authority.grantor) == (1, KEYS[0].public)
    assert again.mandate is not None and (again.mandate.open, again.grantor) == (3, NAMED[0].contact)


def test_others_wait_for_their_turn_which_comes_sooner_where_those_before_them_are_dead() -> None:
    seat = Seat(2)
    seat.heard()
    effects = seat.machine.dead(GONE, 0.0)
    assert probed(effects) == [KEYS[0].id, KEYS[1].id] and not loads(effects)
    assert not loads(seat.wait(2 * TURN_S - 0.1))
    assert loads(seat.wait(0.6)) == [seat.made.job]
    assert seat.kept.authority.epoch == 3
    quick = Seat(2)
    quick.heard()
    quick.machine.dead(GONE, 0.0)
    assert not quick.machine.dead(KEYS[1].id, 0.5)
    assert loads(quick.machine.dead(KEYS[0].id, 0.6)) == [quick.made.job]


def test_a_silent_grantor_is_asked_and_one_that_only_answers_probes_is_given_up_in_the_end() -> None:
    seat = Seat(0)
    seat.heard()
    assert seat.wait(SILENT_S - 0.1) == []
    assert probed(seat.wait(0.6)) == [GRANTOR_AT.id]
    effects = seat.wait(SILENT_S * (SILENT_LOOKS - 1) + 0.6)
    assert loads(effects) == [seat.made.job]
    assert probed(effects) == [GRANTOR_AT.id] * (SILENT_LOOKS - 2)


def test_signs_of_life_keep_it_and_those_of_others_do_not() -> None:
    seat = Seat(0)
    for _ in range(20):
        seat.heard()
        assert seat.wait(BEAT_S) == []
    for _ in range(20):
        seat.machine.heard(seat.made.job, NAMED[3].contact, seat.now)
        if loads(seat.wait(BEAT_S)):
            break
    else:
        raise AssertionError("nobody took over from a grantor that said nothing")


@pytest.mark.parametrize("why", ["centralised", "ended", "settled", "cancelled", "granted here"])
def test_nobody_takes_over_what_needs_no_other_grantor(why: str) -> None:
    seat = Seat(orchestration="centralised" if why == "centralised" else "hybrid")
    seat.heard()
    if why == "ended":
        seat.kept.mandate = seat.mandate(0, 0)
    elif why == "settled":
        seat.kept.log(GRANTOR.id, 0).settled = 4
    elif why == "cancelled":
        seat.kept.cancel = signed(Cancel(seat.made.job, 1.0), OWNER)
    seat.granting = why == "granted here"
    assert not loads(seat.machine.dead(GONE, 1.0)) and not loads(seat.wait(100.0))
    assert seat.machine.deadline() is None


def test_what_two_logs_settled_may_be_the_same_tasks_and_is_not_taken_for_all() -> None:
    seat = Seat(0)
    seat.kept.log(GRANTOR.id, 0).settled = 3
    seat.kept.log(KEYS[1].id, 2).settled = 3
    seat.heard()
    assert loads(seat.machine.dead(GONE, 1.0))
    other = Seat(0)
    other.kept.log(GRANTOR.id, 0).settled = other.kept.log(KEYS[1].id, 2).settled = 3
    other.kept.mandate = other.mandate(0, 0)
    other.heard()
    assert not loads(other.machine.dead(GONE, 1.0))


def test_a_segment_that_its_grantor_did_not_speak_of_is_open() -> None:
    seat = Seat(0)
    seat.kept.mandate = seat.mandate(0, 0)
    seat.kept.add_segment(seat.made.segment(2).segment, 2, 10)
    seat.heard()
    assert loads(seat.machine.dead(GONE, 1.0))


def test_a_steward_that_was_given_no_key_leaves_its_turn() -> None:
    keyless = [Named(NAMED[0].key, NAMED[0].contact, b""), *NAMED[1:]]
    seat = Seat(0, stewards=keyless)
    seat.heard()
    assert not loads(seat.machine.dead(GONE, 1.0)) and not loads(seat.wait(60.0))
    second = Seat(1, stewards=keyless)
    second.heard()
    assert loads(second.machine.dead(GONE, 1.0))


def test_a_newer_epoch_begins_the_watch_anew_and_the_order_goes_on_behind_it() -> None:
    seat = Seat(1)
    seat.heard()
    seat.machine.dead(GONE, 0.0)
    seat.kept.authority.take_over(KEYS[0].public, 1)
    seat.kept.grantor = NAMED[0].contact
    seat.machine.superseded(seat.made.job, 0, seat.now)
    assert not loads(seat.wait(SILENT_S - 0.1))
    assert seat.machine.session_closed(KEYS[0].id) == [Probe(NAMED[0].contact)]
    assert loads(seat.machine.dead(KEYS[0].id, seat.now)) == [seat.made.job]
    assert seat.kept.authority.epoch == 2


def test_who_granted_before_its_restart_asks_first_and_goes_on_in_its_next_epoch() -> None:
    seat = Seat(0)
    seat.kept.authority.take_over(KEYS[0].public, 1)
    seat.kept.mandate = seat.mandate(1, 3)
    effects = seat.machine.restored(0.0)
    assert [effect.to.id for effect in effects if isinstance(effect, Tell)] == [key.id for key in KEYS[1:]]
    said = [effect.message for effect in effects if isinstance(effect, Tell)]
    assert all(isinstance(message, m.Mandate) and (message.epoch, message.open) == (1, 3) for message in said)
    assert not loads(seat.wait(TURN_S - 0.1))
    assert loads(seat.wait(0.6)) == [seat.made.job]
    assert seat.kept.authority.epoch == 6  # 1 to 4 are the stewards', 5 the owner's


def test_who_granted_before_its_restart_leaves_it_to_a_newer_epoch() -> None:
    seat = Seat(0)
    seat.kept.authority.take_over(KEYS[0].public, 1)
    seat.machine.restored(0.0)
    seat.kept.authority.take_over(KEYS[1].public, 2)
    seat.machine.superseded(seat.made.job, 0, 0.5)
    assert not loads(seat.wait(SILENT_S))


def test_after_a_restart_the_jobs_of_others_are_watched() -> None:
    seat = Seat(0)
    assert seat.machine.restored(0.0) == []
    assert not loads(seat.wait(SILENT_S - 0.1))
    assert loads(seat.wait(1.0)) == [seat.made.job]  # nobody knows where its grantor was


def test_a_job_that_is_kept_no_more_is_watched_no_more() -> None:
    seat = Seat(0)
    seat.heard()
    del seat.steward.jobs[seat.made.job]
    seat.machine.heard(seat.made.job, GRANTOR_AT, 0.0)
    assert seat.wait(60.0) == [] and len(seat.machine) == 0


class Histories(RuleBasedStateMachine):
    """Four stewards, a grantor, and whatever order of deaths, words and time: each epoch has one grantor, the order
    goes on where it was, and when all is quiet somebody living grants."""

    def __init__(self) -> None:
        super().__init__()
        self.seats = [Seat(number) for number in range(4)]
        self.job = self.seats[0].made.job
        self.alive = [True] * 4
        self.first_alive = True
        self.grantors: dict[int, bytes] = {0: GRANTOR.public}
        for seat in self.seats:
            seat.heard()

    def _took(self, number: int, effects: list[Effect]) -> None:
        if loads(effects):
            seat = self.seats[number]
            authority = seat.kept.authority
            assert authority.grantor == KEYS[number].public
            assert self.grantors.setdefault(authority.epoch, authority.grantor) == authority.grantor
            seat.granting = True

    def _lives(self, key: bytes) -> bool:
        if key == GRANTOR.public:
            return self.first_alive
        return any(k.public == key and alive for k, alive in zip(KEYS, self.alive, strict=True))

    @rule(number=st.integers(0, 3))
    def kill(self, number: int) -> None:
        if sum(self.alive) > 1:
            self.alive[number] = False
            self.seats[number].granting = False

    @rule()
    def kill_the_first(self) -> None:
        self.first_alive = False

    @rule(seconds=st.floats(0.1, 4.0))
    def time(self, seconds: float) -> None:
        for number, seat in enumerate(self.seats):
            if self.alive[number]:
                self._took(number, seat.wait(seconds))

    @rule(number=st.integers(0, 3))
    def is_told_of_the_dead(self, number: int) -> None:
        self._tell_deaths(number)

    def _tell_deaths(self, number: int) -> None:
        seat = self.seats[number]
        if not self.alive[number]:
            return
        gone = [key.id for key, alive in zip(KEYS, self.alive, strict=True) if not alive]
        for node in [*gone, *([] if self.first_alive else [GONE])]:
            self._took(number, seat.machine.dead(node, seat.now))

    @rule(speaker=st.integers(0, 3), hearer=st.integers(0, 3))
    def speaks(self, speaker: int, hearer: int) -> None:
        """A living grantor's word reaches another steward."""
        one, two = self.seats[speaker], self.seats[hearer]
        if not (self.alive[speaker] and self.alive[hearer] and one.granting) or speaker == hearer:
            return
        authority = one.kept.authority
        if two.kept.authority.take_over(authority.grantor, authority.epoch):
            two.granting = False
            two.machine.superseded(self.job, 0, two.now)
        elif two.kept.authority.epoch > authority.epoch:
            one.granting = False
            newest: Keypair = next(k for k in KEYS if k.public == two.kept.authority.grantor)
            one.kept.authority.take_over(newest.public, two.kept.authority.epoch)
            one.machine.superseded(self.job, 0, one.now)
        if two.kept.authority.epoch == authority.epoch:
            two.machine.heard(self.job, NAMED[speaker].contact, two.now)

    @precondition(lambda self: not self.first_alive)
    @rule()
    def comes_to_an_end(self) -> None:
        """The dead are known, the living talk: within a few turns somebody living grants the newest epoch."""
        for _ in range(20):
            for number in range(4):
                self._tell_deaths(number)
            self.time(1.0)
            for speaker in range(4):
                for hearer in range(4):
                    self.speaks(speaker, hearer)
        epochs = {s.kept.authority.epoch for s, alive in zip(self.seats, self.alive, strict=True) if alive}
        assert len(epochs) == 1
        (epoch,) = epochs
        grants = [s for s, alive in zip(self.seats, self.alive, strict=True) if alive and s.granting]
        assert [seat.kept.authority.epoch for seat in grants] == [epoch]

    @invariant()
    def an_epoch_is_its_stewards_own(self) -> None:
        for number, seat in enumerate(self.seats):
            authority = seat.kept.authority
            assert authority.grants(authority.grantor, authority.epoch)
            assert not seat.granting or node_id(authority.grantor) == KEYS[number].id


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
