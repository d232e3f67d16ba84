"""Scales: how much of everything is done. The long one is for figures that are told, the short one for a quick look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Counts and lengths. A round of many tasks is as long as ``round_s``: a slow system gets fewer of them."""

    name: str
    rounds: int
    round_s: float
    tasks_min: int
    tasks_max: int
    map_items: int  # at most, of a map or of tasks with a future each
    whole: bool  # p2pcpn maps them all however long it takes, and what that takes of memory is measured
    trips: int
    blobs: int
    burn_s: tuple[float, ...]  # lengths of the tasks that burn
    burn_round_s: float
    metg_s: tuple[float, ...]
    metg_round_s: float
    metg_rounds: int
    queued: int
    firsts: int
    startups: tuple[tuple[int, int], ...]  # peers, rounds
    idle_peers: int
    idle_settle_s: float
    idle_s: float
    record_rounds: int
    blob_mib: int
    crowd_peers: int
    crowd_operations: int


FULL: Final = Scale(
    name="full", rounds=5, round_s=2.0, tasks_min=500, tasks_max=100_000, map_items=1_000_000, whole=True,
    trips=300, blobs=64, burn_s=(1e-2, 1e-3), burn_round_s=2.0,
    metg_s=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2), metg_round_s=1.2, metg_rounds=3,
    queued=50_000, firsts=11, startups=((2, 5), (8, 5), (32, 3)),
    idle_peers=100, idle_settle_s=60.0, idle_s=600.0, record_rounds=16, blob_mib=1024,
    crowd_peers=1000, crowd_operations=1000,
)  # fmt: skip

SHORT: Final = Scale(
    name="short", rounds=3, round_s=0.6, tasks_min=200, tasks_max=30_000, map_items=1_000_000, whole=False,
    trips=150, blobs=24, burn_s=(1e-2,), burn_round_s=0.8,
    metg_s=(3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2), metg_round_s=0.3, metg_rounds=1,
    queued=5_000, firsts=3, startups=((2, 3), (8, 1)),
    idle_peers=8, idle_settle_s=5.0, idle_s=10.0, record_rounds=2, blob_mib=128,
    crowd_peers=200, crowd_operations=100,
)  # fmt: skip
