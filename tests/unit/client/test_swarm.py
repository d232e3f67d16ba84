"""``Swarm``: which peers it orders with which settings, and what becomes of them; the peers themselves are made up."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.client import departing, growing
from p2pcpn.client import swarm as swarm_module
from p2pcpn.client.fleet import Member
from p2pcpn.client.swarm import Swarm
from p2pcpn.errors import JobError, StoreError, UsageError
from p2pcpn.node.control import control_path
from p2pcpn.protocol.scaling import Bounds
from p2pcpn.store.exclusive import Exclusive


class Fleet:
    """Peers that listen as soon as they are ordered."""

    made: list[Fleet] = []  # noqa: RUF012
    fails: int | None = None

    def __init__(self, log: Path, temporary: Path | None = None) -> None:
        self.temporary = temporary
        self.orders: dict[int, Mapping[str, Any]] = {}
        self.waves: list[list[int]] = []
        self.dead: list[int] = []
        self.closed = 0
        Fleet.made.append(self)

    def spawn(self, n: int, order: Mapping[str, Any], log: Path) -> None:
        self.orders[n] = order

    def wait(self, numbers: Sequence[int], wait_s: float) -> list[Member]:
        self.waves.append(list(numbers))
        if self.fails in numbers:
            raise StoreError("the disk is full")
        return [Member(n, Path("x"), pid=1000 + n, address=f"127.0.0.1:{4000 + n}", id=f"{n:040x}") for n in numbers]

    def kill(self, n: int) -> None:
        self.dead.append(n)

    gone = kill

    def is_alive(self, n: int) -> bool:
        return n not in self.dead and not self.closed

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def fleets(monkeypatch: pytest.MonkeyPatch) -> list[Fleet]:
    monkeypatch.setattr(swarm_module, "Fleet", Fleet)
    monkeypatch.setattr(swarm_module, "prefetch", lambda: None)
    monkeypatch.setattr(Fleet, "fails", None)
    Fleet.made.clear()
    return Fleet.made


def test_the_first_peer_is_there_before_the_others_that_look_for_it(fleets: list[Fleet]) -> None:
    with Swarm(3) as swarm:
        (fleet,) = fleets
        assert fleet.waves == [[0], [1, 2]]
        assert [fleet.orders[n]["config"]["bootstrap"] for n in range(3)] == [
            (), ("127.0.0.1:4000",), ("127.0.0.1:4000",),
        ]  # fmt: skip
        assert swarm.bootstrap == ["127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:4002"]
        assert [(peer.index, peer.pid, peer.alive) for peer in swarm.peers] == [
            (0, 1000, True), (1, 1001, True), (2, 1002, True),
        ]  # fmt: skip
        assert repr(swarm) == "<Swarm of 3 peers>"


def test_every_peer_gets_the_settings_of_a_local_swarm(fleets: list[Fleet], tmp_path: Path) -> None:
    key = "ab" * 32
    with Swarm(
        2, cpus_per_peer=[3, 2], swarm_key=key, data_dir=tmp_path, tags=["lab"], datagram_loss=0.1, seed=7
    ) as swarm:
        orders = fleets[0].orders
        config = orders[1]["config"]
        assert (config["profile"], config["durable"], config["swarm_key"]) == ("local", False, key)
        assert (config["cpus"], config["seed"], config["tags"]) == (2, 8, ("lab",))
        assert config["data_dir"] == str(tmp_path / "peer-1")
        assert orders[0]["config"]["cpus"] == 3
        assert orders[0]["faults"] == {"datagram_loss": 0.1}
        assert orders[0]["work"] == str(fleets[0].temporary)
        assert swarm.key == key
        swarm.add()
        assert orders[2]["config"]["cpus"] == 2  # the last number counts for those that come later


def test_each_swarm_has_a_key_of_its_own_and_takes_one_as_bytes() -> None:
    with Swarm(1) as first, Swarm(1) as second, Swarm(1, swarm_key=b"\7" * 32) as third:
        assert first.key != second.key
        assert third.key == "07" * 32


def test_added_peers_know_the_living_and_take_the_next_indices(fleets: list[Fleet]) -> None:
    with Swarm(2) as swarm:
        swarm.kill(0)
        added = swarm.add(2)
        assert [peer.index for peer in added] == [2, 3]
        assert fleets[0].waves[-1] == [2, 3]
        assert fleets[0].orders[3]["config"]["bootstrap"] == ("127.0.0.1:4001",)
        for index in (1, 2, 3):
            swarm.kill(index)
        swarm.add(2)
        assert fleets[0].waves[-2:] == [[4], [5]]


def test_a_swarm_that_cannot_start_is_closed(fleets: list[Fleet], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fleet, "fails", 1)
    with pytest.raises(StoreError, match="full"):
        Swarm(3)
    assert fleets[0].dead == [0, 1, 2]
    assert fleets[0].closed == 1
    assert fleets[0].temporary is not None
    assert not fleets[0].temporary.exists()


def test_peers_that_cannot_be_added_leave_the_others_alone(
    fleets: list[Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Swarm(1) as swarm:
        monkeypatch.setattr(Fleet, "fails", 2)
        with pytest.raises(StoreError):
            swarm.add(2)
        assert fleets[0].dead == [1, 2]
        assert len(swarm.peers) == 1
        monkeypatch.setattr(Fleet, "fails", None)
        assert swarm.add()[0].index == 1


def test_close_may_be_called_twice_and_removes_what_was_temporary(fleets: list[Fleet]) -> None:
    swarm = Swarm(1)
    swarm.close()
    swarm.close()
    assert fleets[0].closed == 1
    assert fleets[0].temporary is not None
    assert not fleets[0].temporary.exists()


def test_a_swarm_nobody_refers_to_is_closed(fleets: list[Fleet]) -> None:
    swarm = Swarm(1)
    del swarm
    gc.collect()
    assert fleets[0].closed == 1


def test_in_a_fork_of_the_program_nothing_is_closed(fleets: list[Fleet], tmp_path: Path) -> None:
    in_use = Exclusive(tmp_path / "swarm.lock")
    swarm_module._close(Fleet(tmp_path), tmp_path, in_use, -1, threading.Event())  # type: ignore[arg-type]
    assert fleets[0].closed == 0
    with pytest.raises(StoreError, match="in use"):
        Exclusive(in_use.path)
    in_use.release()
    assert tmp_path.exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"peers": 0}, "1 to 512"),
        ({"peers": True}, "1 to 512"),
        ({"peers": 513}, "p2pcpn sim"),
        ({"peers": "3"}, "1 to 512"),
        ({"datagram_loss": 1.0}, "share"),
        ({"cpus_per_peer": 0}, "cpus"),
        ({"cpus_per_peer": [1, 2]}, "2 numbers for 4 peers"),
        ({"roles": ["cook"]}, "roles"),
        ({"swarm_key": "short"}, "64 hexadecimal"),
        ({"memory_bytes": 0}, "memory_bytes"),
    ],
)
def test_settings_that_cannot_be_start_nothing(fleets: list[Fleet], options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Swarm(**options)
    assert not fleets


def test_what_cannot_be_added_or_killed_is_refused() -> None:
    with Swarm(2) as swarm:
        with pytest.raises(UsageError, match="0 to 1"):
            swarm.kill(2)
        with pytest.raises(UsageError, match="0 to 1"):
            swarm.kill(-1)
        with pytest.raises(UsageError, match="one peer at least"):
            swarm.add(0)
        with pytest.raises(UsageError, match="1 to 512"):
            swarm.add(511)


def test_a_swarm_that_is_to_grow_is_kept_scaled_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(growing, "keep_scaled", lambda *words: kept.append(words))
    with Swarm(2, peers_max=5, idle_s=7.0):
        (words,) = kept
        assert words[1] == Bounds(2, 5, 7.0) and not words[2].is_set()
    assert words[2].is_set()
    for wrong in ({"peers_max": 1}, {"peers_max": 4.5}, {"peers_max": 1000}, {"peers_max": 4, "idle_s": 0.0}):
        with pytest.raises(UsageError):
            Swarm(2, **wrong)  # type: ignore[arg-type]


def test_a_peer_that_drains_is_gone_when_it_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(departing, "drain", lambda *words: asked.append(words) or {"jobs": 1})
    with Swarm(2) as swarm:
        assert swarm.drain(1, 5.0) == {"jobs": 1}
        assert asked == [(control_path(swarm.peers[1].data_dir), 5.0)] and not swarm.peers[1].alive
        with pytest.raises(UsageError, match="gone already"):
            swarm.drain(1)
        with pytest.raises(UsageError, match="0 to 1"):
            swarm.drain(2)


def test_an_executor_meets_the_living_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    told: list[list[str]] = []
    ended: list[str] = []

    class Engine:
        def meet(self, addresses: list[str]) -> None:
            told.append(addresses)

        def end(self, error: JobError) -> None:
            ended.append(str(error))

    engine = Engine()

    def executor(*args: Any, **options: Any) -> SimpleNamespace:
        made.append((args, options))
        return SimpleNamespace(_engine=engine)

    monkeypatch.setitem(sys.modules, "p2pcpn.client.executor", SimpleNamespace(Executor=executor))
    with Swarm(2) as swarm:
        swarm.kill(0)
        swarm.executor(3, replicas=1)
        assert made == [
            ((3,), {"bootstrap": ["127.0.0.1:4001"], "swarm_key": swarm.key, "replicas": 1, "history": None})
        ]
        assert [swarm.add()[0].address] == told[0]  # who computes here hears of it
        swarm.kill(2)
        swarm.kill(1)
        with pytest.raises(UsageError, match="no peer of the swarm is alive"):
            swarm.executor()
    assert ended == ["the swarm was closed"]
