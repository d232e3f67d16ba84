"""The inlet: short turns, in which nobody's flood holds up the others, and nothing of an ended session is handled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.net.session import BAD_MESSAGE
from p2pcpn.node.inlet import ROUND_S, TURN_S, Inlet

PEERS = [Keypair(bytes([number]) * 32) for number in range(1, 5)]


class Clockwork:
    """A loop whose clock only handling moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Bench:
    """An inlet, what it handed on, and how long each message takes."""

    def __init__(self, cost_s: float) -> None:
        self.loop = Clockwork()
        self.inlet = Inlet(self.handle, self.loop)  # type: ignore[arg-type]
        self.cost_s = cost_s
        self.handled: list[tuple[Any, bytes]] = []

    def handle(self, session: Any, message: bytes) -> None:
        self.loop.now += self.cost_s
        self.handled.append((session, message))
        if message == b"bad":
            raise PeerError("garbage")
        if message == b"bye":
            session.close("goodbye")

    def finish(self) -> int:
        """Turn the loop until nothing is due; how often."""
        turns = 0
        while self.loop.soon:
            self.loop.turn()
            turns += 1
            assert turns < 10_000
        return turns


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_what_fits_one_turn_is_handled_at_once(unwired: Any) -> None:
    bench, session = Bench(TURN_S / 100), unwired(PEERS[0])
    bench.inlet.take(session, numbered(50))
    assert bench.handled == [(session, message) for message in numbered(50)]
    assert session.held_bytes == 0
    assert not bench.loop.soon
    assert bench.inlet.statistics() == {"handled": 50, "dropped": 0, "waiting": 0}


def test_what_does_not_fit_waits_in_order_and_the_session_is_not_read_meanwhile(unwired: Any) -> None:
    bench, session = Bench(TURN_S), unwired(PEERS[0])
    bench.inlet.take(session, numbered(30))
    assert len(bench.handled) == 1
    assert session.held_bytes > limits.SESSION_HELD_BYTES_MAX
    assert bench.inlet.statistics()["waiting"] == 29
    bench.inlet.take(session, [b"later"])  # what the transport had read already
    assert len(bench.handled) == 1
    assert bench.finish() > 1
    assert bench.handled == [(session, message) for message in [*numbered(30), b"later"]]
    assert session.held_bytes == 0
    assert bench.inlet.statistics() == {"handled": 31, "dropped": 0, "waiting": 0}


def test_sessions_that_wait_take_turns(unwired: Any) -> None:
    bench = Bench(TURN_S)
    flooding, *others = sessions = [unwired(peer) for peer in PEERS]
    bench.inlet.take(flooding, numbered(1000))
    for session in others:
        bench.inlet.take(session, [b"one"])
    assert [who for who, _ in bench.handled] == [flooding]  # the others wait their turn too
    bench.loop.turn()
    assert {who for who, _ in bench.handled} == set(sessions)
    bench.finish()
    assert len(bench.handled) == 1003


def test_a_round_ends_in_time_for_sockets_and_timers(unwired: Any) -> None:
    bench = Bench(ROUND_S)
    for peer in PEERS:
        bench.inlet.take(unwired(peer), numbered(3))
    before = bench.loop.now
    bench.loop.turn()
    assert bench.loop.now - before == pytest.approx(ROUND_S)
    bench.finish()
    assert len(bench.handled) == 12


def test_a_message_that_cannot_be_right_ends_its_session_alone(unwired: Any) -> None:
    bench, bad, good = Bench(TURN_S / 100), unwired(PEERS[0]), unwired(PEERS[1])
    bench.inlet.take(bad, [b"fine", b"bad", b"never", b"never"])
    bench.inlet.take(good, [b"fine"])
    assert bad.why == BAD_MESSAGE
    assert not good.ended
    assert [message for _, message in bench.handled] == [b"fine", b"bad", b"fine"]
    assert bench.inlet.statistics() == {"handled": 3, "dropped": 2, "waiting": 0}


def test_what_waits_for_a_session_that_ended_is_dropped_and_released(unwired: Any) -> None:
    bench, session = Bench(TURN_S), unwired(PEERS[0])
    bench.inlet.take(session, [b"one", b"bye", b"never", b"never"])
    bench.finish()
    assert [message for _, message in bench.handled] == [b"one", b"bye"]
    assert session.held_bytes == 0
    assert bench.inlet.statistics() == {"handled": 2, "dropped": 2, "waiting": 0}
