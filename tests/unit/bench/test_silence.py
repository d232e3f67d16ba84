"""Half of the peers fall silent between the stores and the gets, and every operation has its time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from p2pcpn.bench import silence
from p2pcpn.bench.bench import Bench

if TYPE_CHECKING:
    from conftest import Stage


class Table:
    """What was asked of it, in order."""

    said: list[str]

    def __init__(self) -> None:
        Table.said = []
        self._kept: dict[str, bytes] = {}

    def start(self, peers: int) -> None:
        self.said.append(f"start {peers}")

    def store(self, peer: int, key: str, value: bytes) -> bool:
        self.said.append(f"store {peer}")
        self._kept[key] = value
        return not key.startswith("late 1")

    def get(self, peer: int, key: str) -> bytes | None:
        self.said.append(f"get {peer}")
        return None if key.startswith("0") else self._kept[key]

    def silence(self, peers: int, rng: random.Random) -> int:
        self.said.append(f"silence {peers}")
        return peers

    def stop(self) -> None:
        self.said.append("stop")


def test_values_are_stored_before_the_silence_and_got_after_it_through_others() -> None:
    found = silence.measure("mine", 10, 5, 2, 2, tables={"mine": Table})
    assert Table.said == [
        "start 10", "store 0", "store 1", "silence 5", "get 1", "get 2", "store 0", "store 1", "stop",
    ]  # fmt: skip
    assert (found["found_share"], found["kept_share"]) == (0.5, 0.5)
    assert len(found["get_s"]) == len(found["store_s"]) == 2


def test_the_95th_percentile_is_one_of_the_values() -> None:
    assert silence.p95([float(number) for number in range(1, 101)]) == 95.0
    assert silence.p95([3.0]) == 3.0
    assert silence.p95([1.0, 2.0, 3.0]) == 3.0


@pytest.mark.parametrize("installed", [True, False])
def test_ours_and_what_is_installed_are_measured(
    new_bench: Callable[..., Bench], stage: Stage, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    monkeypatch.setattr(silence, "is_installed", lambda package: installed)
    stage.answers["silence"] = {"get_s": [0.1, 0.3], "store_s": [0.2], "found_share": 1.0}
    bench = new_bench("silence")
    silence.silence(bench)
    get, store, found = bench.outcome.figures
    assert get.values["p2pcpn"] == [0.3] and store.values["p2pcpn"] == [0.2] and found.values["p2pcpn"] == [1.0]
    assert ("kademlia" in get.values) == installed == ("kademlia" not in bench.outcome.failed)
