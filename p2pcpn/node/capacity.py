"""Capacity: what this machine has and how much of it is free, sampled and told as adverts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from p2pcpn.config import Config
from p2pcpn.metrics import machine as machines
from p2pcpn.metrics.packages import notable
from p2pcpn.node.surroundings import platform_words, python_version
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.statements import Accelerator, Advert, Role

SAMPLE_S = 2.0
# A peer that does nothing asks less often: on a machine with a hundred of them, each asking about the processes of all,
# every look costs ten milliseconds.
IDLE_SAMPLE_S = 10.0

Say = Callable[[Advert, bool], None]


class CapacitySampler:
    """Samples the machine and says adverts; the second argument of ``say`` tells whether a coarse value changed.

    ``owner_pids`` are programs whose load counts as ours; ``busy()`` tells whether this peer runs anything.
    """

    def __init__(
        self,
        config: Config,
        *,
        contact: Contact,
        boot: int,
        roles: int,
        slots: int,
        owner_pids: tuple[int, ...],
        say: Say,
        busy: Callable[[], bool],
    ) -> None:
        self._config = config
        self._contact = contact
        self._boot = boot
        self._roles = roles
        self._slots = slots
        self._owner_pids = owner_pids
        self._say = say
        self._busy = busy
        self._packages: tuple[str, ...] = ()
        self._sample: machines.Sample | None = None
        self._idle = True  # whether that was said last: who has nothing to do may be let go
        # What is known without asking anything slow.
        total, _ = machines.memory()
        self.machine = machines.Machine(
            machines.cores(), total, python_version(), *platform_words(), (), machines.group()
        )

    def begin(self) -> None:
        """Say the first advert at once."""
        total, free = machines.memory()
        self._say(self.advert(machines.Sample(0.0, total, free, None)), True)

    async def run(self) -> None:
        """Find out the rest, and sample for ever. A client peer, which offers nothing, returns at once."""
        if not self._roles:
            return
        loop = asyncio.get_running_loop()
        self.machine = await loop.run_in_executor(None, machines.describe)
        self._packages = await loop.run_in_executor(None, notable)
        sampler = machines.Sampler(self._owner_pids)
        wait_s = SAMPLE_S
        while True:
            await asyncio.sleep(wait_s)
            self.tell(await loop.run_in_executor(None, sampler.sample))
            wait_s = SAMPLE_S if self._busy() else IDLE_SAMPLE_S

    def tell(self, sample: machines.Sample) -> None:
        """Say what is free now."""
        coarse, idle = machines.coarse(sample, self._sample), not self._busy()
        self._say(self.advert(sample), coarse != self._sample or idle != self._idle)
        self._sample, self._idle = coarse, idle

    def advert(self, sample: machines.Sample) -> Advert:
        """The advert of a sample; version, lifetime and what runs are filled in by the peer."""
        config, machine = self._config, self.machine
        return Advert(
            contact=self._contact, boot=self._boot, version=0, ttl_s=0.0, roles=self._roles, cores=machine.cores,
            slots=self._slots, slots_free=self._slots, memory_bytes=sample.memory_bytes,
            memory_free_bytes=sample.memory_free_bytes, load=min(max(sample.load, 0.0), 1.0), python=machine.python,
            implementation=machine.implementation, platform=machine.platform,
            runtimes=list(config.accept) if self._roles & Role.COMPUTE else [], packages=list(self._packages),
            accelerators=[Accelerator(a.kind, a.count, a.memory_bytes) for a in machine.accelerators],
            tags=list(config.tags), position=config.position, rtt_ms=0.0, machine=machine.group,
        )  # fmt: skip
