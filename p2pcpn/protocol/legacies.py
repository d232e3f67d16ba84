"""Legacies: what a peer that leaves holds of jobs, and to whom it goes, so that each log has as many copies as before.

Who leaves cannot know whether a grantor lives that would look for another holder, and of a job that is over nobody
does. So it asks the peers nearest to the job what they have, and brings the rest to as many as are short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Entrust, JobState

LogName = tuple[bytes, int]  # grantor, epoch


@dataclass(frozen=True, slots=True)
class Legacy:
    """One job: how many keep its logs, and what is told of it; nothing, where only a log is kept for its grantor."""

    job: bytes
    replicas: int
    entrust: Callable[[int, float], Entrust] | None  # by request and wall clock


@dataclass(frozen=True, slots=True)
class Heir:
    """A peer that is brought a job: whether it knows of it, and from which segment on it lacks each log."""

    contact: Contact
    knows: bool
    lacks: tuple[tuple[LogName, int], ...]


def heirs(
    logs: Mapping[LogName, int], replicas: int, answers: Sequence[tuple[Contact, JobState | None]]
) -> tuple[list[Heir], int]:
    """Who may be brought what, the best first, and how many of them are needed.

    ``logs``: how many segments we have of each; ``answers``: what storage peers said, the nearest first.
    """
    whole, others = 0, []
    for contact, state in answers:
        there = {} if state is None else {(grantor, epoch): count for grantor, epoch, count in state.logs}
        lacks = tuple((name, there.get(name, 0)) for name, count in logs.items() if there.get(name, 0) < count)
        if state is not None and not lacks:
            whole += 1
        else:
            others.append(Heir(contact, state is not None, lacks))
    missing = {heir.contact.id: sum(logs[name] - have for name, have in heir.lacks) for heir in others}
    others.sort(key=lambda heir: missing[heir.contact.id])  # stable: of equal ones the nearest
    return others, max(0, replicas - whole)
