"""The jobs this node grants or has submitted: one grantor each, made here and woken here."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.protocol.admission import OPEN_SWARM, Rules, trusts
from p2pcpn.protocol.custody import Custody
from p2pcpn.protocol.directory import Listed
from p2pcpn.protocol.effects import Effect, Send
from p2pcpn.protocol.grantor import UNKNOWN, UNWANTED, Grantor, blobs_of
from p2pcpn.protocol.steward import Kept
from p2pcpn.protocol.witness import Note
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import ClaimReply, ClaimRequest
from p2pcpn.wire.sealing import JobKeys, unwrap
from p2pcpn.wire.statements import Claim, Segment, Signed, opened, read


class Jobs:
    """Grantors by job. ``near(job, now)`` lists storage peers for a job, ``rank`` orders claims, ``age_s(job)`` is how
    old a job is that this node keeps."""

    def __init__(
        self,
        *,
        me: Keypair,
        contact: Callable[[], Contact],
        rules: Rules,
        storing: bool,
        request: Callable[[], int],
        rank: Callable[[Contact, float], tuple[float, bytes]],
        near: Callable[[bytes, float], list[Listed]],
        now: float,
        age_s: Callable[[bytes], float] = lambda job: 0.0,
        note: Note | None = None,
    ) -> None:
        self._me = me
        self._note = note
        self._contact = contact
        self._rules = rules
        self._storing = storing
        self._request = request
        self._rank = rank
        self._near = near
        self._now = now
        self._age_s = age_s
        self.grantors: dict[bytes, Grantor] = {}

    def open(self, spec: Signed, job: bytes, job_key: bytes, now: float, granting: bool) -> list[Effect]:
        """Begin a job and introduce it to its stewards."""
        return self._grantor(spec, job, job_key, 0, now, granting).custody.open()

    def adopt(
        self, kept: Kept, segments: list[tuple[Signed, list[bytes]]], settled: list[tuple[int, int]], now: float
    ) -> list[Effect]:
        """Grant a job from now on that this node has kept as a steward. Raises :class:`PeerError` before it begins."""
        authority = kept.authority
        for segment, _ in segments:  # kept on the word of the one after it, perhaps; others will look at each
            opened(segment, Segment)
        mine = next(s for s in authority.spec.stewards if s.key == self._me.public)
        job_key = unwrap(self._me, authority.owner, authority.spec.nonce, mine.wrapped)
        named = [_blobs_named(JobKeys(job_key), segment, sealed) for segment, sealed in segments]
        assert authority.handover is not None and authority.signed_handover is not None
        epoch = authority.handover.epoch
        grantor = self._grantor(authority.signed_spec, authority.job, job_key, epoch, now, True)
        effects = grantor.custody.adopt(authority.signed_handover, [read(s, Segment).number for s, _ in segments])
        for (segment, sealed), blobs in zip(segments, named, strict=True):
            grantor.restore(segment, sealed, blobs)
        grantor.ledger.settled_already(settled)
        if kept.close is not None and kept.total is not None:
            grantor.total = kept.total
        if kept.pause is not None:
            grantor.restore_pause(kept.pause)
        return effects + grantor.begin(now)

    def _grantor(self, spec: Signed, job: bytes, job_key: bytes, epoch: int, now: float, granting: bool) -> Grantor:
        self._now = now
        custody = Custody(
            job=job, spec=spec, me=self._me.id, epoch=epoch, storing=self._storing,
            candidates=lambda: [listed.advert.contact for listed in self._near(job, self._now)],
            request=self._request,
        )  # fmt: skip
        grantor = Grantor(
            job=job, spec=spec, keys=JobKeys(job_key), epoch=epoch, me=self._me, contact=self._contact(),
            trusted=lambda key, proof: trusts(self._rules, key, proof) or key == self._me.public,
            rank=self._rank, custody=custody, now=now, granting=granting, age_s=self._age_s(job) if epoch else 0.0,
            note=self._note,
        )  # fmt: skip
        self.grantors[job] = grantor
        return grantor

    def claimed(self, sender: Contact, message: ClaimRequest, now: float) -> list[Effect]:
        """A claim, and our verdict. Raises :class:`PeerError` for one that another peer signed."""
        claim = read(message.claim, Claim)
        if claim.contact.id != sender.id or sender.id != node_id(message.claim.key):
            raise PeerError("a claim comes from another peer than the one that signed it")
        grantor = self.grantors.get(claim.job)
        if grantor is None:
            return [Send(sender, ClaimReply(message.nonce, UNKNOWN))]
        if not self._admits(message.claim.key):
            return [Send(sender, ClaimReply(message.nonce, UNWANTED))]
        opened(message.claim, Claim)  # last, because it costs a hundred times the rest
        # The address the pair proved, not the one the claim states.
        claim = msgspec.structs.replace(claim, contact=sender)
        verdict, effects = grantor.claimed(claim, message.claim.key, now)
        return [Send(sender, ClaimReply(message.nonce, verdict)), *effects]

    def _admits(self, key: bytes) -> bool:
        """Whether that node may be leased tasks. In a keyed swarm all are members; in an open one a stranger would see
        the tasks, and its results would be refused."""
        return self._rules.swarm_key != OPEN_SWARM or key in self._rules.trusted or key == self._me.public

    def each(self, act: Callable[[Grantor], list[Effect]]) -> list[Effect]:
        """What every grantor makes of something."""
        return [effect for grantor in list(self.grantors.values()) for effect in act(grantor)]

    def peer_dead(self, node: NodeId, now: float) -> list[Effect]:
        """A peer is dead or has left."""
        return self.each(lambda grantor: grantor.peer_dead(node, now))

    @property
    def leases_out(self) -> bool:
        """Whether any peer runs something for us now."""
        return any(grantor.leases for grantor in self.grantors.values())

    def deadline(self) -> float | None:
        """The earliest of all jobs."""
        if not self.grantors:
            return None
        times = [grantor.deadline() for grantor in self.grantors.values()]
        return min((time for time in times if time is not None), default=None)

    def expire(self, now: float) -> list[Effect]:
        """Do what is due."""
        self._now = now
        return self.each(lambda grantor: grantor.expire(now))


def _blobs_named(keys: JobKeys, segment: Signed, sealed: list[bytes]) -> list[list[bytes]]:
    """The blobs that each page of a segment names."""
    said, names = read(segment, Segment), []
    first = said.first
    for (count, _), page in zip(said.pages, sealed, strict=True):
        names.append(blobs_of(keys.page(first), page))
        first += count
    return names
