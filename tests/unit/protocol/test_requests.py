"""Requests: repeated with back-off, answered once, and only by the peer that was asked."""

from __future__ import annotations

import random

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Heard, Send
from p2pcpn.protocol.requests import ANYBODY, Answered, Failed, Late, Requests
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.datagrams import Ack, Find, Nodes, Ping, PingRequest

A = contact(b"a" * 20, ("10.0.0.1", 4000))
B = contact(b"b" * 20, ("10.0.0.2", 4000))


def asking(outstanding_max: int = 10) -> tuple[Requests, RoundTrips]:
    trips = RoundTrips()
    return Requests(trips, random.Random(1), outstanding_max), trips


def ping(nonce: int) -> Ping:
    return Ping(nonce, 0)


def nonce_of(effects: list[Effect]) -> int:
    [send] = effects
    assert isinstance(send, Send)
    message = send.message
    assert isinstance(message, Ping | PingRequest | Find)
    return message.nonce


def test_an_answer_from_the_peer_that_was_asked_ends_a_request_and_is_measured() -> None:
    requests, trips = asking()
    nonce = nonce_of(requests.ask(A, ping, "why", 10.0))
    ack = Ack(nonce, 0)
    [heard] = requests.receive(A, ack, 10.05)
    assert isinstance(heard, Heard)
    assert isinstance(heard.value, Answered)
    assert (heard.value.purpose, heard.value.asked, heard.value.peer, heard.value.reply) == ("why", A, A, ack)
    assert abs((trips.srtt_s(A.id) or 0.0) - 0.05) < 1e-9
    assert requests.receive(A, ack, 10.06) == []
    assert requests.deadline() is None


def test_an_answer_from_another_peer_or_of_another_kind_is_ignored() -> None:
    requests, _ = asking()
    nonce = nonce_of(requests.ask(A, ping, "why", 0.0))
    assert requests.receive(B, Ack(nonce, 0), 0.1) == []
    assert requests.receive(A, Ack(nonce ^ 1, 0), 0.1) == []
    assert requests.receive(A, Nodes(nonce, []), 0.1) == []
    assert len(requests) == 1


def test_a_peer_whose_id_is_not_known_answers_from_its_address() -> None:
    requests, trips = asking()
    nobody = contact(ANYBODY, ("10.0.0.1", 4000))
    nonce = nonce_of(requests.ask(nobody, ping, "bootstrap", 0.0))
    assert requests.receive(B, Ack(nonce, 0), 0.1) == []
    assert requests.receive(A, Ack(nonce, 0), 0.1) == [Heard(Answered("bootstrap", nobody, A, Ack(nonce, 0), 0.1), A)]
    assert trips.srtt_s(A.id) == 0.1


def test_a_request_is_repeated_with_doubled_timeouts_and_then_fails() -> None:
    requests, _ = asking()
    [send] = requests.ask(A, ping, "why", 0.0, tries=3)
    assert requests.deadline() == 0.3
    assert requests.expire(0.2) == []
    assert requests.expire(0.3) == [send, Heard(Late("why", A, 1), A)]
    assert abs((requests.deadline() or 0.0) - 0.9) < 1e-9
    assert requests.expire(0.9) == [send, Heard(Late("why", A, 2), A)]
    assert requests.expire(2.1) == [Heard(Failed("why", A), A)]
    assert requests.deadline() is None
    assert len(requests) == 0


def test_a_repeated_request_is_answered_but_not_measured() -> None:
    requests, trips = asking()
    nonce = nonce_of(requests.ask(A, ping, "why", 0.0))
    requests.expire(0.3)
    assert requests.receive(A, Ack(nonce, 0), 0.31) == [Heard(Answered("why", A, A, Ack(nonce, 0), None), A)]
    assert trips.srtt_s(A.id) is None
    assert trips.timeout_s(A.id) == 2 * limits.RTO_INITIAL_S


def test_a_relayed_ping_says_nothing_about_the_relay() -> None:
    requests, trips = asking()
    nonce = nonce_of(requests.ask(A, lambda nonce: PingRequest(nonce, B), "relay", 0.0, timeout_s=0.5, tries=1))
    assert requests.deadline() == 0.5
    assert len(requests.receive(A, Ack(nonce, 0), 0.1)) == 1
    requests.ask(A, lambda nonce: PingRequest(nonce, B), "relay", 0.0, timeout_s=0.5, tries=1)
    assert requests.expire(0.5) == [Heard(Failed("relay", A), A)]
    assert len(trips) == 0


def test_one_request_more_than_the_bound_fails_at_once() -> None:
    requests, _ = asking(outstanding_max=2)
    requests.ask(A, ping, 1, 0.0)
    requests.ask(A, ping, 2, 0.0)
    assert requests.ask(A, ping, 3, 0.0) == [Heard(Failed(3, A), A)]
    assert len(requests) == 2


def test_a_cancelled_request_is_never_heard_of_again() -> None:
    requests, _ = asking()
    requests.ask(A, ping, 1, 0.0)
    nonce = nonce_of(requests.ask(B, ping, 2, 0.0))
    requests.cancel(2)
    assert requests.receive(B, Ack(nonce, 0), 0.1) == []
    assert len(requests.expire(0.3)) == 2


def test_who_is_late_early_has_failed_only_after_a_second() -> None:
    requests, trips = asking()
    for _ in range(3):
        trips.observe(A.id, 0.001)
    requests.ask(A, ping, "why", 0.0)
    late_s, outcomes = [], []
    while (due_s := requests.deadline()) is not None:
        for effect in requests.expire(due_s):
            if isinstance(effect, Heard):
                outcomes.append(effect.value)
                late_s.append(due_s)
    assert [type(outcome) for outcome in outcomes] == [Late, Late, Late, Failed]
    assert late_s[0] == limits.RTO_FLOOR_S
    assert late_s[-1] == limits.VERDICT_S_MIN


def test_a_request_with_a_timeout_of_its_own_fails_when_that_says() -> None:
    requests, _ = asking()
    requests.ask(A, ping, "why", 0.0, timeout_s=0.1, tries=1)
    assert requests.expire(0.1) == [Heard(Failed("why", A), A)]


def test_an_abandoned_request_goes_on_to_its_verdict() -> None:
    requests, _ = asking()
    nonce = nonce_of(requests.ask(A, ping, 1, 0.0))
    requests.ask(B, ping, 1, 0.0, tries=1)
    requests.abandon(1)
    [answered] = requests.receive(A, Ack(nonce, 0), 0.1)
    assert isinstance(answered, Heard) and isinstance(answered.value, Answered) and answered.value.purpose is None
    assert requests.expire(limits.RTO_INITIAL_S) == []
    assert requests.deadline() == limits.VERDICT_S_MIN
    assert requests.expire(limits.VERDICT_S_MIN) == [Heard(Failed(None, B), B)]


def test_a_timeout_that_we_notice_late_gives_the_peer_a_little_longer() -> None:
    requests = Requests(RoundTrips(), random.Random(1), stall_s=limits.STALL_S)
    nonce = nonce_of(requests.ask(A, ping, "why", 0.0))
    stalled_s = limits.RTO_INITIAL_S + 2 * limits.STALL_S
    assert requests.expire(stalled_s) == []
    assert requests.deadline() == stalled_s + limits.RTO_FLOOR_S
    assert len(requests.receive(A, Ack(nonce, 0), stalled_s)) == 1, "it lay in our socket"
