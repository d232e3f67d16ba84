"""Rings of a node: offered once there is bulk for a neighbour, used once accepted, gone with the session or unused."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.net import beside
from p2pcpn.net.beside import Giving, Place
from p2pcpn.net.session import Remote
from p2pcpn.node.rings import Rings
from p2pcpn.wire import messages as m

pytestmark = pytest.mark.skipif(not beside.possible(), reason="this system has no sealed memory")

A, B = Keypair(b"\1" * 32), Keypair(b"\2" * 32)
JOB = b"\3" * 20
BIG = bytes(range(256)) * 400


class Handle:
    def __init__(self, wait_s: float, callback: Any, args: tuple[Any, ...]) -> None:
        self.wait_s, self.callback, self.args = wait_s, callback, args
        self.over = False

    def cancel(self) -> None:
        self.over = True

    def ring(self) -> None:
        assert not self.over
        self.over = True
        self.callback(*self.args)


class Loop:
    def __init__(self) -> None:
        self.handles: list[Handle] = []

    def call_later(self, wait_s: float, callback: Any, *args: Any) -> Handle:
        self.handles.append(Handle(wait_s, callback, args))
        return self.handles[-1]

    def pass_time(self) -> None:
        for handle in [handle for handle in self.handles if not handle.over]:
            handle.ring()


class End:
    """One end of a session without a network: rings, and what is said over it until :meth:`Ends.talk` brings it."""

    def __init__(self, session: Any) -> None:
        self.loop = Loop()
        self.counters: Counter[str] = Counter()
        self.had_room: list[Any] = []
        self.rings = Rings(self.loop, self.counters, self.had_room.append)  # type: ignore[arg-type]
        self.session = session


class Ends:
    def __init__(self, unwired: Any) -> None:
        self.unwired = unwired
        self.giver, self.taker = End(unwired(B)), End(unwired(A))

    def talk(self) -> list[m.Message]:
        """All that was said reaches the other end; what that was."""
        said: list[m.Message] = []
        while self.giver.session.sent or self.taker.session.sent:
            for end, other in ((self.giver, self.taker), (self.taker, self.giver)):
                while end.session.sent:
                    said.append(end.session.sent.pop(0))
                    assert other.rings.take(other.session, said[-1])
        return said

    def ring(self) -> Giving:
        """An accepted ring."""
        assert self.giver.rings.to(self.giver.session) is None
        self.talk()
        ring = self.giver.rings.to(self.giver.session)
        assert ring is not None
        return ring

    def put(self, ring: Giving, data: bytes = BIG) -> m.PutBlob:
        """What is said of a part that lies in the ring."""
        at, memory = ring.part(len(data))
        with memory:
            memory[:] = data
        return m.PutBlob(7, bytes(32), JOB, len(data), 0, memoryview(b""), 60.0, at, len(data))


@pytest.fixture
def ends(unwired: Any) -> Iterator[Ends]:
    before = len(os.listdir("/proc/self/fd"))
    ends = Ends(unwired)
    yield ends
    for end in (ends.giver, ends.taker):
        end.rings.close()
        assert end.rings.statistics() == {"giving": 0, "taking": 0}
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_ring_is_offered_once_and_used_when_it_was_accepted(ends: Ends) -> None:
    rings, session = ends.giver.rings, ends.giver.session
    assert rings.to(session) is None and rings.to(session) is None
    said = ends.talk()
    assert [type(message) for message in said] == [m.OfferRing, m.RingPlace, m.RingHanded, m.RingTaken]
    assert rings.to(session) is rings.to(session) is not None
    assert (rings.statistics(), ends.taker.rings.statistics()) == (
        {"giving": 1, "taking": 0}, {"giving": 0, "taking": 1},
    )  # fmt: skip
    assert ends.giver.counters["rings given"] == ends.taker.counters["rings taken"] == 1


def test_what_lies_in_the_ring_becomes_the_message_it_would_have_been(ends: Ends) -> None:
    ring = ends.ring()
    said = ends.put(ring)
    assert ends.taker.rings.landed(ends.taker.session, said) == m.PutBlob(
        7, bytes(32), JOB, len(BIG), 0, memoryview(BIG), 60.0
    )
    answer = m.BlobData(7, bytes(32), len(BIG), 0, memoryview(b""), ends.put(ring).ring_at, len(BIG))
    landed = ends.taker.rings.landed(ends.taker.session, answer)
    assert landed == m.BlobData(7, bytes(32), len(BIG), 0, memoryview(BIG))
    assert ends.taker.counters["bytes beside"] == 2 * len(BIG)


def test_the_taker_tells_by_a_quarter_of_the_ring_what_it_took_and_who_waits_for_room_goes_on(ends: Ends) -> None:
    ring = ends.ring()
    ends.giver.had_room.clear()
    part = bytes(limits.RING_TOLD_BYTES // 2)
    ends.taker.rings.landed(ends.taker.session, ends.put(ring, part))
    assert ends.talk() == [] and ends.giver.had_room == []
    ends.taker.rings.landed(ends.taker.session, ends.put(ring, part))
    assert ends.talk() == [m.RingTaken(2)]
    assert ends.giver.had_room == [ends.giver.session]
    assert not ring._given


# --- without a ring ------------------------------------------------------------------------------------------------


def test_a_session_with_another_machine_has_none(ends: Ends) -> None:
    for end in (ends.giver, ends.taker):
        remote = end.session.remote
        end.session.remote = Remote(remote.id, remote.key, 1, 1, 0, 0, ("192.0.2.1", 4000), None)
    assert ends.giver.rings.to(ends.giver.session) is None
    assert ends.talk() == []
    assert ends.taker.rings.take(ends.taker.session, m.OfferRing())
    assert ends.talk() == []


def test_a_system_without_sealed_memory_neither_offers_nor_takes(unwired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "possible", lambda: False)
    ends = Ends(unwired)
    assert ends.giver.rings.to(ends.giver.session) is None
    assert ends.taker.rings.take(ends.taker.session, m.OfferRing())
    assert ends.talk() == []


def test_a_session_that_has_ended_gets_none(ends: Ends) -> None:
    ends.giver.session.close("lost")
    assert ends.giver.rings.to(ends.giver.session) is None
    assert ends.giver.rings.statistics()["giving"] == 0


def test_another_user_takes_none_and_is_not_asked_again(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    assert ends.giver.rings.to(ends.giver.session) is None
    assert [type(message) for message in ends.talk()] == [m.OfferRing, m.RingPlace, m.RingHanded]
    assert ends.taker.counters["rings refused"] == 1
    assert ends.taker.rings.statistics()["taking"] == 0
    ends.giver.loop.pass_time()
    assert ends.giver.rings.statistics()["giving"] == 0
    assert ends.giver.rings.to(ends.giver.session) is None
    assert ends.talk() == []


@pytest.mark.parametrize("end", ["Giving", "Place"])
def test_a_system_that_has_no_memory_or_socket_left_costs_the_ring_alone(
    end: str, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses() -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(f"p2pcpn.node.rings.{end}", refuses)
    for _ in range(2):
        assert ends.giver.rings.to(ends.giver.session) is None
    assert [type(message) for message in ends.talk()] == ([m.OfferRing] if end == "Place" else [])


def test_there_are_no_more_than_the_bound_says(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RINGS_MAX", 1)
    ends.ring()
    another = ends.unwired(Keypair(b"\4" * 32))
    assert ends.giver.rings.to(another) is None
    assert ends.taker.rings.take(another, m.OfferRing())
    assert another.sent == []


def test_a_place_to_which_nothing_was_sent_is_given_up(ends: Ends) -> None:
    rings, session = ends.taker.rings, ends.taker.session
    rings.take(session, m.OfferRing())
    assert rings.statistics()["taking"] == 1
    ends.taker.loop.pass_time()
    assert rings.statistics()["taking"] == 0
    rings.take(session, m.OfferRing())
    rings.take(session, m.RingHanded())
    assert (rings.statistics()["taking"], ends.taker.counters["rings refused"]) == (0, 1)


def test_offers_without_end_leave_nothing_that_waits(ends: Ends) -> None:
    for _ in range(100):
        ends.taker.rings.take(ends.taker.session, m.OfferRing())
        ends.taker.rings.take(ends.taker.session, m.RingGone())
    assert ends.taker.rings.statistics()["taking"] == 0
    assert all(handle.over for handle in ends.taker.loop.handles)


# --- what does not fit ---------------------------------------------------------------------------------------------


def test_a_second_ring_beside_one_session_is_refused(ends: Ends) -> None:
    ends.ring()
    with pytest.raises(PeerError, match="second ring"):
        ends.taker.rings.take(ends.taker.session, m.OfferRing())


def test_a_part_in_a_ring_that_is_not_there_is_refused(ends: Ends) -> None:
    said = m.PutBlob(7, bytes(32), JOB, 9, 0, memoryview(b""), 60.0, 0, 9)
    with pytest.raises(PeerError, match="not there"):
        ends.taker.rings.landed(ends.taker.session, said)
    ends.taker.rings.take(ends.taker.session, m.OfferRing())
    with pytest.raises(PeerError, match="not there"):
        ends.taker.rings.landed(ends.taker.session, said)


def test_a_part_that_is_in_two_places_is_refused(ends: Ends) -> None:
    ends.ring()
    with pytest.raises(PeerError):
        ends.taker.rings.landed(
            ends.taker.session, m.PutBlob(7, bytes(32), JOB, 9, 0, memoryview(b"x"), 60.0, 0, 9)
        )  # fmt: skip


def test_more_than_was_given_cannot_be_taken(ends: Ends) -> None:
    ends.ring()
    with pytest.raises(PeerError, match="more was taken"):
        ends.giver.rings.take(ends.giver.session, m.RingTaken(1))


def test_what_nobody_asked_for_does_nothing(ends: Ends) -> None:
    rings, session = ends.giver.rings, ends.giver.session
    place = Place()
    for message in (m.RingPlace(place.name, place.token), m.RingHanded(), m.RingTaken(5), m.RingGone()):
        assert rings.take(session, message)
    assert (rings.statistics(), session.sent) == ({"giving": 0, "taking": 0}, [])
    assert place.take() is None
    assert not rings.take(session, m.Goodbye("leaving"))


def test_an_acceptance_before_the_hand_over_is_none(ends: Ends) -> None:
    assert ends.giver.rings.to(ends.giver.session) is None
    ends.giver.rings.take(ends.giver.session, m.RingTaken(0))
    assert ends.giver.rings.to(ends.giver.session) is None


# --- ends ----------------------------------------------------------------------------------------------------------


def test_a_ring_that_nobody_uses_goes_and_comes_again(ends: Ends) -> None:
    ring = ends.ring()
    first = ends.put(ring)
    ends.giver.loop.pass_time()
    assert ends.giver.rings.to(ends.giver.session) is ring  # it was used
    ends.giver.loop.pass_time()
    assert ends.giver.rings.statistics()["giving"] == 0
    # What was said before is still there for its taker.
    landed = ends.taker.rings.landed(ends.taker.session, first)
    assert landed.data == BIG
    assert ends.talk() == [m.RingGone()]
    assert ends.taker.rings.statistics()["taking"] == 0
    assert ends.giver.had_room[-1] is ends.giver.session  # whoever waited for room goes on without it
    assert ends.ring() is not ring


def test_what_is_said_late_of_a_ring_that_went_is_not_taken_for_the_next(ends: Ends) -> None:
    ends.ring()
    ends.giver.loop.pass_time()
    ends.giver.loop.pass_time()
    assert ends.giver.rings.statistics()["giving"] == 0
    ends.giver.rings.take(ends.giver.session, m.RingTaken(3))
    assert ends.giver.rings.to(ends.giver.session) is None
    ends.giver.rings.take(ends.giver.session, m.RingTaken(3))
    assert ends.giver.rings.to(ends.giver.session) is None
    assert [type(message) for message in ends.talk()] == [
        m.RingGone, m.OfferRing, m.RingPlace, m.RingHanded, m.RingTaken,
    ]  # fmt: skip


def test_rings_go_with_their_session(ends: Ends) -> None:
    ends.ring()
    for end in (ends.giver, ends.taker):
        end.rings.gone(end.session)
        assert end.rings.statistics() == {"giving": 0, "taking": 0}
        end.loop.pass_time()  # nothing is left that rings
