"""Objections: why a job, or tasks that were leased, cannot be run here: a code for the grantor, words for the owner."""

from __future__ import annotations

from collections.abc import Callable

from p2pcpn import limits
from p2pcpn.protocol.admission import Rules, reason_against, reason_packages
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.leased_pages import PageKept
from p2pcpn.protocol.turns import Turns
from p2pcpn.protocol.work import Piece, Work

Objection = tuple[str, str]  # code and words
LEAVES = "is leaving the swarm"


class Objections:
    """The objections of one worker with the ``rules()`` of its owner. ``declines`` are the jobs that it declined after
    it had claimed them, and why, until somebody clears them."""

    def __init__(self, rules: Callable[[], Rules], slots: int, turns: Turns) -> None:
        self._rules = rules
        self._slots = slots
        self._turns = turns
        self.declines: list[tuple[bytes, str]] = []
        self.leaving = False

    def to_job(self, authority: Authority) -> str | None:
        """Why nothing of a job is run here."""
        said = authority.spec
        if not self._slots:
            return "runs nothing"
        return reason_against(
            self._rules(), owner=authority.owner, proof=said.swarm_proof, runtime=said.runtime, python=said.python,
            requires=tuple(said.requires), memory=said.memory_bytes,
        )  # fmt: skip

    def to_tasks(self, work: Work, found: dict[int, PageKept] | None, count: int) -> Objection | None:
        """Why ``count`` more tasks, of the pages ``found``, are not taken."""
        if self.leaving:
            return "leaving", LEAVES
        if work.refused is not None:
            return self._declined(work, work.refused)
        if work.queued + count > max(work.slots, self._slots) * limits.QUEUED_TASKS_PER_SLOT_MAX:
            return "late", "has more leased to it than it can queue"
        if found is None:
            return "missing", "lacks a page"
        for page in found.values():
            why = reason_packages(self._rules(), page.requires) if page.requires else None
            if why is not None:
                return self._declined(work, why)
        return None

    def to_bytes(self, work: Work, pieces: list[Piece]) -> Objection | None:
        """Why pieces are not queued."""
        size_bytes = sum([piece.size_bytes for piece in pieces])
        if (
            work.queued_bytes + size_bytes > limits.QUEUED_BYTES_PER_JOB_MAX
            or self._turns.queued_bytes + size_bytes > limits.QUEUED_BYTES_MAX
        ):
            return "late", "has more leased to it than its memory holds"
        return None

    def _declined(self, work: Work, why: str) -> Objection:
        if len(self.declines) < limits.OFFERS_MAX:
            self.declines.append((work.job, why))
        return "declined", why
