"""Offers: the nearest idle peers speak first, busy ones wait, and everyone can say why."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.effects import Effect, Send
from p2pcpn.protocol.offers import BUSY_WAIT_S, DECLINED_S, TRIES_MAX, Capacity, Offers
from p2pcpn.wire.datagrams import ClaimReply, ClaimRequest
from p2pcpn.wire.statements import Claim, Offer, opened
from tests.unit.protocol.leased import (
    GRANTOR_AT,
    ME,
    ME_AT,
    OWNER,
    STEWARDS_AT,
    STRANGER,
    STRANGER_AT,
    at,
    keypair,
    rules,
)  # fmt: skip

JOB = bytes([9]) * 20


def offer(number: int = 1, **options: Any) -> Offer:
    fields: dict[str, Any] = {
        "job": JOB, "owner": OWNER.public, "epoch": 0, "grantor": GRANTOR_AT, "number": number, "runtime": "function",
        "python": "3.11", "requires": [], "memory_bytes": 0, "waiting": 10, "slots_wanted": 2, "ttl_s": 10.0,
    }  # fmt: skip
    return Offer(**{**fields, **options})


@dataclass
class Hall:
    """A peer that hears offers."""

    capacity: Capacity = field(default_factory=lambda: Capacity(2, 0, 0, 0.0))
    rtt_s: float = 0.01
    rules: Rules = field(default_factory=rules)
    seed: int = 1
    now: float = 50.0

    def __post_init__(self) -> None:
        self.offers = Offers(
            me=ME, contact=lambda: ME_AT, boot=7, rules=self.rules, capacity=lambda: self.capacity,
            rtt_s=lambda node: self.rtt_s, rng=random.Random(self.seed),
        )  # fmt: skip

    def hear(self, said: Offer) -> None:
        assert self.offers.heard(said, self.now) == []

    def wait(self, seconds: float) -> list[ClaimRequest]:
        until, found = self.now + seconds, list[Effect]()
        while (due := self.offers.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            found += self.offers.expire(self.now)
        self.now = until
        sends = [effect for effect in found if isinstance(effect, Send)]
        assert len(sends) == len(found)
        return [send.message for send in sends if isinstance(send.message, ClaimRequest)]

    def reply(self, request: ClaimRequest, verdict: int, sender: Any = GRANTOR_AT) -> None:
        assert self.offers.replied(sender, ClaimReply(request.nonce, verdict), self.now) == []

    def explain(self) -> tuple[str, str]:
        return self.offers.explain(JOB)


def waits(capacity: Capacity, rtt_s: float, seed: int = 1) -> float:
    hall = Hall(capacity, rtt_s, seed=seed)
    hall.hear(offer())
    due = hall.offers.deadline()
    assert due is not None
    return due - hall.now


def test_a_claim_says_what_this_peer_gives() -> None:
    hall = Hall(Capacity(2, 1, 0, 0.25))
    hall.hear(offer(3))
    assert hall.explain() == ("waiting", "is about to claim")
    (request,) = hall.wait(0.3)
    claim = opened(request.claim, Claim)
    assert claim == Claim(JOB, 0, GRANTOR_AT.id, 3, ME_AT, 7, 2, 0.25, 10.0)
    assert request.claim.key == ME.public
    assert hall.explain() == ("claimed", "has claimed")


def test_the_nearest_and_the_idle_speak_first() -> None:
    idle, full = Capacity(2, 0, 0, 0.0), Capacity(2, 2, 0, 1.0)
    for seed in range(20):
        assert waits(idle, 0.001, seed) < waits(idle, 0.05, seed + 100) < waits(full, 0.001, seed)
        assert waits(full, 0.001, seed) <= 0.51


@pytest.mark.parametrize(
    ("verdict", "code", "text"),
    [
        (0, "claimed", "takes part"),
        (1, "claimed", "stands by"),
        (2, "waiting", "is not needed"),
        (3, "waiting", "over"),
    ],
)
def test_a_verdict_ends_the_claim(verdict: int, code: str, text: str) -> None:
    hall = Hall()
    hall.hear(offer())
    (request,) = hall.wait(0.1)
    hall.reply(request, verdict, STRANGER_AT)
    assert hall.explain() == ("claimed", "has claimed")  # not his to say
    hall.reply(request, verdict)
    found = hall.explain()
    assert found[0] == code and text in found[1]
    assert hall.wait(60.0) == [] and hall.offers.deadline() is None
    hall.reply(request, 0)
    assert hall.explain() == found


def test_a_grantor_that_does_not_answer_is_asked_again_and_then_given_up() -> None:
    hall = Hall()
    hall.hear(offer())
    requests = hall.wait(20.0)
    assert len(requests) == TRIES_MAX and len({request.nonce for request in requests}) == 1
    assert hall.explain() == ("waiting", "the grantor does not answer")
    assert hall.offers._nonces == {}
    hall.hear(offer(2))
    assert len(hall.wait(0.1)) == 1


def test_a_reply_that_took_longer_than_a_try_counts() -> None:
    hall = Hall()
    hall.hear(offer())
    first = hall.wait(0.1)[0]
    assert len(set(claims(hall.wait(0.5)))) == 1, "the other one"
    hall.reply(first, 0)
    assert hall.explain() == ("claimed", "takes part")


def test_a_busy_peer_looks_again_until_the_offer_lapses() -> None:
    hall = Hall(Capacity(2, 2, 5, 0.0))
    hall.hear(offer())
    assert hall.wait(5.0) == []
    assert hall.explain() == ("busy", "is busy: 2 tasks run and 5 wait here")
    hall.capacity = Capacity(2, 1, 0, 0.0)
    assert len(hall.wait(0.26)) == 1
    lapsed = Hall(Capacity(2, 2, 5, 0.0))
    lapsed.hear(offer())
    lapsed.wait(11.0)
    assert lapsed.explain() == ("waiting", "was busy until the offer lapsed") and lapsed.offers.deadline() is None


def test_a_decline_is_explained_and_looked_at_again_with_the_next_offer() -> None:
    hall = Hall()
    hall.hear(offer(python="3.9"))
    assert hall.explain() == ("declined", "runs Python 3.11; the job needs Python 3.9")
    assert hall.wait(5.0) == []
    hall.hear(offer(2))
    assert len(hall.wait(0.1)) == 1


def test_what_the_spec_showed_stands_for_a_while() -> None:
    hall = Hall()
    hall.hear(offer())
    (request,) = hall.wait(0.1)
    hall.offers.decline(JOB, "lacks the package numpy")
    hall.reply(request, 0)
    hall.hear(offer(2))
    assert hall.wait(1.0) == [] and hall.explain() == ("declined", "lacks the package numpy")
    hall.now += DECLINED_S
    hall.hear(offer(3))
    assert len(hall.wait(0.1)) == 1


def test_newer_offers_supersede_older_ones_and_old_ones_are_passed_over() -> None:
    hall = Hall()
    hall.hear(offer(5))
    hall.hear(offer(4))
    hall.hear(offer(6))
    (request,) = hall.wait(0.1)
    assert opened(request.claim, Claim).number == 6
    hall.reply(request, 1)
    hall.hear(offer(6))
    assert hall.wait(1.0) == []
    hall.hear(offer(7))  # standing by: the grantor wants more
    assert len(hall.wait(0.1)) == 1


def test_who_takes_part_claims_again_only_in_a_new_epoch() -> None:
    hall = Hall()
    hall.hear(offer())
    hall.reply(hall.wait(0.1)[0], 0)
    hall.hear(offer(2))
    assert hall.wait(1.0) == []
    hall.hear(offer(1, epoch=1))
    assert opened(hall.wait(0.1)[0].claim, Claim).epoch == 1


def test_a_lost_session_makes_it_claim_again() -> None:
    hall = Hall()
    hall.hear(offer())
    hall.reply(hall.wait(0.1)[0], 0)
    hall.offers.session_closed(NodeId(STRANGER_AT.id))
    assert hall.explain()[0] == "claimed"
    hall.offers.session_closed(NodeId(GRANTOR_AT.id))
    assert hall.explain() == ("waiting", "lost its session with the grantor")
    hall.hear(offer(2))
    assert len(hall.wait(0.1)) == 1


def test_nobody_pushes_anothers_offer_of_a_job_aside() -> None:
    hall = Hall()
    hall.hear(offer(1 << 31, epoch=9, grantor=STRANGER_AT, python="3.9"))
    hall.hear(offer(1))
    (request,) = hall.wait(0.1)
    hall.reply(request, 0)
    assert hall.explain() == ("claimed", "takes part")
    hall.hear(offer(1, epoch=1, grantor=STEWARDS_AT[0]))
    assert len(hall.wait(0.1)) == 1


def test_a_flood_of_offers_is_bounded_and_forgets_idle_ones_first() -> None:
    hall = Hall()
    hall.hear(offer())
    hall.reply(hall.wait(0.1)[0], 0)
    for number in range(limits.OFFERS_MAX + 50):
        hall.hear(offer(job=number.to_bytes(20, "big"), grantor=STRANGER_AT))
    assert len(hall.offers.interests) == limits.OFFERS_MAX
    assert hall.explain() == ("claimed", "takes part")
    assert hall.offers.explain((0).to_bytes(20, "big")) == ("unseen", "has heard no offer of this job")


def test_who_has_worked_for_a_thousand_jobs_of_one_grantor_claims_the_next_one() -> None:
    hall = Hall()
    for number in range(limits.OFFERS_MAX + 5):
        hall.hear(offer(job=number.to_bytes(20, "big")))
        [request] = hall.wait(0.1)
        hall.reply(request, 0)
    assert len(hall.offers.interests) == limits.OFFERS_MAX
    assert hall.offers.explain((0).to_bytes(20, "big"))[0] == "unseen"


def test_a_grantors_own_slots_claim_too() -> None:
    hall = Hall()
    hall.hear(offer(grantor=ME_AT))
    assert len(hall.wait(0.1)) == 1


def test_a_peer_that_leaves_claims_nothing() -> None:
    hall = Hall()
    hall.hear(offer())
    hall.offers.leaving = True
    assert hall.wait(1.0) == [] and hall.explain() == ("waiting", "is leaving the swarm")
    hall.hear(offer(2))
    assert hall.wait(1.0) == []


def test_a_peer_that_gives_no_slots_claims_nothing() -> None:
    hall = Hall(Capacity(0, 0, 0, 0.0))
    hall.hear(offer())
    assert hall.wait(5.0) == [] and hall.explain() == ("waiting", "gives no slots now")


def test_who_is_owed_a_part_of_a_busy_peer_is_not_kept_waiting_for_others() -> None:
    hall = Hall(Capacity(2, 2, 5, 1.0))
    asked: list[tuple[bytes, int]] = []
    hall.offers.sated = lambda owner, priority: bool(asked.append((owner, priority)))
    hall.hear(offer(priority=3))
    assert hall.wait(1.0) and asked[0] == (OWNER.public, 3)


# --- lots of one job --------------------------------------------------------------------------------------------------

ONE = {"epoch": 1, "grantor": STEWARDS_AT[0], "lot": 0}
TWO = {"epoch": 2, "grantor": STEWARDS_AT[1], "lot": 1}


def claims(requests: list[ClaimRequest]) -> list[int]:
    return [opened(request.claim, Claim).epoch for request in requests]


def test_lots_of_one_job_are_claimed_one_after_the_other() -> None:
    hall = Hall(rtt_s=0.1)
    hall.hear(offer(**ONE))
    hall.hear(offer(**TWO))
    (first,) = hall.wait(0.2)
    mine, other = (ONE, TWO) if claims([first]) == [1] else (TWO, ONE)
    assert hall.explain()[1] == "has claimed"
    hall.reply(first, 0, mine["grantor"])
    assert hall.wait(0.7) == [], "its first lease is on its way"
    assert claims(hall.wait(0.2)) == [other["epoch"]], "and does not come"


def test_who_is_not_answered_soon_claims_the_next_lot_and_comes_back_only_if_that_is_no_better() -> None:
    hall = Hall(rtt_s=0.02)
    hall.hear(offer(**ONE))
    hall.hear(offer(**TWO))
    (first,) = hall.wait(0.04)
    mine, other = (ONE, TWO) if claims([first]) == [1] else (TWO, ONE)
    (second,) = {request.nonce: request for request in hall.wait(0.4) if request.nonce != first.nonce}.values()
    assert claims([second]) == [other["epoch"]], "a greeting and a claim take five round trips and a moment"
    hall.reply(second, 0, other["grantor"])
    hall.capacity = Capacity(2, 2, 2, 0.5)
    assert hall.wait(3.0) == [], "the first one is asked no more by who has enough to do"
    hall.reply(first, 0, mine["grantor"])
    assert [known.state for known in hall.offers.interests.values()] == ["taken", "taken"], "though its word counts"


def test_a_lot_that_gave_way_is_claimed_again_where_the_other_is_not_to_be_had() -> None:
    hall = Hall(rtt_s=0.02)
    hall.hear(offer(**ONE))
    hall.hear(offer(**TWO))
    (first,) = hall.wait(0.04)
    (second,) = {request.nonce: request for request in hall.wait(0.4) if request.nonce != first.nonce}.values()
    hall.reply(second, 2, STEWARDS_AT[claims([second])[0] - 1])
    assert claims(hall.wait(0.5)) == claims([first])


@pytest.mark.parametrize("queued", [0, 2])
def test_who_is_kept_busy_by_one_lot_claims_no_other(queued: int) -> None:
    hall = Hall(rtt_s=0.1)
    hall.hear(offer(**ONE))
    hall.hear(offer(**TWO))
    (first,) = hall.wait(0.2)
    hall.reply(first, 0, STEWARDS_AT[claims([first])[0] - 1])
    hall.capacity = Capacity(2, 2, queued, 0.5)
    assert hall.wait(5.0) == []
    hall.capacity = Capacity(2, 0, 0, 0.0)
    assert len(set(claims(hall.wait(0.5)))) == 1, "the other one"


def test_who_is_kept_busy_by_one_lot_helps_another_that_is_much_worse_off_and_goes_on_calling() -> None:
    hall = Hall(rtt_s=0.01)
    hall.hear(offer(**ONE))
    hall.hear(offer(**TWO))
    (first,) = hall.wait(0.1)
    mine, other = (ONE, TWO) if claims([first]) == [1] else (TWO, ONE)
    hall.reply(first, 0, mine["grantor"])
    hall.capacity = Capacity(2, 2, 0, 0.0)
    hall.wait(0.4)
    hall.hear(offer(2, **mine, waiting=100, slots_filled=20))
    hall.hear(offer(2, **other, waiting=100, slots_filled=10))
    assert hall.wait(0.7) == [], "others may be on their way"
    hall.hear(offer(3, **other, waiting=90, slots_filled=10))
    assert hall.wait(0.9) == [], "nine tasks a slot are not twice as many as five"
    hall.hear(offer(4, **other, waiting=100, slots_filled=10))
    assert claims(hall.wait(0.9)) == [other["epoch"]]


def test_a_lot_that_calls_no_more_while_it_keeps_us_busy_has_less_to_do() -> None:
    hall = Hall(rtt_s=0.01)
    hall.hear(offer(**ONE, waiting=1000))
    hall.hear(offer(**TWO, waiting=1000))
    (first,) = hall.wait(0.1)
    mine, other = (ONE, TWO) if claims([first]) == [1] else (TWO, ONE)
    hall.reply(first, 0, mine["grantor"])
    hall.capacity = Capacity(2, 2, 0, 0.0)
    hall.wait(9.0)
    hall.hear(offer(2, **other, waiting=10))
    assert hall.wait(0.5) == []
    assert set(claims(hall.wait(2.0))) == {other["epoch"]}, "the first offer has lapsed"


def test_whoever_took_a_lot_over_is_claimed_at_once_though_what_its_grantor_gave_runs() -> None:
    hall = Hall(rtt_s=0.1)
    hall.hear(offer(**ONE))
    (first,) = hall.wait(0.2)
    hall.reply(first, 0, ONE["grantor"])
    hall.capacity = Capacity(2, 2, 0, 0.0)
    hall.hear(offer(epoch=6, grantor=STEWARDS_AT[1], lot=0))
    assert claims(hall.wait(0.5)) == [6]


def test_what_is_offered_beside_a_lot_that_keeps_us_busy_lapses() -> None:
    hall = Hall(rtt_s=0.1)
    hall.hear(offer(**ONE))
    hall.hear(offer(**TWO))
    (first,) = hall.wait(0.2)
    hall.reply(first, 0, STEWARDS_AT[claims([first])[0] - 1])
    hall.capacity = Capacity(2, 2, 0, 0.5)
    assert hall.wait(30.0) == [] and hall.offers.deadline() is None
    assert sorted(known.text for known in hall.offers.interests.values()) == [
        "ran another lot of it until the offer lapsed", "takes part",
    ]  # fmt: skip


def test_whose_claim_is_not_wanted_claims_the_next_lot_at_once_and_other_jobs_wait_for_nobody() -> None:
    hall = Hall(rtt_s=0.1)
    hall.hear(offer(**ONE))
    hall.hear(offer(**TWO))
    hall.hear(offer(job=bytes(20)))
    found = hall.wait(0.2)
    assert sorted(opened(request.claim, Claim).job for request in found) == [bytes(20), JOB]
    (first,) = (request for request in found if opened(request.claim, Claim).job == JOB)
    hall.reply(first, 2, STEWARDS_AT[claims([first])[0] - 1])
    assert len(hall.wait(0.2)) == 1


def test_it_is_known_at_whom_this_peer_may_claim() -> None:
    hall = Hall()
    assert not hall.offers.claims_at(GRANTOR_AT.id)
    hall.hear(offer())
    hall.hear(offer(grantor=STRANGER_AT, python="3.9"))
    assert hall.offers.claims_at(GRANTOR_AT.id)
    assert not hall.offers.claims_at(STRANGER_AT.id), "what was turned down is not claimed"


# --- lots that are none -----------------------------------------------------------------------------------------------


def busy_with_one_lot() -> Hall:
    """It takes part in lot 0, which keeps it busy, and has heard of lot 1."""
    hall = Hall()
    hall.hear(lot(0, 1))
    (request,) = hall.wait(0.2)
    hall.reply(request, 0, STEWARDS_AT[0])
    hall.capacity = Capacity(2, 2, 0, 0.5)
    hall.hear(lot(1, 1))
    return hall


def lot(number: int, said: int) -> Offer:
    return offer(
        said, lot=number, epoch=1 + number, grantor=STEWARDS_AT[number], waiting=1000, slots_wanted=8, ttl_s=60.0
    )


def fake(number: int, **changes: Any) -> Offer:
    return offer(1, lot=number, epoch=1, grantor=STRANGER_AT, owner=STRANGER.public, ttl_s=60.0, **changes)


def test_offers_of_lots_that_no_job_has_or_that_are_declined_put_nothing_off() -> None:
    hall = busy_with_one_lot()
    before = dict(hall.offers._lots)
    for number in range(limits.STEWARDS_MAX + 1, 1000):
        hall.hear(fake(number))
    assert len(hall.offers.interests) == 2
    for number in range(2, limits.STEWARDS_MAX + 1):
        hall.hear(fake(number, runtime="none"))
    assert len(hall.offers.interests) == 1 + limits.STEWARDS_MAX
    assert hall.offers._lots == before, "what is declined is not waited for"
    hall.offers.decline(JOB, "is declined later")
    hall.offers.decline(JOB, "and once more")
    assert not hall.offers._lots


def test_however_many_offer_lots_of_a_job_its_next_lot_is_looked_at_within_seconds() -> None:
    hall = busy_with_one_lot()
    for number in range(200):
        stranger = keypair(30 + number)
        hall.hear(offer(1, lot=5, epoch=1, grantor=at(stranger, 5000 + number), owner=STRANGER.public, ttl_s=60.0))
    hall.wait(5.0)
    waiting = [known for (_, _, number), known in hall.offers.interests.items() if number == 1]
    assert [known.text for known in waiting] == ["has claimed another lot of it"]
    due = waiting[0].at
    assert due is not None and due - hall.now <= BUSY_WAIT_S * (limits.STEWARDS_MAX + 1) * 1.5


def test_who_idles_looks_at_the_next_lot_as_soon_as_its_grantor_calls() -> None:
    hall = busy_with_one_lot()
    for number in range(2, limits.STEWARDS_MAX + 1):
        hall.hear(fake(number))
    hall.wait(2.0)
    hall.hear(lot(1, 2))
    hall.wait(1.0)  # it was looked at, since its grantor goes on calling, and put off again
    hall.capacity = Capacity(2, 0, 0, 0.0)
    hall.hear(lot(1, 3))
    claims = [opened(request.claim, Claim).grantor for request in hall.wait(0.1)]
    assert STEWARDS_AT[1].id in claims
