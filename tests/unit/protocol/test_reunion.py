"""Reunion: whom nobody talks to any more is asked, ever more rarely, and strangers make two parts one."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from p2pcpn import limits
from p2pcpn.protocol.dht import Dht
from p2pcpn.protocol.effects import Effect, Send
from p2pcpn.protocol.neighbourhood import Neighbourhood
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.protocol.reunion import (
    ASKED_MAX,
    ASKED_PER_ANSWER,
    CUT_SHARE,
    LOST_S,
    REUNION_PEERS,
    REUNION_S,
    REUNION_S_MAX,
    Reunion,
)
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import Ack, Find, Nodes

OWN = bytes([128]) + bytes(19)


def peer(number: int) -> Contact:
    return contact(random.Random(number).randbytes(20), (f"10.0.{number >> 8}.{number & 255}", 4000))


class Bench:
    """A reunion beside a table and a neighbourhood; time goes from deadline to deadline."""

    def __init__(self, bootstraps: tuple[Contact, ...] = ()) -> None:
        trips, rng = RoundTrips(), random.Random(1)
        self.dht = Dht(OWN, rng, lambda address: address, trips, 0.0)
        self.dht.bootstrap(bootstraps, 0.0)
        self.hood = Neighbourhood(OWN, trips, rng)
        self.reunion = Reunion(self.dht, self.hood, trips, rng, 0.0)
        self.now = 0.0

    def run(self, for_s: float) -> list[tuple[float, Contact]]:
        """Whom it asks for the first time within ``for_s``, and when."""
        until, asked, nonces = self.now + for_s, [], set()
        while (due := self.reunion.deadline()) <= until:
            self.now = due
            for send in sends(self.reunion.expire(due)):
                assert isinstance(send.message, Find) and send.message.target == OWN
                if send.message.nonce not in nonces:
                    nonces.add(send.message.nonce)
                    asked.append((self.now, send.to))
        self.now = until
        return asked


def sends(effects: list[Effect]) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send)]


def test_bootstraps_that_are_not_known_are_asked_in_turn_and_ever_more_rarely() -> None:
    one, two = (contact(ANYBODY, (f"10.0.0.{n}", 4000)) for n in (1, 2))
    asked = Bench((one, two)).run(1000.0)
    assert [to for _, to in asked[:4]] == [one, two, one, two]
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(asked)]
    assert gaps[0] < 1.3 * REUNION_S and gaps == sorted(gaps) and gaps[-1] <= 1.2 * REUNION_S_MAX


def test_among_many_bootstraps_are_asked_more_rarely_until_a_share_of_the_neighbours_is_lost() -> None:
    bench = Bench((contact(ANYBODY, ("10.0.0.1", 4000)),))
    for number in range(4 * REUNION_PEERS):
        bench.hood.heard(peer(1000 + number), 0.0)
    asked = bench.run(5000.0)
    assert asked[-1][0] - asked[-2][0] == pytest.approx(3.0 * REUNION_S_MAX * (0.8 + OWN[0] / 640))
    pause_s = bench.reunion.deadline() - bench.now
    for number in range(len(bench.hood) // CUT_SHARE):
        assert bench.reunion.deadline() == bench.now + pause_s, "one who dies among many is no cut"
        bench.reunion.lost(peer(number), bench.now)
    asked = bench.run(1000.0)
    rounds = sorted({at for at, _ in asked})
    assert rounds[0] - 5000.0 <= 1.2 * REUNION_S and rounds[1] - rounds[0] <= 1.2 * REUNION_S_MAX


def test_who_is_known_is_not_looked_for() -> None:
    known = peer(1)
    bench = Bench((contact(ANYBODY, known.address), contact(ANYBODY, peer(2).address)))
    bench.dht.heard(known, 0.0)
    bench.hood.heard(peer(2), 0.0)
    assert bench.run(500.0) == []


def test_the_lost_are_asked_in_turn_for_a_day() -> None:
    bench = Bench()
    for number in (1, 2):
        bench.reunion.lost(peer(number), 0.0)
    assert bench.reunion.statistics() == {"lost": 2, "met": 0}
    assert {to for _, to in bench.run(100.0)} == {peer(1), peer(2)}
    bench.hood.heard(peer(2), bench.now)  # it is back
    assert {to for _, to in bench.run(1000.0)} == {peer(1)}
    bench.now = LOST_S + 1.0
    bench.run(300.0)
    assert bench.run(3000.0) == [] and bench.reunion.statistics()["lost"] == 0


def test_a_loss_is_looked_for_soon_however_long_all_was_well() -> None:
    bench = Bench()
    bench.run(5000.0)
    bench.reunion.lost(peer(1), bench.now)
    ((_, to),) = bench.run(1.2 * REUNION_S)
    assert to == peer(1)


def test_no_more_lost_peers_are_remembered_than_may_be(monkeypatch: object) -> None:
    bench = Bench()
    for number in range(limits.LOST_PEERS_MAX + 20):
        bench.reunion.lost(peer(number), 0.0)
    assert bench.reunion.statistics()["lost"] == limits.LOST_PEERS_MAX


def nearest_first(peers: list[Contact]) -> list[Contact]:
    return sorted(peers, key=lambda it: distance(it.id, OWN))


def met(bench: Bench, named: list[Contact]) -> list[Send]:
    """A bootstrap answers and names ``named``: whom that makes us ask."""
    bench.now = bench.reunion.deadline()
    (asked,) = sends(bench.reunion.expire(bench.now))
    assert isinstance(asked.message, Find)
    return sends(bench.reunion.receive(peer(999), Nodes(asked.message.nonce, nearest_first(named)), bench.now))


def test_strangers_are_asked_nearest_first_until_our_neighbours_over_there_know_us() -> None:
    bench = Bench((contact(ANYBODY, peer(999).address),))
    strangers = [peer(number) for number in range(20)]
    first = met(bench, strangers)
    assert [send.to for send in first] == nearest_first(strangers)[:ASKED_PER_ANSWER]
    assert bench.reunion.statistics()["met"] == 1
    asked = {send.to for send in first}
    for send in first:  # each names strangers of its own; there is an end to that
        more = nearest_first([peer(1000 + 20 * len(asked) + n) for n in range(20)])
        assert isinstance(send.message, Find)
        asked |= {s.to for s in sends(bench.reunion.receive(send.to, Nodes(send.message.nonce, more), bench.now))}
    assert len(asked) == ASKED_MAX - 1


def test_who_names_peers_that_we_know_is_of_our_own_part() -> None:
    bench = Bench((contact(ANYBODY, peer(999).address),))
    known = [peer(number) for number in range(4)]
    for it in known:
        bench.dht.heard(it, 0.0)
    assert met(bench, [*known, peer(50), peer(51)]) == []
    assert bench.reunion.statistics()["met"] == 0


def test_a_bootstrap_that_lies_makes_us_knock_at_no_door() -> None:
    bench = Bench((contact(ANYBODY, peer(999).address),))
    assert met(bench, [contact(peer(n).id, ("127.0.0.1", 22 + n)) for n in range(20)]) == []
    bench = Bench((contact(ANYBODY, peer(999).address),))
    bench.now = bench.reunion.deadline()
    (asked,) = sends(bench.reunion.expire(bench.now))
    assert isinstance(asked.message, Find)
    twice = [peer(1), peer(1)]
    assert sends(bench.reunion.receive(peer(999), Nodes(asked.message.nonce, twice), bench.now)) == []


def test_what_others_say_of_other_things_is_not_ours() -> None:
    bench = Bench()
    assert bench.reunion.receive(peer(1), Ack(1, 0), 0.0) == []
    assert bench.reunion.receive(peer(1), Nodes(77, [peer(2)]), 0.0) == []
