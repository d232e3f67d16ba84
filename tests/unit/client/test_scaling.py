"""Scaling a swarm: peers come when slots are called for, and those that idle are asked to go, the last first."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from p2pcpn.client import scaling
from p2pcpn.client.scaling import Scaler, Seen
from p2pcpn.errors import Unreachable
from p2pcpn.protocol.scaling import Bounds, Scale

BOUNDS = Bounds(1, 4, idle_s=10.0)


class Crowd:
    """Peers of one slot; ``wanted`` slots more are called for; who is asked to leave does, unless it is held."""

    def __init__(self) -> None:
        self.running: dict[int | str, int] = {0: 0}
        self.wanted = 0
        self.held: set[int | str] = set()
        self.asked: list[list[int | str]] = []
        self.fails = False

    def look(self) -> Sequence[Seen]:
        if self.fails:
            raise Unreachable("nobody answers")
        return [Seen(name, 1, running, 0, self.wanted) for name, running in self.running.items()]

    def grow(self, count: int, wanted: int) -> None:
        for _ in range(count):
            self.running[len(self.running)] = int(self.wanted > 0)
        assert len(self.running) == wanted

    def drain(self, names: Sequence[int | str], wanted: int) -> None:
        self.asked.append(list(names))
        for name in names:
            if name not in self.held:
                del self.running[name]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def test_peers_come_while_slots_are_called_for_and_the_idle_go_again() -> None:
    crowd = Crowd()
    scaler = Scaler(Scale(BOUNDS), crowd, Clock())
    crowd.wanted, crowd.running[0] = 9, 1
    for _ in range(20):
        scaler.step()
    assert list(crowd.running) == [0, 1, 2, 3] and "slots are called for" in scaler.said
    crowd.wanted = 0
    crowd.running |= {0: 0, 1: 1, 2: 0, 3: 0}
    for _ in range(60):
        scaler.step()
    assert crowd.asked == [[3, 2]] and list(crowd.running) == [0, 1]
    assert scaler.said == "idle: 4 peers become 2"


def test_one_peer_and_one_slot_are_told_as_one() -> None:
    crowd = Crowd()
    scaler = Scaler(Scale(BOUNDS), crowd, Clock())
    crowd.wanted, crowd.running[0] = 1, 1
    for _ in range(20):
        scaler.step()
        if len(crowd.running) > 1:
            break
    assert scaler.said == "1 more slot is called for: 1 peer becomes 2"


def test_one_that_stays_is_left_alone_for_a_while() -> None:
    crowd = Crowd()
    crowd.running |= {1: 0}
    crowd.held = {1}
    scaler = Scaler(Scale(BOUNDS), crowd, Clock())
    for _ in range(60):
        scaler.step()
    assert crowd.asked == [[1]]
    for _ in range(100):
        scaler.step()
    assert 2 <= len(crowd.asked) <= 4


def test_it_goes_on_until_it_is_stopped_whatever_fails(monkeypatch: object) -> None:
    crowd, stop = Crowd(), threading.Event()
    crowd.fails = True
    scaler = Scaler(Scale(BOUNDS), crowd, Clock())
    scaling_look = scaling.LOOK_S
    try:
        scaling.LOOK_S = 0.001  # type: ignore[misc]
        thread = threading.Thread(target=scaler.run, args=(stop,))
        thread.start()
        while scaler.said != "nobody answers":
            pass
        stop.set()
        thread.join(5)
        assert not thread.is_alive()
    finally:
        scaling.LOOK_S = scaling_look  # type: ignore[misc]
