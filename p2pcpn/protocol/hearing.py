"""Hearing: tasks that are said reach the worker at once, and the steward's copy when they are proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import Effect, Hangup
from p2pcpn.protocol.proving import Proving, together
from p2pcpn.protocol.steward import Steward
from p2pcpn.protocol.worker import Worker
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Extend, Further, Grant
from p2pcpn.wire.statements import Segment, read

Refused = Callable[[NodeId, Extend, PeerError], list[Effect]]
Keep = Callable[[Contact, Extend, float], list[Effect]]


class Hearing:
    """See the module. ``keep`` is the steward's; ``refused`` counts what cannot be right, against its sender."""

    def __init__(self, worker: Worker, steward: Steward, keep: Keep, refused: Refused, counters: Counter[str]) -> None:
        self._worker = worker
        self._steward = steward
        self._keep = keep
        self._refused = refused
        self._counters = counters
        self._proving = Proving()

    def extended(
        self, contact: Contact, key: bytes, message: Extend, now: float, *, prove: bool = True
    ) -> list[Effect]:
        """A segment. Raises :class:`PeerError` for one that is not the owner's, unless the owner's own node says it.

        What is believed long enough is proved now, or (not ``prove``) at the deadline, when nobody waits for us.
        """
        said = read(message.segment, Segment)
        job = said.job
        known = self._worker.works.get(job) or self._steward.jobs.get(job)
        # Of a job that is granted in lots we lease what we keep: that waits for its proof, so it is proved at once.
        if known is None or known.authority.spec.grantor != key or (message.keep and self._leases(job)):
            self._worker.extended(message)
            return self._keep(contact, message, now) if message.keep or message.request else []
        self._worker.extended(message, believed=said)
        self._proving.put_off(contact, message, now)
        return self.prove(now) if prove or self._proving.full else []

    def _leases(self, job: bytes) -> bool:
        kept = self._steward.jobs.get(job)
        return kept is not None and kept.authority.is_split

    def heard(self, contact: Contact, key: bytes, message: Extend | Further | Grant, now: float) -> list[Effect]:
        """A segment, a lease with one, or tasks that a lease gave before they were there, with theirs. Raises
        :class:`PeerError` as :meth:`extended` and the worker do."""
        if isinstance(message, Extend):
            return self.extended(contact, key, message, now)
        effects = [] if message.extend is None else self.extended(contact, key, message.extend, now, prove=False)
        if isinstance(message, Grant):
            return effects + self._worker.granted(contact, key, message, now)
        return effects + self._worker.furthered(contact, message, now)

    def prove(self, now: float, *, early: bool = False) -> list[Effect]:
        """Prove what was believed long enough (``early``: at all), and keep it where this peer is to keep it."""
        right, wrong = self._proving.due(float("inf") if early else now)
        effects: list[Effect] = []
        for sender, message in right:
            if message.keep:
                try:
                    effects += self._keep(sender, message, now)
                except PeerError as error:
                    effects += self._refused(NodeId(sender.id), message, error)
        effects = together(effects)
        for sender, message, why in wrong:
            node = NodeId(sender.id)
            self._counters["disproved Extend"] += 1
            effects += self._worker.condemn(read(message.segment, Segment).job, node, now)
            effects.append(Hangup(node, str(why)[: limits.REASON_CHARS_MAX]))
        return effects

    def deadline(self) -> float | None:
        """When :meth:`prove` is due."""
        return self._proving.deadline()
