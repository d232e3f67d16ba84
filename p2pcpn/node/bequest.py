"""The bequest: what a node that leaves keeps of jobs is brought to peers that stay, as ``protocol/legacies.py`` says.

Each log is read from the disk and sent segment by segment; a segment counts when its heir answers that it is on disk,
and the heir fetches the blobs of its results from us first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from p2pcpn.errors import P2pcpnError, PeerError, StoreError, Unreachable
from p2pcpn.node.restoring import bytes_of, signed_of
from p2pcpn.protocol.legacies import Heir, Legacy, LogName, heirs
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import AnswerCode, Entrust, JobState
from p2pcpn.wire.pages import LOG_BODY
from p2pcpn.wire.statements import Receipt, Signed, read

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

log = logging.getLogger("p2pcpn.node")

Make = Callable[[int], m.Message]

# Storage peers that are asked what they have of a job: twice as many as keep one with the usual replicas and stewards.
ASKED_MAX: Final = 16
ASK_WAIT_S: Final = 3.0
# A segment of 4 MiB, and the blobs that its results name.
TAKE_WAIT_S: Final = 60.0
AT_ONCE: Final = 4


class Bequest:
    """See the module. ``left`` counts jobs that are still to be looked after, ``short`` those of which others have
    fewer copies than are wanted, and ``alone`` those of which nobody else has any."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._gate = asyncio.Semaphore(AT_ONCE)
        self.left = 0
        self.short = self.alone = 0

    def acknowledge(self) -> None:
        """Results of ours that a log on our disk settles need no other word: the log goes on to others.

        Their grantor may be gone, and this node be the steward whom they would be offered to.
        """
        worker = self._overlay.peer.worker
        mine = worker.me.public
        for job in [job for job, work in worker.works.items() if work.unsettled]:
            keys: list[tuple[int, int, int]] = []
            for _, row in self._overlay.database.scan("logs", (job,)):
                try:
                    # A log holds receipts under leases of older epochs too, by which they are named.
                    said = [(entry, read(entry.receipt, Receipt)) for entry in LOG_BODY.decode(bytes_of(row[1]))]
                except (PeerError, StoreError):
                    continue  # its grantor's bytes, of which nobody else makes more either
                keys += [(each.epoch, each.token, each.part) for entry, each in said if entry.receipt.key == mine]
            self._overlay.follow(worker.logged(job, keys))

    async def hand_over(self) -> None:
        """Bring every job to as many peers as are short of it without us. May be cancelled at any time."""
        legacies = self._overlay.peer.steward.legacies()
        self.left, self.short, self.alone = len(legacies), 0, 0
        try:
            async with asyncio.TaskGroup() as group:
                for legacy in legacies:
                    group.create_task(self._one(legacy))
        finally:
            self.short += self.left  # those that were not looked after at all
            self.alone += self.left

    async def _one(self, legacy: Legacy) -> None:
        async with self._gate:
            try:
                copies = await self._pass_on(legacy)
            except P2pcpnError as error:
                log.warning("job %s was not handed over: %s", legacy.job.hex()[:8], error)
                copies = 0
        self.left -= 1
        self.short += copies < legacy.replicas
        self.alone += not copies

    async def _pass_on(self, legacy: Legacy) -> int:
        """How many others have a job's logs, at most as many as are wanted; who is lacking is brought them."""
        logs = self._logs(legacy.job)
        if not logs:
            return legacy.replicas  # nothing is settled: its owner and its stewards have what there is
        overlay = self._overlay
        near = overlay.peer.stewards_near(legacy.job, overlay.loop.time())[:ASKED_MAX]
        contacts = [listed.advert.contact for listed in near]
        states = await asyncio.gather(*(self._ask(contact, legacy.job) for contact in contacts))
        answers = list(zip(contacts, states, strict=True))
        told = legacy.entrust
        entrust: Make | None = None if told is None else lambda number: told(number, time.time())
        for state in states:
            if entrust is None and state is not None:
                entrust = _told_of(state)
        if entrust is None:
            return 0  # nobody who answers knows what job it is: nobody could read its log
        found, needed = heirs(logs, legacy.replicas, answers)
        for heir in found:
            if needed > 0 and await self._bring(heir, legacy.job, logs, entrust):
                needed -= 1
                overlay.counters["jobs handed over"] += 1
        return legacy.replicas - max(needed, 0)

    def _logs(self, job: bytes) -> dict[LogName, int]:
        """How many segments lie here of each log of the job, without a gap."""
        counts: Counter[LogName] = Counter()
        for key, _ in self._overlay.database.scan("logs", (job,)):
            name = (bytes_of(key[1]), int(key[2]))
            if key[3] == counts[name]:
                counts[name] += 1
        return dict(counts)

    async def _ask(self, contact: Contact, job: bytes) -> JobState | None:
        try:
            answer = await self._overlay.request(contact, lambda number: m.Ask(number, job), ASK_WAIT_S)
        except Unreachable:
            return None
        return answer if isinstance(answer, JobState) else None

    async def _bring(self, heir: Heir, job: bytes, logs: dict[LogName, int], entrust: Make) -> bool:
        """Whether that peer has all of it on disk now."""
        if not heir.knows and not await self._taken(heir.contact, entrust):
            return False
        for (grantor, epoch), first in heir.lacks:
            for number in range(first, logs[grantor, epoch]):
                row = self._overlay.database.get("logs", (job, grantor, epoch, number))
                if row is None:
                    return False
                if not await self._taken(heir.contact, _append(signed_of(row[0]), bytes_of(row[1]))):
                    return False
        return True

    async def _taken(self, contact: Contact, make: Make) -> bool:
        try:
            answer = await self._overlay.request(contact, make, TAKE_WAIT_S)
        except Unreachable:
            return False
        return isinstance(answer, m.Answer) and answer.code == AnswerCode.DONE


def _append(header: Signed, body: bytes) -> Make:
    return lambda number: m.Append(number, header, body)


def _told_of(state: JobState) -> Make:
    words = [word for word in (*state.handovers, state.close, state.cancel, state.pause) if word is not None]
    return lambda number: Entrust(number, state.spec, words, 0.0)
