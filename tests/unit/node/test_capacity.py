"""Capacity: what the machine has is said at once, what is free each time it was sampled, and a client says nothing."""

from __future__ import annotations

import asyncio
import platform
import threading
from contextlib import suppress
from typing import Any

import pytest

from p2pcpn.config import Config
from p2pcpn.metrics import machine as machines
from p2pcpn.node import capacity
from p2pcpn.node.capacity import CapacitySampler
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.statements import Accelerator, Advert, Role

GIB = 1 << 30
HERE = contact(b"\1" * 20, ("127.0.0.1", 4000))
DESCRIBED = machines.Machine(64, 512 * GIB, "3.11", "cpython", "linux-x86_64", (Accelerator("cuda", 2, 8 * GIB),), 99)


class Said:
    """The adverts that were said, and whether something changed."""

    def __init__(self) -> None:
        self.adverts: list[tuple[Advert, bool]] = []

    def __call__(self, advert: Advert, changed: bool) -> None:
        self.adverts.append((advert, changed))


def sampler(
    say: Any, roles: int = Role.COMPUTE | Role.STORAGE, *, busy: bool = True, **settings: Any
) -> CapacitySampler:
    return CapacitySampler(
        Config(**settings), contact=HERE, boot=7, roles=roles, slots=3, owner_pids=(1, 2), say=say, busy=lambda: busy
    )


def sample(load: float = 0.0, free: int = 8 * GIB) -> machines.Sample:
    return machines.Sample(load, 16 * GIB, free, None)


def test_the_first_advert_is_said_at_once_of_what_is_known_without_asking() -> None:
    said = Said()
    sampler(said, tags=["lab"], position=(52.0, 13.0)).begin()
    ((advert, changed),) = said.adverts
    assert changed
    assert (advert.contact, advert.boot, advert.slots, advert.slots_free) == (HERE, 7, 3, 3)
    assert (advert.cores, advert.memory_bytes) == (machines.cores(), machines.memory()[0])
    assert 0 < advert.memory_free_bytes <= advert.memory_bytes
    assert platform.python_version().startswith(advert.python)
    assert (advert.tags, advert.position, advert.runtimes) == (["lab"], (52.0, 13.0), ["function"])
    assert (advert.packages, advert.accelerators) == ([], [])
    assert advert.machine == machines.group()


def test_what_is_free_is_told_exactly_and_marked_where_it_matters_to_others() -> None:
    said = Said()
    capacity = sampler(said)
    for each in (sample(0.50), sample(0.52), sample(0.90), sample(0.90, 1 * GIB)):
        capacity.tell(each)
    assert [changed for _, changed in said.adverts] == [True, False, True, True]
    assert [advert.load for advert, _ in said.adverts] == [0.50, 0.52, 0.90, 0.90]
    assert [advert.memory_free_bytes for advert, _ in said.adverts] == [8 * GIB] * 3 + [1 * GIB]


def test_a_load_that_cannot_be_is_told_as_the_nearest_that_can() -> None:
    capacity = sampler(Said())
    assert [capacity.advert(sample(load)).load for load in (-0.1, 1.7)] == [0.0, 1.0]


def test_a_peer_that_does_not_compute_offers_no_runtime() -> None:
    assert sampler(Said(), roles=Role.STORAGE).advert(sample()).runtimes == []


@pytest.mark.asyncio
async def test_a_client_offers_nothing_and_samples_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "describe", lambda: pytest.fail("asked what the machine has"))
    said = Said()
    await asyncio.wait_for(sampler(said, roles=0).run(), 5)
    assert said.adverts == []


@pytest.mark.asyncio
@pytest.mark.parametrize(("busy", "then_s"), [(True, capacity.SAMPLE_S), (False, capacity.IDLE_SAMPLE_S)])
async def test_the_rest_is_found_out_aside_and_then_sampled_for_ever_more_rarely_when_idle(
    monkeypatch: pytest.MonkeyPatch, busy: bool, then_s: float
) -> None:
    threads: set[str] = set()
    waits: list[float] = []

    def describe() -> machines.Machine:
        threads.add(threading.current_thread().name)
        return DESCRIBED

    class Sampler:
        def __init__(self, pids: tuple[int, ...]) -> None:
            assert pids == (1, 2)  # their load counts as ours

        def sample(self) -> machines.Sample:
            threads.add(threading.current_thread().name)
            return sample(0.25 * len(waits))

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) > 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(machines, "describe", describe)
    monkeypatch.setattr(machines, "Sampler", Sampler)
    monkeypatch.setattr(capacity, "notable", lambda: ("numpy", "scipy"))
    monkeypatch.setattr(capacity.asyncio, "sleep", sleep)
    said = Said()
    with suppress(asyncio.CancelledError):
        await sampler(said, busy=busy).run()
    assert waits == [capacity.SAMPLE_S, then_s, then_s, then_s]
    assert [advert.load for advert, _ in said.adverts] == [0.25, 0.5, 0.75]
    advert = said.adverts[0][0]
    assert (advert.cores, advert.machine, advert.packages) == (64, 99, ["numpy", "scipy"])
    assert advert.accelerators == [Accelerator("cuda", 2, 8 * GIB)]
    assert threading.current_thread().name not in threads  # it may take seconds
