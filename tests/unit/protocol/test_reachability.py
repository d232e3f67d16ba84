"""Reachability: two of three strangers decide, whoever lies or loses; and who knows too few never changes its mind."""

from __future__ import annotations

import random
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Heard, Send
from p2pcpn.protocol.reachability import Reach, Reachability, Reached
from p2pcpn.wire.addresses import Address, Contact, contact
from p2pcpn.wire.datagrams import DialBack, DialedBack, Knock

ME = contact(bytes(20), ("10.0.0.1", 4000))
SEEN: Address = ("198.51.100.1", 4000)
GOOD, NO_KNOCK, MISSED, BUSY, SILENT = "good", "no knock", "missed", "busy", "silent"


def group(address: Address) -> Hashable:
    return address[0].rpartition(".")[0]


def peer(number: int, network: int | None = None) -> Contact:
    return contact(bytes([number]) * 20, (f"192.0.{number if network is None else network}.1", 4000))


class Asker:
    """A peer that asks; ``says`` is what each helper will say, in the order they are asked."""

    def __init__(self, known: int = 5, *, watching: bool = True) -> None:
        self.known = [peer(number) for number in range(1, known + 1)]
        self.seen: Address | None = SEEN
        self.machine = Reachability(
            ME, group, lambda: list(self.known), lambda: self.seen, random.Random(1), 0.0, watching=watching
        )
        self.news: list[object] = []
        self.asked: list[tuple[float, Contact]] = []

    def wait(self) -> tuple[float, list[tuple[Contact, int]]]:
        """The next deadline is met: when, and who is asked what."""
        now = self.machine.deadline()
        assert now is not None
        effects = self.machine.expire(now)
        self.note(effects)
        sent = [(e.to, e.message.nonce) for e in effects if isinstance(e, Send) and isinstance(e.message, DialBack)]
        return now, sent

    def note(self, effects: list[Effect]) -> None:
        self.news += [e.value for e in effects if isinstance(e, Heard)]

    def round(self, *says: str) -> float:
        """A whole round: who is asked says so. When it began."""
        began, sent = self.wait()
        assert sent
        self.asked += [(began, to) for to, _ in sent]
        for (helper, nonce), word in zip(sent, says, strict=True):
            if word == GOOD:
                self.note(self.machine.receive(helper, Knock(nonce), began + 0.1))
            if word != SILENT:
                code = {BUSY: DialedBack.BUSY, MISSED: DialedBack.MISSED}.get(word, DialedBack.REACHED)
                self.note(self.machine.receive(helper, DialedBack(nonce, code), began + 0.2))
        while self.machine.statistics()["asked"]:
            self.wait()
        return began


@pytest.mark.parametrize(
    ("says", "reach"),
    [
        ((GOOD, GOOD, GOOD), Reach.REACHABLE),
        ((GOOD, MISSED, GOOD), Reach.REACHABLE),
        ((GOOD, SILENT, GOOD), Reach.REACHABLE),
        ((MISSED, MISSED, GOOD), Reach.HIDDEN),
        ((NO_KNOCK, NO_KNOCK, NO_KNOCK), Reach.HIDDEN),
        ((NO_KNOCK, MISSED, SILENT), Reach.HIDDEN),
        ((GOOD, MISSED, SILENT), Reach.ASSUMED),
        ((BUSY, BUSY, MISSED), Reach.ASSUMED),
        ((SILENT, SILENT, SILENT), Reach.ASSUMED),
    ],
)
def test_two_that_agree_decide(says: tuple[str, ...], reach: Reach) -> None:
    asker = Asker()
    asker.round(*says)
    assert asker.machine.reach is reach
    assert asker.news == ([Reached(True)] if reach is Reach.HIDDEN else [])
    assert asker.machine.hidden == (reach is Reach.HIDDEN)


def test_the_first_are_asked_soon_and_the_next_in_a_quarter_of_an_hour_to_an_hour() -> None:
    asker = Asker()
    assert asker.round(GOOD, GOOD, GOOD) == limits.REACH_FIRST_S
    due_s = asker.machine.deadline()
    assert due_s is not None
    assert limits.REACH_EVERY_S <= due_s - limits.REACH_FIRST_S <= limits.REACH_EVERY_S_MAX + 1


def test_what_is_found_is_news_once_and_what_does_not_decide_changes_nothing() -> None:
    asker = Asker()
    asker.round(MISSED, MISSED, MISSED)
    asker.round(MISSED, MISSED, MISSED)
    began = asker.round(GOOD, MISSED, BUSY)
    assert asker.news == [Reached(True)]
    again = asker.round(GOOD, GOOD, GOOD)
    assert limits.REACH_AGAIN_S <= again - began <= limits.REACH_AGAIN_S_MAX + limits.REACH_ROUND_S
    assert asker.news == [Reached(True), Reached(False)]
    asker.round(GOOD, GOOD, MISSED)
    assert asker.news == [Reached(True), Reached(False)]


def test_three_of_three_networks_are_asked_and_none_of_our_own() -> None:
    asker = Asker(0)
    asker.known = [peer(1), peer(2, 1), peer(3, 1), peer(4), peer(5), peer(6)]
    asker.known += [contact(bytes([9]) * 20, ("198.51.100.9", 1)), contact(bytes([8]) * 20, ("10.0.0.8", 1))]
    for _ in range(20):
        asker.round(GOOD, GOOD, GOOD)
    for number in range(20):
        groups = [group(to.address) for _, to in asker.asked[3 * number : 3 * number + 3]]
        assert len(set(groups)) == 3
        assert not {"198.51.100", "10.0.0"} & set(groups)


@pytest.mark.parametrize("known", [0, 1])
def test_who_knows_one_other_network_asks_nobody_and_stays_as_it_is(known: int) -> None:
    asker = Asker(known)
    for _ in range(50):
        _, sent = asker.wait()
        assert sent == []
    assert asker.machine.reach is Reach.ASSUMED
    assert asker.news == []


def test_who_does_not_know_its_own_address_asks_nobody() -> None:
    asker = Asker()
    asker.seen = None
    assert asker.wait()[1] == []


def test_who_does_not_watch_has_nothing_to_do_ever() -> None:
    asker = Asker(watching=False)
    asker.machine.check(0.0)
    asker.machine.greeted(1.0)
    assert asker.machine.deadline() is None
    assert asker.machine.expire(1e6) == []


def test_another_address_is_checked_at_once_but_not_more_than_once_a_minute() -> None:
    asker = Asker()
    asker.machine.greeted(1.0)
    assert asker.machine.deadline() == limits.REACH_FIRST_S, "nothing was found out yet"
    began = asker.round(GOOD, GOOD, GOOD)
    asker.machine.greeted(began + 1)
    assert asker.machine.deadline() != began + limits.DIAL_BACK_WAIT_S, "it is the same address"
    asker.seen = ("203.0.113.1", 4000)
    asker.machine.greeted(began + 1)
    assert asker.machine.deadline() == began + limits.DIAL_BACK_WAIT_S
    began = asker.round(GOOD, GOOD, GOOD)
    asker.seen = SEEN
    asker.machine.greeted(began + 500)
    assert asker.machine.deadline() == began + 500


def test_what_is_not_answered_is_asked_once_more_of_those_who_did_not() -> None:
    asker = Asker()
    began, sent = asker.wait()
    (first, nonce), *others = sent
    assert asker.machine.receive(first, DialedBack(nonce, DialedBack.MISSED), began + 1) == []
    now, repeated = asker.wait()
    assert (now, repeated) == (began + limits.REACH_REPEAT_S, others)
    now, repeated = asker.wait()
    assert (now, repeated) == (began + limits.REACH_ROUND_S, [])
    assert asker.machine.statistics() == {"rounds": 1, "asked": 0, "hidden": 0}


def test_words_that_nobody_asked_for_are_ignored() -> None:
    asker = Asker()
    began, sent = asker.wait()
    for helper, nonce in sent:
        assert asker.machine.receive(helper, DialedBack(nonce + 1, DialedBack.MISSED), began) == []
        assert asker.machine.receive(peer(77), DialedBack(nonce, DialedBack.MISSED), began) == []
        assert asker.machine.receive(peer(77), Knock(nonce), began) == []
    assert asker.machine.statistics()["asked"] == 3
    first, nonce = sent[0]
    asker.machine.receive(first, DialedBack(nonce, DialedBack.BUSY), began)
    asker.machine.receive(first, DialedBack(nonce, DialedBack.MISSED), began)
    second, other = sent[1]
    asker.machine.receive(second, DialedBack(other, DialedBack.MISSED), began)
    while asker.machine.statistics()["asked"]:
        asker.wait()
    assert asker.machine.reach is Reach.ASSUMED, "who said two things is believed in the first"


@given(st.lists(st.lists(st.sampled_from((GOOD, MISSED, BUSY, SILENT, NO_KNOCK)), min_size=3, max_size=3), max_size=12))
def test_no_single_helper_decides_and_every_news_is_a_change(rounds: list[list[str]]) -> None:
    asker = Asker()
    hidden = False
    for says in rounds:
        before = len(asker.news)
        asker.round(*says)
        if len(asker.news) > before:
            [news] = asker.news[before:]
            assert isinstance(news, Reached)
            assert news.hidden is not hidden
            hidden = news.hidden
            against = says.count(MISSED) + says.count(NO_KNOCK)
            assert (against if hidden else says.count(GOOD)) >= 2
        assert asker.machine.hidden is hidden
