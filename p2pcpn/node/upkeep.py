"""Upkeep: what a node does for the sections it keeps, as ``protocol/tending.py`` says, and before it leaves.

It says in the DHT that it keeps them, compares with the others who do, restores replicas and lets go of what is too
many. Little at a time: nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from p2pcpn.errors import P2pcpnError, PeerError, StoreError, Unreachable
from p2pcpn.net.session import Session
from p2pcpn.protocol import tending as t
from p2pcpn.protocol.departure import HAND_OVER_S
from p2pcpn.protocol.deposits import Kept
from p2pcpn.protocol.transfer import Placing
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.sealing import digest

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

log = logging.getLogger("p2pcpn.node")

COMPARE_WAIT_S: Final = 5.0
SWEEP_S: Final = 60.0
# Searches, transfers and announcements at a time.
AT_ONCE: Final = 4
# What could not be announced is tried again, so many in a minute.
ANNOUNCED_AGAIN: Final = 64


class Upkeep:
    """See the module. ``begin`` once the depot knows what is on the disk."""

    def __init__(self, overlay: Overlay, pace: t.Pace) -> None:
        self._overlay = overlay
        self._depot = overlay.depot
        self._hauler = overlay.hauler
        self._machine = t.Tending(overlay.id, pace)
        self._wake = asyncio.Event()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._announcing = asyncio.Semaphore(AT_ONCE)
        self._proving = asyncio.Semaphore(AT_ONCE)
        self._provided: dict[bytes, float] = {}  # what is said in the DHT, and of which retention's end
        self._dice = random.SystemRandom()
        depot = self._depot
        depot.changed, depot.holders = self._changed, self._machine.holders
        depot.learned, depot.compared = self._learned, self._compared
        self.alone: set[bytes] = set()  # of those below, what nobody else has
        self.missed: set[bytes] = set()  # what a peer that leaves has not brought to enough others (yet)
        self.doubted: Callable[[bytes], None] = lambda name: None  # told of what cannot be read

    def begin(self) -> None:
        """Know what is kept, and go on for ever."""
        for name, kept in self._depot.ledger.kept.items():
            if kept.whole:
                self._changed(name)
        self._overlay.spawn(self._run())
        self._overlay.spawn(self._sweep())

    def lost(self, peer: bytes) -> None:
        """The session with ``peer`` has ended."""
        self._machine.lost(peer, self._now)
        self._wake.set()

    @property
    def _now(self) -> float:
        return self._overlay.loop.time()

    # --- what is told ------------------------------------------------------------------------------------------------

    def _changed(self, name: bytes) -> None:
        kept = self._depot.ledger.kept.get(name)
        if kept is not None and kept.whole:
            self._machine.kept(name, kept.replicas(time.time()), self._now, pinned=kept.pinned)
        else:
            self._machine.dropped(name)
        self._overlay.spawn(self._announce(name))
        self._wake.set()

    def _learned(self, name: bytes, contacts: Sequence[Contact]) -> None:
        self._machine.learned(name, contacts, self._now)
        self._wake.set()

    def _compared(self, session: Session, names: list[bytes]) -> None:
        remote = session.remote
        try:
            peer = contact(remote.id, remote.listen or remote.address)
        except ValueError:
            return
        self._machine.confirmed(peer, names, self._now)
        self._wake.set()

    async def _announce(self, name: bytes) -> None:
        """Say in the DHT that a section is kept here, or is not any more."""
        async with self._announcing:
            kept = self._depot.ledger.kept.get(name)
            try:
                if kept is None or not kept.whole:
                    if name in self._provided:
                        del self._provided[name]
                        self._overlay.withdraw(name[:20])
                elif self._provided.get(name) != kept.expires_s:  # nor said before it was prolonged
                    await self._overlay.provide(name[:20], kept.provided_s)
                    self._provided[name] = kept.expires_s
                    if self._depot.ledger.kept.get(name) is not kept or not kept.whole:  # gone meanwhile
                        del self._provided[name]
                        self._overlay.withdraw(name[:20])
            except P2pcpnError as error:  # it is found by its place near the name all the same
                self._overlay.counters["sections not announced"] += 1
                log.info("section %s is not announced: %s", name.hex()[:8], error)

    # --- what is done ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            for effect in self._machine.expire(self._now):
                self._overlay.spawn(self._do(effect))
            self._wake.clear()
            due = self._machine.deadline()
            try:
                async with asyncio.timeout(None if due is None else max(0.01, due - self._now)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _sweep(self) -> None:
        while True:
            self.sweep()
            await asyncio.sleep(SWEEP_S)

    def sweep(self) -> None:
        """Drop what has to go; what is pinned beyond its retention is wanted here alone from then on."""
        self._depot.sweep()
        for name, kept in self._depot.ledger.kept.items():
            if kept.pinned and kept.whole:
                self._machine.kept(name, kept.replicas(time.time()), self._now, pinned=True)
        for name in self._unsaid()[:ANNOUNCED_AGAIN]:
            self._overlay.spawn(self._announce(name))

    def _unsaid(self) -> list[bytes]:
        """What is kept here and could not be said in the DHT."""
        kept = self._depot.ledger.kept
        return [name for name in kept if kept[name].whole and name not in self._provided]

    def _do(self, effect: t.Effect) -> Coroutine[Any, Any, None]:
        match effect:
            case t.Check():
                return self._check(effect)
            case t.Prove():
                return self._prove(effect)
            case t.SeekHolders():
                return self._seek(effect)
            case t.Replicate():
                return self._replicate(effect)
            case t.Release():
                return self._release(effect)

    async def _check(self, effect: t.Check) -> None:
        try:
            answer = await self._overlay.request(
                effect.peer, lambda number: m.Compare(number, list(effect.names)), COMPARE_WAIT_S
            )
        except Unreachable:
            self._machine.unreachable(effect.peer.id, self._now)
        else:
            have = answer.have if isinstance(answer, m.Compared) else b""
            there = [at // 8 < len(have) and bool(have[at // 8] >> at % 8 & 1) for at in range(len(effect.names))]
            named = list(zip(effect.names, there, strict=True))
            self._machine.confirmed(effect.peer, [name for name, has in named if has], self._now)
            self._machine.lacks(effect.peer.id, [name for name, has in named if not has], self._now)
        self._wake.set()

    async def _prove(self, effect: t.Prove) -> None:
        """Have a peer show one chunk of a section, chosen by chance."""
        async with self._proving:
            kept = self._depot.ledger.kept.get(effect.name)
            right = kept is not None and await self._shows(effect.peer, effect.name, kept)
            self._machine.shown(effect.name, effect.peer.id, self._now, right=right)
            self._wake.set()

    async def _shows(self, peer: Contact, name: bytes, kept: Kept) -> bool:
        index = self._dice.randrange(max(1, kept.manifest.count))
        return await self._hauler.proves(peer, name, kept.manifest, index)

    async def _seek(self, effect: t.SeekHolders) -> None:
        async with self._gate:
            found: list[Contact] = []
            try:
                seen = await self._hauler.seek(effect.name, self._hauler.storage_near(effect.name), manifest=False)
                asked = {peer.id for peer, _ in seen}
                more = [peer for peer in await self._hauler.providers(effect.name) if peer.id not in asked]
                seen += await self._hauler.seek(effect.name, more, manifest=False)
                found = [peer for peer, holding in seen if holding.whole]
            except P2pcpnError as error:
                log.info("holders of %s were not looked for: %s", effect.name.hex()[:8], error)
            self._machine.sought(effect.name, found, self._now)
            self._wake.set()

    async def _replicate(self, effect: t.Replicate) -> None:
        async with self._gate:
            placing = await self._bring(effect.name, effect.holders, effect.count)
            had = {holder.id for holder in effect.holders}
            fresh = [] if placing is None else [each for each in placing.holders if each.id not in had]
            self._machine.replicated(effect.name, fresh, self._now)
            self._wake.set()

    async def _bring(self, name: bytes, holders: Sequence[Contact], count: int) -> Placing | None:
        """Bring a section of ours to ``count`` more peers; ``None`` where it is not (rightly) here."""
        kept = self._depot.ledger.kept.get(name)
        if kept is None or not kept.whole:
            return None
        manifest, store = kept.manifest, self._depot.store

        def chunk(index: int) -> bytes:
            start, size = manifest.sealed_range(index)
            try:
                data = store.read(name, start, size)
            except StoreError as error:
                raise OSError(str(error)) from error
            if digest(data) != manifest.chunk(index):
                raise OSError(f"chunk {index} of section {name.hex()[:8]} is no longer what it was")
            return data

        placing = Placing(self._hauler.storage_near(name), len(holders) + count, holders)
        told = [*holders, self._overlay.peer.contact]
        try:
            await self._hauler.place(placing, kept.signed, kept.manifest_bytes, manifest, name, chunk, told=told)
        except OSError as error:  # what cannot be read is no replica; the others will see that it is not here
            self._overlay.counters["sections damaged"] += 1
            log.error("%s", error)
            self.doubted(name)
            return None
        brought = len(placing.holders) - len(holders)
        self._overlay.counters["sections brought to others"] += brought
        self._overlay.counters["section bytes brought to others"] += brought * manifest.sealed_bytes
        return placing

    async def _release(self, effect: t.Release) -> None:
        """Let go of a section that enough nearer peers show to have."""
        async with self._gate:
            kept = self._depot.ledger.kept.get(effect.name)
            if kept is None or not kept.whole:
                return
            shown = True
            for peer in effect.nearer:
                if not await self._shows(peer, effect.name, kept):
                    self._machine.unreachable(peer.id, self._now)
                    shown = False
            if shown and not kept.pinned:
                self._overlay.counters["sections released"] += 1
                self._depot.drop(effect.name)
            else:
                self._machine.kept_on(effect.name, self._now)
            self._wake.set()

    async def hand_over(self, wait_s: float | None = HAND_OVER_S) -> None:
        """We are about to leave: take nothing more, and bring to others what would be short without us.

        It ends after ``wait_s`` (``None``: when all is brought), and may be cancelled at any time."""
        self._depot.leaving = True
        kept, mine, wall = self._depot.ledger.kept, self._overlay.keypair.public, time.time()
        short = [
            (name, count)
            for name, count in self._machine.short()
            if name in kept and kept[name].is_wanted_without(mine, wall)
        ]

        self.missed = {name for name, _ in short}
        self.alone = {name for name, _ in short if not self._machine.living(name)}

        async def bring(name: bytes, count: int) -> None:
            async with self._gate:
                living = self._machine.living(name)
                placing = await self._bring(name, living, count)
                if placing is not None and placing.holders:
                    self.alone.discard(name)
                if placing is not None and len(placing.holders) >= len(living) + count:
                    self.missed.discard(name)

        try:
            async with asyncio.timeout(wait_s):
                await asyncio.gather(*(bring(name, count) for name, count in short))
        except (TimeoutError, PeerError):
            log.info("not everything could be handed over within %g s", wait_s)
