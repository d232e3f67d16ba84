"""Explaining: each peer that is asked is told of once, in words that it signed or as silent."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.effects import Effect, Heard, Notify, Send
from p2pcpn.protocol.events import Explained
from p2pcpn.protocol.explaining import Explaining
from p2pcpn.protocol.requests import Requests
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.wire.datagrams import Explain, Explanation
from p2pcpn.wire.statements import Reason, Signed, opened, signed
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, ME, STRANGER, STRANGER_AT

JOB = bytes([1]) * 20


class Bench:
    """One peer that asks, by a clock of its own."""

    def __init__(self, outstanding_max: int = 8, view: tuple[str, str] = ("waiting", "is about to claim")) -> None:
        self.now = 0.0
        self.requests = Requests(RoundTrips(), random.Random(1), outstanding_max)
        self.explaining = Explaining(ME, self.requests, lambda job: view)

    def ask(self) -> int:
        """Ask the grantor, for ticket 7; the nonce of the question."""
        [effect] = self.explaining.ask([GRANTOR_AT], JOB, 7, self.now)
        assert isinstance(effect, Send)
        assert isinstance(effect.message, Explain)
        assert (effect.to, effect.message.job) == (GRANTOR_AT, JOB)
        return effect.message.nonce

    def hear(self, nonce: int, reason: Signed) -> list[Effect]:
        """The grantor's answer comes."""
        return self.explaining.told(self.requests.receive(GRANTOR_AT, Explanation(nonce, reason), self.now))


def reason(key: Keypair = GRANTOR, job: bytes = JOB) -> Signed:
    """What the grantor says."""
    return signed(Reason(job, 1, "declined", "lacks numpy"), key)


def test_an_answer_is_signed_and_says_what_this_peer_makes_of_the_job() -> None:
    [effect] = Bench().explaining.answer(STRANGER_AT, Explain(5, JOB))
    assert isinstance(effect, Send)
    assert isinstance(effect.message, Explanation)
    assert (effect.to, effect.message.nonce, effect.message.reason.key) == (STRANGER_AT, 5, ME.public)
    assert opened(effect.message.reason, Reason) == Reason(JOB, 5, "waiting", "is about to claim")


def test_an_answer_is_no_longer_than_the_wire_allows() -> None:
    [effect] = Bench(view=("declined", "x" * 10_000)).explaining.answer(STRANGER_AT, Explain(5, JOB))
    assert isinstance(effect, Send)
    assert isinstance(effect.message, Explanation)
    assert len(opened(effect.message.reason, Reason).text) == limits.REASON_CHARS_MAX


def test_a_reason_is_told_with_the_ticket_of_its_question_and_once() -> None:
    bench = Bench()
    nonce = bench.ask()
    assert bench.hear(nonce, reason()) == [Notify(Explained(7, GRANTOR_AT, "declined", "lacks numpy"))]
    assert bench.hear(nonce, reason()) == []


def test_a_reason_of_another_key_or_about_another_job_is_not_told() -> None:
    for other in (reason(STRANGER), reason(job=bytes(20))):
        bench = Bench()
        assert bench.hear(bench.ask(), other) == []


def test_a_reason_whose_signature_is_wrong_is_the_peers_fault() -> None:
    bench, said = Bench(), reason()
    with pytest.raises(PeerError, match="signature"):
        bench.hear(bench.ask(), Signed(said.kind, said.body, said.key, bytes(64)))


def test_a_peer_that_keeps_silent_is_told_of_after_the_last_try() -> None:
    bench = Bench()
    bench.ask()
    effects: list[Effect] = []
    while (due := bench.requests.deadline()) is not None:
        bench.now = due
        effects += bench.explaining.told(bench.requests.expire(due))
    assert [type(effect) for effect in effects] == [Send] * (limits.REQUEST_TRIES - 1) + [Notify]
    assert effects[-1] == Notify(Explained(7, GRANTOR_AT, "silent", "does not answer"))


def test_who_cannot_be_asked_any_more_counts_as_silent_at_once() -> None:
    bench = Bench(outstanding_max=1)
    effects = bench.explaining.ask([GRANTOR_AT, STRANGER_AT], JOB, 7, 0.0)
    assert [type(effect) for effect in effects] == [Send, Notify]
    assert effects[1] == Notify(Explained(7, STRANGER_AT, "silent", "does not answer"))


def test_what_is_no_answer_to_a_question_passes_or_is_dropped() -> None:
    explaining = Bench().explaining
    send = Send(STRANGER_AT, Explain(1, JOB))
    assert explaining.told([send, Heard("something else", STRANGER_AT)]) == [send]
