"""A swarm is ready when every peer answers; an idle one is counted between two looks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from p2pcpn.bench import swarms


class Fake:
    """A swarm whose peers are this very process."""

    def __init__(self, peers: int) -> None:
        self.peers = [SimpleNamespace(index=n, pid=psutil.Process().pid, alive=True) for n in range(peers)]

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        self.peers = []


def ticking() -> Any:
    ticks = iter(range(10_000))
    return lambda: float(next(ticks))


def status(sent: int = 0, known: int = 0) -> dict[str, Any]:
    return {
        "known_peers": known,
        "statistics": {"udp": {"sent": sent, "sent_bytes": sent * 100}, "sessions": {"opened": 0, "bytes_out": 0}},
    }


def test_ready_is_when_every_peer_answers_and_met_when_all_know_all() -> None:
    answers = iter([status(), None, status(), status(known=1), status(known=0), status(known=1)])
    found = swarms.ready(2, Fake, lambda peer: next(answers), ticking(), lambda seconds: None)
    assert found["peers"] == 2 and 0 < found["listening_s"] < found["ready_s"] < found["met_s"]


def test_a_peer_that_never_answers_is_told() -> None:
    with pytest.raises(TimeoutError, match="1 of 1 peers"):
        swarms.ready(1, Fake, lambda peer: None, ticking(), lambda seconds: None)


def test_a_large_swarm_need_not_meet() -> None:
    found = swarms.ready(33, Fake, lambda peer: status(), ticking(), lambda seconds: None)
    assert found["met_s"] is None


def test_an_idle_peer_is_charged_for_headers_too() -> None:
    looks = iter([status(0), status(0), status(10), status(30), status(30, 1), status(30, 1)])
    slept: list[float] = []
    found = swarms.idle(2, 1.0, 2.0, Fake, lambda peer: next(looks), slept.append)
    assert slept == [1.0, 2.0] and found["known_peers_min"] == 1
    assert found["sent_bytes_per_s"] * found["seconds"] == pytest.approx(20 * (100 + swarms.UDP_HEADER_BYTES))
    assert found["sent_bytes_per_s_max"] * found["seconds"] == pytest.approx(30 * (100 + swarms.UDP_HEADER_BYTES))
    assert found["memory_bytes"] > 1 << 20 and found["core_percent"] >= 0


def test_sessions_are_charged_by_segment_and_opening() -> None:
    said = status(1)
    said["statistics"]["sessions"] = {"opened": 2, "bytes_out": 2000}
    counted = swarms._counted(SimpleNamespace(index=0, pid=psutil.Process().pid), lambda peer: said)
    assert counted["bytes"] == 128 + 2000 + 2 * swarms.TCP_HEADER_BYTES + 2 * swarms.OPENING_BYTES


def test_a_peer_that_died_cannot_be_counted() -> None:
    with pytest.raises(TimeoutError, match="peer 0 does not answer"):
        swarms.idle(1, 0.0, 0.0, Fake, lambda peer: None, lambda seconds: None)


def test_a_peer_is_asked_over_its_control_socket(tmp_path: Path) -> None:
    peer = SimpleNamespace(index=0, pid=1, address="127.0.0.1:1", id="ab", data_dir=tmp_path)
    assert swarms.status_of(peer) is None  # type: ignore[arg-type]
