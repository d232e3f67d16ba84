"""Legacies: what a peer that leaves holds of jobs, and to whom it goes, so that each has as many copies as before.

Who leaves cannot know whether a grantor lives that would look for another holder, and of a job that is over nobody
does. So it asks the peers nearest to the job what they have, and brings the rest to as many as are short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.passing import Make, Parcel, covers, lacking, parcel
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Entrust, JobKept, JobState
from p2pcpn.wire.pages import LOG_BODY
from p2pcpn.wire.sealing import job_id
from p2pcpn.wire.statements import Receipt, Signed, read

LogName = tuple[bytes, int]  # grantor, epoch


@dataclass(frozen=True, slots=True)
class Legacy:
    """One job: what of it is here, how many others are to have that, and how many results wait here for a grantor.

    ``stewards`` are the ids of those whom its owner named: whoever grants next speaks to them first. ``blobs`` are
    those on the disk that its tasks may name; ``expires_s`` (wall clock) is when it is kept no longer.
    """

    parcel: Parcel
    replicas: int
    orphans: int = 0
    stewards: frozenset[bytes] = frozenset()
    blobs: tuple[bytes, ...] = ()
    expires_s: float = 0.0

    @property
    def job(self) -> bytes:
        return self.parcel.job

    def with_disk(self, logs: Mapping[LogName, int], blobs: Sequence[bytes] = ()) -> Legacy:
        """The same with what lies on the disk: logs, this peer's own as a grantor, too, and some of jobs unknown here;
        and blobs, which matter while tasks may be run."""
        found = tuple(
            (grantor, epoch, count) for (grantor, epoch), count in sorted(logs.items(), key=lambda e: e[0][::-1])
        )
        kept = tuple(blobs) if self.parcel.segments else ()
        return replace(self, parcel=replace(self.parcel, logs=found), blobs=kept)

    @property
    def empty(self) -> bool:
        """Whether nothing is here but words, which their owner says again."""
        return not (self.parcel.logs or self.parcel.segments or self.orphans)


def legacy(kept: Kept) -> Legacy:
    """What is here of a job that is kept."""
    spec = kept.authority.spec
    named = frozenset(steward.contact.id for steward in spec.stewards)
    orphans = len(kept.orphans) if kept.is_open else 0
    return Legacy(parcel(kept), spec.replicas, orphans, named, expires_s=kept.expires_s)


def settled_of(key: bytes, body: bytes) -> list[tuple[int, int, int]]:
    """Which receipts of the worker with ``key`` a log segment settles, as (epoch, token, part): it goes on to others,
    so nobody need be brought them. Raises :class:`PeerError` for a body that is none.

    A log holds receipts under leases of older epochs too, by which they are named.
    """
    said = [read(entry.receipt, Receipt) for entry in LOG_BODY.decode(body) if entry.receipt.key == key]
    return [(each.epoch, each.token, each.part) for each in said]


def shown(job: bytes, state: JobState) -> JobKept | None:
    """What a peer says that it has of a job; nothing, where it shows another one."""
    if job_id(state.spec.key, state.spec.body) != job:
        return None
    return JobKept(len(_words(state)), state.segments, state.logs)


def told_of(state: JobState) -> Make:
    """What is told of a job by somebody who has its log, and heard of it by another."""
    return lambda request, wall: Entrust(request, state.spec, _words(state), 0.0)


def heirs(
    here: Parcel, replicas: int, answers: Sequence[tuple[Contact, JobKept | None]]
) -> tuple[list[Contact], list[tuple[Contact, JobKept | None]]]:
    """Who has all of it, at most as many as are wanted, and who may be brought the rest, the best first.

    ``answers``: what storage peers said, the nearest first; of those that lack as much the nearest is the best.
    """
    mine = here.kept
    whole = [contact for contact, theirs in answers if covers(theirs, mine, segments=True)]
    others = [(contact, theirs) for contact, theirs in answers if not covers(theirs, mine, segments=True)]
    others.sort(key=lambda each: lacking(each[1], mine, segments=True))
    return whole[:replicas], others


def _words(state: JobState) -> list[Signed]:
    return [word for word in (*state.handovers, state.close, state.cancel, state.pause) if word is not None]
