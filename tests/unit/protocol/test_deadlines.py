"""Deadlines: who was not touched is not asked, and the answer is that of asking everybody."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.deadlines import ALL, BY_JOB, GOSSIP, MEMBERSHIP, PAIRS, WORKER, Deadlines, anyway
from p2pcpn.protocol.effects import Effect, Hangup, Heard, Tell, Transmit
from p2pcpn.protocol.pairs import PairMade
from p2pcpn.protocol.work import LeaseTaken, Work
from p2pcpn.sim import host, scenarios
from p2pcpn.sim.world import World
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.datagrams import Ack, Compound, Leave, Ping
from p2pcpn.wire.messages import Answer, AnswerCode, Settled
from tests.unit.protocol.leased import GRANTOR_AT, Made

PEER = Keypair(b"\7" * 32)


class Alarm:
    """A machine that is due at ``at``, and says so by an effect."""

    def __init__(self, at: float | None) -> None:
        self.at = at
        self.asked = 0

    def deadline(self) -> float | None:
        self.asked += 1
        return self.at

    def expire(self, now: float) -> list[Effect]:
        self.at = None
        return [Hangup(NodeId(bytes(20)), f"at {now:g}")]


def _of(*alarms: Alarm) -> Deadlines:
    return Deadlines([(alarm.deadline, alarm.expire) for alarm in alarms])


def test_at_first_everybody_is_asked_and_then_nobody() -> None:
    alarms = [Alarm(3.0), Alarm(None), Alarm(2.0)]
    deadlines = _of(*alarms)
    assert deadlines.earliest() == 2.0
    assert deadlines.earliest() == 2.0
    assert [alarm.asked for alarm in alarms] == [1, 1, 1]


def test_who_was_touched_is_asked_again() -> None:
    alarms = [Alarm(3.0), Alarm(None), Alarm(2.0)]
    deadlines = _of(*alarms)
    assert deadlines.earliest() == 2.0
    alarms[1].at = 1.0
    deadlines.touched |= 0b010
    assert deadlines.earliest() == 1.0
    assert [alarm.asked for alarm in alarms] == [1, 2, 1]


def test_who_can_only_be_due_later_is_asked_once_it_would_be_the_first() -> None:
    alarms = [Alarm(3.0), Alarm(5.0), Alarm(2.0)]
    deadlines = _of(*alarms)
    assert deadlines.earliest() == 2.0
    alarms[0].at, alarms[2].at = 4.0, 6.0
    deadlines.later |= 0b001
    assert deadlines.earliest() == 2.0 and [alarm.asked for alarm in alarms] == [1, 1, 1]
    deadlines.later |= 0b100
    assert deadlines.earliest() == 4.0 and [alarm.asked for alarm in alarms] == [2, 1, 2]
    alarms[0].at = 10.0
    deadlines.later |= 0b001
    assert deadlines.expire(4.5, 0) == [], "it is not due by now"
    assert deadlines.stale() == []


def test_a_ping_and_its_answer_only_put_off() -> None:
    deadlines = _of(*[Alarm(1.0) for _ in range(16)])
    assert deadlines.earliest() == 1.0
    assert deadlines.heard(Ping(1, 0)) == MEMBERSHIP and deadlines.later == MEMBERSHIP and not deadlines.touched
    deadlines.later = 0
    assert deadlines.heard(Ack(1, 0)) == MEMBERSHIP and deadlines.later == MEMBERSHIP and not deadlines.touched
    assert deadlines.heard(Compound(Ping(1, 0), [], [])) == GOSSIP == deadlines.touched
    deadlines.touched = 0
    assert deadlines.heard(Leave(0)) == MEMBERSHIP and deadlines.touched == MEMBERSHIP


def test_what_a_pair_said_puts_its_end_off_and_a_greeting_may_do_anything_to_pairs() -> None:
    deadlines = _of(*[Alarm(1.0) for _ in range(16)])
    assert deadlines.earliest() == 1.0
    somebody = contact(bytes(range(20)), ("192.0.2.1", 4000))
    said: list[Effect] = [Heard(Ack(1, 0), somebody)]
    assert deadlines.received(said) is said and (deadlines.later, deadlines.touched) == (PAIRS, 0)
    deadlines.received([Heard(PairMade(1, 0), somebody)])
    assert deadlines.touched == PAIRS


def test_nobody_is_due_where_no_machine_is() -> None:
    assert _of(Alarm(None), Alarm(None)).earliest() is None


def test_only_who_is_due_does_something_and_whoever_always_does() -> None:
    alarms = [Alarm(3.0), Alarm(1.0), Alarm(None)]
    deadlines = _of(*alarms)
    assert deadlines.expire(1.0, 0) == [Hangup(NodeId(bytes(20)), "at 1")]
    assert (alarms[0].at, alarms[1].at) == (3.0, None)
    assert deadlines.earliest() == 3.0, "who did something is asked again"
    assert len(deadlines.expire(2.0, 0b100)) == 1


def test_a_change_that_nobody_spoke_of_is_found_by_asking_everybody() -> None:
    alarms = [Alarm(3.0), Alarm(1.0)]
    deadlines = _of(*alarms)
    assert deadlines.stale() == []
    alarms[0].at = 0.5
    assert deadlines.stale() == [0]
    assert deadlines.stale() == [], "now it is known"


@settings(max_examples=200)
@given(some.lists(some.tuples(some.integers(0, 4), some.none() | some.floats(0, 100), some.booleans()), max_size=40))
def test_it_is_the_earliest_of_all_whoever_changes_and_says_so(changes: list[tuple[int, float | None, bool]]) -> None:
    alarms = [Alarm(None) for _ in range(5)]
    deadlines = _of(*alarms)
    for which, at, ask in changes:
        alarms[which].at = at
        deadlines.touched |= 1 << which
        if ask:
            assert deadlines.earliest() == min((a.at for a in alarms if a.at is not None), default=None)
    assert deadlines.stale() == []


def _watched(monkeypatch) -> list[int]:  # type: ignore[no-untyped-def]
    """Compare with asking everybody after every event of every host; returns how often, filled while it runs."""
    counts = [0]
    done = host.Host._done

    def compared(self: host.Host, effects: list[Effect]) -> None:
        done(self, effects)
        if self.peer is not None:
            assert self.peer.deadlines.stale() == []
            counts[0] += 1

    monkeypatch.setattr(host.Host, "_done", compared)
    return counts


@pytest.mark.parametrize(("scenario", "seed"), [("churn", 4), ("calls", 2)])
def test_in_a_swarm_with_jobs_and_every_fault_nothing_is_ever_stale(monkeypatch, scenario: str, seed: int) -> None:  # type: ignore[no-untyped-def]
    counts = _watched(monkeypatch)
    assert scenarios.run(scenario, peers=8, seed=seed).verdict == "ok"
    assert counts[0] > 5_000


def test_a_peer_alone_and_one_that_joins_it_are_never_stale(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    counts = _watched(monkeypatch)
    world = World(2, 3)
    first, second = world.host("first"), world.host("second")
    world.seeds.append(first.address)
    world.start(first)
    world.run(40.0)
    world.start(second)
    world.run(80.0)
    first.crash()
    world.run(400.0)
    world.start(first)
    world.run(500.0)
    assert counts[0] > 200


def test_a_peer_has_as_many_machines_as_there_are_bits() -> None:
    world = World(1, 2)
    alone = world.host("alone")
    world.start(alone)
    assert alone.peer is not None
    alone.peer.deadlines.touched = ALL
    assert alone.peer.deadlines.stale() == []
    assert len(alone.peer.deadlines._due_s) == ALL.bit_length()


def test_what_is_said_of_tasks_touches_who_deals_with_them() -> None:
    world = World(1, 2)
    alone = world.host("alone")
    world.start(alone)
    peer = alone.peer
    assert peer is not None
    peer.lines.open[PEER.id], peer.lines.keys[PEER.id] = contact(PEER.id, ("127.0.0.1", 7)), PEER.public
    for message, bits in ((Settled(bytes(20), []), BY_JOB), (Answer(1, AnswerCode.DONE, ""), ALL)):
        peer.deadlines.earliest()
        peer.message_received(PEER.id, message, world.clock.now)
        assert peer.deadlines.touched == bits
    peer.deadlines.earliest()
    tell = Tell(contact(PEER.id, ("127.0.0.1", 7)), Settled(bytes(20), []))
    assert peer.perform([tell], world.clock.now, BY_JOB) == [Transmit(PEER.id, tell.message, False)]
    assert peer.deadlines.touched == BY_JOB, "whoever is told something has done what it had to"


def test_a_job_that_is_idle_makes_nobody_look_around() -> None:
    world = World(1, 2)
    alone = world.host("alone")
    world.start(alone)
    peer = alone.peer
    assert peer is not None
    idle = Work(Authority(Made(1).spec), GRANTOR_AT, None, NodeId(GRANTOR_AT.id))
    peer.worker._works.add(idle, world.clock.now)
    assert not peer.worker.busy and not anyway(peer) & WORKER
    lease = LeaseTaken(1, 0, GRANTOR_AT, 1, bytes(32), bytes(32), bytes(32), 0.0)
    idle.leases[lease.key] = lease
    peer.worker._works.changed(idle, world.clock.now)
    assert peer.worker.busy and anyway(peer) & WORKER
