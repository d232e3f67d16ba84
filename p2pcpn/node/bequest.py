"""The bequest on a real disk: what a node that leaves keeps of jobs, which ``protocol/bequest.py`` brings to others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from p2pcpn.errors import PeerError
from p2pcpn.node.damage import DamagedRow
from p2pcpn.node.restoring import bytes_of, signed_of
from p2pcpn.protocol import events
from p2pcpn.protocol.legacies import LogName, settled_of
from p2pcpn.wire.statements import LogHeader, read

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay
    from p2pcpn.protocol.bequest import Bequest as Machine


class Bequest:
    """See the module, and there for what ``machine`` counts."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._logged: set[bytes] = set()  # blobs that logs name which were looked at

    @property
    def machine(self) -> Machine:
        return self._overlay.peer.aftercare.bequest

    def acknowledge(self) -> None:
        """Results of ours that a log on our disk settles need no other word: the log goes on to others.

        Their grantor may be gone, and this node be the steward whom they would be offered to.
        """
        worker = self._overlay.peer.worker
        mine = worker.me.public
        for job in [job for job, work in worker.works.items() if work.unsettled]:
            keys: list[tuple[int, int, int]] = []
            for _, row in self._overlay.database.scan("logs", (job,)):
                with suppress(PeerError, DamagedRow):  # its grantor's bytes, of which nobody else makes more either
                    keys += settled_of(mine, bytes_of(row[1]))
            self._overlay.follow(worker.logged(job, keys))

    async def hand_over(self) -> None:
        """Bring every job to as many peers as are short of it without us. May be cancelled at any time."""
        over, machine, given = asyncio.Event(), self.machine, self.machine.given

        def watch(event: object) -> None:
            if isinstance(event, events.Bequeathed):
                over.set()

        self._overlay.watchers.append(watch)
        try:
            self._overlay.follow(machine.begin(self._logs, self._overlay.loop.time(), self._blobs()))
            await over.wait()
        finally:
            machine.stop()
            self._overlay.watchers.remove(watch)
            self._overlay.counters["jobs handed over"] += machine.given - given

    def _logs(self, job: bytes) -> dict[LogName, int]:
        """How many segments lie here of each log of the job, without a gap."""
        counts: Counter[LogName] = Counter()
        for key, row in self._overlay.database.scan("logs", (job,)):
            name = (bytes_of(key[1]), int(key[2]))
            if key[3] == counts[name]:
                counts[name] += 1
            with suppress(PeerError, DamagedRow):
                self._logged.update(read(signed_of(row[0]), LogHeader).blobs)
        return dict(counts)

    def _blobs(self) -> Callable[[bytes], Sequence[bytes]]:
        """The blobs here by job, but for those that logs name, which go with these."""
        self._logged.clear()
        found: dict[bytes, list[bytes]] = {}
        for (name,), (_, job, _) in self._overlay.database.scan("blobs"):
            if isinstance(job, bytes) and isinstance(name, bytes):
                found.setdefault(job, []).append(name)
        return lambda job: [name for name in found.get(job, ()) if name not in self._logged]
