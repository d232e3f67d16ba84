"""Our own advert: said at the start, when it changes, and before it lapses; never more often than that."""

from __future__ import annotations

from p2pcpn.limits import ADVERT_AGAIN_S
from p2pcpn.protocol.announcement import (
    ADVERT_AGAIN_S_PER_PEER,
    ADVERT_LIVES,
    ADVERT_RARER_MAX,
    ADVERT_WAIT_S,
    ADVERT_WAIT_S_PER_PEER,
    PUBLISH_S,
    PUBLISHED_LIVES,
    Announcement,
    Said,
)
from p2pcpn.protocol.setup import Setup
from p2pcpn.wire.statements import Advert, Role, opened
from tests.unit.protocol.leased import ME, ME_AT, STRANGER_AT, rules


def sample(load: float = 0.0) -> Advert:
    """What was found out about the computer; the rest is stated by the peer."""
    return Advert(
        contact=STRANGER_AT, boot=0, version=0, ttl_s=0.0, roles=0, cores=4, slots=9, slots_free=9,
        memory_bytes=1 << 33, memory_free_bytes=1 << 32, load=load, python="3.11", implementation="cpython",
        platform="linux-x86_64", runtimes=["function"], packages=["numpy"], accelerators=[], tags=[], position=None,
        rtt_ms=0.0, machine=7,
    )  # fmt: skip


class Peer:
    """What an announcement asks: ``free`` slots and a round trip."""

    def __init__(self) -> None:
        setup = Setup(
            keypair=ME, boot=3, contact=ME_AT, rules=rules(), slots=4, roles=Role.COMPUTE,
            network_group=lambda address: address,
        )  # fmt: skip
        self.free, self.rtt_s, self.known = 4, 0.002, 3
        self.announcement = Announcement(
            setup, ME_AT, slots_free=lambda: self.free, rtt_s=lambda: self.rtt_s or None, known=lambda: self.known
        )

    def say(self, now: float, load: float = 0.0, *, changed: bool) -> Said | None:
        """A sample comes."""
        return self.announcement.sampled(sample(load), now, changed=changed)


def test_nothing_is_said_before_the_first_sample() -> None:
    announcement = Peer().announcement
    assert announcement.deadline() is None
    assert announcement.expire(1e9) is None
    assert announcement.signed is None


def test_the_first_sample_is_said_at_once_signed_and_with_what_the_peer_knows() -> None:
    peer = Peer()
    peer.free = 1
    said = peer.say(100.0, 0.25, changed=False)
    assert said is not None
    advert = opened(said.signed, Advert)
    assert advert == said.advert
    assert (advert.version, advert.boot, advert.contact, advert.roles) == (1, 3, ME_AT, Role.COMPUTE)
    longest_s = ADVERT_LIVES * ADVERT_RARER_MAX * ADVERT_AGAIN_S
    assert (advert.slots, advert.slots_free, advert.ttl_s, advert.rtt_ms) == (4, 1, longest_s, 2.0)
    assert (advert.load, advert.packages, advert.machine) == (0.25, ["numpy"], 7)
    assert peer.announcement.load == 0.25
    assert peer.announcement.signed == said.signed


def test_another_number_of_slots_is_said_as_soon_as_adverts_may_be() -> None:
    peer = Peer()
    assert peer.announcement.resized(3, 0.0) is None  # nothing was sampled yet
    said = peer.say(0.0, changed=False)
    assert said is not None and said.advert.slots == 3
    assert peer.announcement.resized(2, 1.0) is None
    due = peer.announcement.deadline()
    assert due is not None and due <= 11.0
    said = peer.announcement.expire(due)
    assert said is not None and said.advert.slots == 2


def test_a_round_trip_that_nobody_measured_is_none() -> None:
    peer = Peer()
    peer.rtt_s = 0.0
    said = peer.say(0.0, changed=False)
    assert said is not None
    assert said.advert.rtt_ms == 0.0


def test_a_sample_that_changed_nothing_is_not_said() -> None:
    peer = Peer()
    peer.say(0.0, changed=True)
    assert peer.say(5.0, changed=False) is None
    assert peer.announcement.deadline() == ADVERT_AGAIN_S


def test_what_is_due_without_news_repeats_and_nothing_else_does() -> None:
    peer = Peer()
    said = [peer.say(0.0, changed=False)]
    for _ in range(2):
        due = peer.announcement.deadline()
        assert due is not None
        said.append(peer.announcement.expire(due))
    peer.free -= 1  # what runs differs
    due = peer.announcement.deadline()
    assert due is not None
    said.append(peer.announcement.expire(due))
    peer.say(due + 1.0, 0.9, changed=True)
    due = peer.announcement.deadline()
    assert due is not None
    said += [peer.announcement.expire(due), peer.announcement.restated(Role.COMPUTE | Role.HIDDEN, due + 1.0)]
    assert [it is not None and it.repeats for it in said] == [False, True, True, False, False, False]


def test_changes_are_said_ten_seconds_after_the_first_of_them_and_once() -> None:
    peer = Peer()
    peer.say(0.0, changed=True)
    assert peer.say(50.0, 0.5, changed=True) is None
    assert peer.say(55.0, 0.75, changed=True) is None
    due = peer.announcement.deadline()
    assert due == 50.0 + ADVERT_WAIT_S
    assert peer.announcement.expire(due - 0.1) is None
    said = peer.announcement.expire(due)
    assert said is not None
    assert (said.advert.version, said.advert.load, said.now) == (2, 0.75, due)
    assert peer.announcement.expire(due) is None


def test_where_many_are_known_each_tells_of_changes_more_rarely() -> None:
    peer = Peer()
    peer.say(0.0, changed=True)
    peer.known = 100
    peer.say(50.0, 0.5, changed=True)
    assert peer.announcement.deadline() == 50.0 + 100 * ADVERT_WAIT_S_PER_PEER
    peer.known = 10_000
    peer.say(60.0, 0.6, changed=True)
    assert peer.announcement.deadline() == 50.0 + 100 * ADVERT_WAIT_S_PER_PEER, "more peers put nothing off"
    peer.known = 2
    peer.say(70.0, 0.7, changed=True)
    assert peer.announcement.deadline() == 70.0 + ADVERT_WAIT_S


def test_however_many_are_known_an_advert_is_said_before_it_lapses() -> None:
    peer = Peer()
    peer.known = 100_000
    peer.say(0.0, changed=True)
    peer.say(10.0, 0.5, changed=True)
    lapses = ADVERT_LIVES * ADVERT_RARER_MAX * ADVERT_AGAIN_S
    assert peer.announcement.deadline() == ADVERT_RARER_MAX * ADVERT_AGAIN_S < lapses / 2


def test_what_has_not_changed_is_said_again_more_rarely_where_many_are_known_and_lives_as_much_longer() -> None:
    few, many = Peer(), Peer()
    few.known, many.known = 30, 200
    for peer, wait_s in ((few, ADVERT_AGAIN_S), (many, 200 * ADVERT_AGAIN_S_PER_PEER)):
        peer.say(0.0, changed=True)
        assert peer.announcement.deadline() == wait_s
        again = peer.announcement.expire(wait_s)
        assert again is not None and again.advert.version == 2
        assert (peer.announcement.deadline(), again.advert.ttl_s) == (2 * wait_s, ADVERT_LIVES * wait_s)


def test_who_said_the_first_when_it_knew_nobody_says_the_next_by_how_many_it_knows_then_unless_it_has_news() -> None:
    for news in (False, True):
        peer = Peer()
        said = peer.say(0.0, changed=True)
        assert said is not None
        peer.known = 200
        if news:
            peer.say(ADVERT_AGAIN_S - 1.0, 0.5, changed=True)
        again = peer.announcement.expire(ADVERT_AGAIN_S)
        assert (again is not None) == news
        if not news:
            assert peer.announcement.deadline() == 200 * ADVERT_AGAIN_S_PER_PEER < said.advert.ttl_s
            assert peer.announcement.expire(200 * ADVERT_AGAIN_S_PER_PEER) is not None


def test_an_advert_is_said_again_long_before_it_lapses() -> None:
    peer = Peer()
    peer.say(0.0, changed=True)
    said = peer.announcement.expire(ADVERT_AGAIN_S)
    assert said is not None
    assert said.advert.version == 2
    assert ADVERT_LIVES > 2, "one that gets lost is made good by the next"


def test_other_roles_are_said_at_once_and_from_then_on() -> None:
    peer = Peer()
    assert peer.announcement.restated(Role.HIDDEN, 0.0) is None, "nothing was sampled yet"
    said = peer.say(1.0, changed=True)
    assert said is not None and said.advert.roles == Role.HIDDEN
    said = peer.announcement.restated(Role.COMPUTE | Role.HIDDEN, 2.0)
    assert said is not None
    assert (said.advert.version, said.advert.roles) == (2, Role.COMPUTE | Role.HIDDEN)
    said = peer.announcement.expire(2.0 + ADVERT_AGAIN_S)
    assert said is not None and said.advert.roles == Role.COMPUTE | Role.HIDDEN


def test_the_dht_is_given_the_first_version_then_one_each_half_hour_and_what_lasts_at_once() -> None:
    peer = Peer()
    first = peer.say(0.0, changed=True)
    assert first is not None and first.published_s == PUBLISHED_LIVES * PUBLISH_S
    peer.say(20.0, 0.75, changed=True)
    busier = peer.announcement.expire(40.0)
    assert busier is not None and busier.advert.load == 0.75 and busier.published_s == 0.0
    peer.announcement.resized(9, 50.0)
    larger = peer.announcement.expire(70.0)
    assert larger is not None and larger.published_s > 0.0
    again = [said for at in range(100, 3600, 100) if (said := peer.announcement.expire(float(at)))]
    assert len(again) > 10 and [said.now for said in again if said.published_s] == [1900.0]
