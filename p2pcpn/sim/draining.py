"""Draining: a virtual peer leaves as ``protocol/departure.py`` decides, by the same machines that real ones have.

What is a file's or a process's in ``node/draining.py`` is the virtual disk's and runtime's here; sections of blobs are
not simulated, and are handed over at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from p2pcpn import limits
from p2pcpn.protocol import departure as d
from p2pcpn.protocol.events import Bequeathed
from p2pcpn.protocol.handing_over import HandedOver
from p2pcpn.protocol.legacies import LogName, settled_of
from p2pcpn.protocol.peer import Peer
from p2pcpn.sim.host import Host


class Draining:
    """See the module. ``since_s`` is when ``host`` was told to leave last, None while it stays; ``gone``, when it has
    left, and its disk with it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.machine = d.Departure()
        self.since_s: float | None = None
        self.gone = False
        self._life = host.boot
        self._turn = 0
        self._leaving = False
        host.listeners.append(self._heard)

    def begin(self, timeout_s: float, *, careful: bool = False) -> None:
        """Leave within about ``timeout_s``."""
        self._perform(self.machine.begin(timeout_s, self.host.clock.now, careful=careful))

    def undo(self) -> bool:
        """Stay after all; whether it is not too late."""
        steps = self.machine.undo()
        self._perform(steps)
        return bool(steps)

    @property
    def over(self) -> bool:
        """Whether it has left, stays, or died meanwhile."""
        return self.gone or self.machine.stage is d.Stage.STAYING or not self._lives

    @property
    def _lives(self) -> bool:
        return self.host.peer is not None and self.host.boot == self._life

    @property
    def _peer(self) -> Peer:
        assert self.host.peer is not None
        return self.host.peer

    def _undone(self) -> d.Undone:
        worker, jobs = self._peer.worker, self._peer.aftercare.bequest
        return d.Undone(worker.running, worker.unsettled, jobs.short, 0, jobs.alone, jobs.orphans)

    # --- what is performed -------------------------------------------------------------------------------------------

    def _perform(self, steps: Sequence[d.Step]) -> None:
        for step in steps:
            self._do(step)
        if self._lives and self.machine.stage not in d.HANDING_OVER:
            self._peer.aftercare.bequest.stop()
        due_s = self.machine.deadline()
        if due_s is not None:
            self.host.clock.at(max(due_s, self.host.clock.now), self._look)

    def _look(self) -> None:
        now, due_s = self.host.clock.now, self.machine.deadline()
        if self._lives and due_s is not None and due_s <= now:
            self._perform(self.machine.expire(self._undone(), now))

    def _do(self, step: d.Step) -> None:
        host, now = self.host, self.host.clock.now
        match step:
            case d.Drain():
                self.since_s = now
                host.follow(self._peer.presence.drain(now))
            case d.Acknowledge():
                self._acknowledge()
            case d.HandOver():
                self._turn = step.turn
                if step.what is d.Stage.JOBS:
                    host.follow(self._peer.aftercare.bequest.begin(self._logs, now))
                else:
                    host.clock.after(0.0, partial(self._handed_over, step.turn))
            case d.Stay():
                self.since_s = None
                host.follow(self._peer.presence.stay(now))
            case d.Go():
                self._leaving = True
                host.follow(self._peer.leave(now))
                host.clock.after(limits.HANDOVER_S + 1.0, self._leave)

    def _acknowledge(self) -> None:
        worker = self._peer.worker
        for job in [job for job, work in worker.works.items() if work.unsettled]:
            bodies = [row[1] for _, row in self.host.disk.scan("logs", (job,))]
            keys = [key for body in bodies for key in settled_of(self.host.keypair.public, body)]
            self.host.follow(worker.logged(job, keys))

    def _logs(self, job: bytes) -> dict[LogName, int]:
        counts: Counter[LogName] = Counter()
        for (_, grantor, epoch, number), _ in self.host.disk.scan("logs", (job,)):
            counts[grantor, epoch] += number == counts[grantor, epoch]
        return dict(counts)

    def _heard(self, event: object) -> None:
        """Not at once: what is heard here is still being dealt with there."""
        if isinstance(event, Bequeathed):
            self.host.clock.after(0.0, partial(self._handed_over, self._turn))
        elif isinstance(event, HandedOver) and self._leaving:
            self.host.clock.after(0.0, self._leave)

    def _handed_over(self, turn: int) -> None:
        if self._lives:
            self._perform(self.machine.handed_over(turn, self._undone(), self.host.clock.now))

    def _leave(self) -> None:
        """The process ends, and its owner clears the disk."""
        if self._lives and not self.gone:
            self.gone = True
            self.host.listeners.remove(self._heard)
            self.host.crash(power=True)
            self.host.disk.blobs.clear()
