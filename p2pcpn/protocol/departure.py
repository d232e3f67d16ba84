"""Departure: what a peer that leaves does next, and when: finish, hand on, go; until it goes, it may stay after all.

::

    staying ──begin──> running ──idle──> settling ──kept──> jobs ──over──> sections ──over──> telling ──heard──> gone
       ^───────────────────────────────── undo ───────────────────────────────┘

``running`` waits for tasks, ``settling`` for their results to be on somebody's disk, both as long as the owner said;
handing over has time of its own. Each stage ends by itself, by its deadline, or because something in it failed: so it
always comes to an end. Whoever drives it performs the steps it answers with and says when a handing over has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

# How often what runs is looked at: nobody says when the last of it has ended.
LOOK_S = 0.05
# Results are offered to a grantor that is gone, and to the stewards in turn, every few seconds.
SETTLE_S = 20.0
# What a peer that leaves may take to hand over what it alone would leave short, also when its time is up.
HAND_OVER_S = 30.0
# Whoever watches asks several times a second: the last word is kept for it so long.
TOLD_S = 1.0


class Stage(Enum):
    """Where a departure stands; ``word`` is what its owner is told."""

    STAYING = 0, "staying"
    RUNNING = 1, "finishing"
    SETTLING = 2, "finishing"
    JOBS = 3, "handing over"
    SECTIONS = 4, "handing over"
    TELLING = 5, "leaving"
    GONE = 6, "leaving"

    @property
    def word(self) -> str:
        """One word for its owner; those of the last two stages are the same, for both are too late to stay."""
        return self.value[1]


HANDING_OVER = (Stage.JOBS, Stage.SECTIONS)
TOO_LATE = (Stage.TELLING, Stage.GONE)


@dataclass(frozen=True, slots=True)
class Undone:
    """What would stay undone if this peer were gone now; ``alone``: jobs and sections that nobody else has any of,
    ``orphans``: others' results that wait here for a grantor, and that nobody took."""

    tasks: int = 0
    results: int = 0
    jobs: int = 0
    sections: int = 0
    alone: int = 0
    orphans: int = 0

    @property
    def last(self) -> bool:
        """Whether something would be lost, or begun anew, for want of another who has it."""
        return bool(self.tasks or self.results or self.alone or self.orphans)

    def counts(self) -> dict[str, int]:
        """By kind, those of which there are any."""
        results = self.results + self.orphans
        found = {"tasks": self.tasks, "results": results, "jobs": self.jobs, "sections": self.sections}
        return {what: count for what, count in found.items() if count}


@dataclass(frozen=True, slots=True)
class Drain:
    """Say that this peer is about to leave; take nothing more, and give back what has not started."""


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Results of ours that a log on our own disk settles need no other word from now on."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Bring what this peer keeps of one kind to others until another step comes; say :meth:`Departure.handed_over`
    with ``turn`` when that is done."""

    what: Stage
    turn: int


@dataclass(frozen=True, slots=True)
class Stay:
    """End handing over, and be what this peer was before :class:`Drain`."""


@dataclass(frozen=True, slots=True)
class Go:
    """Everything is done that can be done: leave now."""


Step = Drain | Acknowledge | HandOver | Stay | Go


class Departure:
    """See the module. ``behind``: what stays undone, by kind, once it leaves; ``until_s`` ends the owner's patience."""

    def __init__(self) -> None:
        self.stage = Stage.STAYING
        self.behind: dict[str, int] = {}
        self.until_s = 0.0
        self._careful = self._watched = False
        self._since_s = 0.0
        self._look_s = 0.0
        self._turn = 0

    # --- what is told ------------------------------------------------------------------------------------------------

    def begin(self, timeout_s: float, now: float, *, careful: bool = False) -> list[Step]:
        """Begin to leave, within about ``timeout_s``. Said again, the newer word counts.

        ``careful``: stay after all where this peer would be the last to have something.
        """
        if self.stage in TOO_LATE:
            return []
        self.until_s, self._careful = now + timeout_s, careful
        if self.stage is not Stage.STAYING:
            return []
        self._watched = False
        self._enter(Stage.RUNNING, now)
        return [Drain()]

    def undo(self) -> list[Step]:
        """Stay after all; nothing where nothing was begun, or it is too late."""
        if self.stage is Stage.STAYING or self.stage in TOO_LATE:
            return []
        self.stage = Stage.STAYING
        return [Stay()]

    def watch(self, now: float) -> None:
        """Somebody asks how far it is, and must not miss the last word: it is waited for, or has just had it."""
        self._watched = True
        if self.stage is Stage.TELLING:
            self._look_s = now

    def handed_over(self, turn: int, undone: Undone, now: float) -> list[Step]:
        """What was to be handed over in that turn is with others, as far as anybody takes it."""
        return self._next(undone, now) if turn == self._turn and self.stage in HANDING_OVER else []

    def failed(self, undone: Undone, now: float) -> list[Step]:
        """A step could not be performed: go on without it, for whoever waits for this peer to leave waits no less."""
        return self._next(undone, now) if self.stage is not Stage.STAYING else []

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is due; None where nothing is under way."""
        if self.stage in (Stage.STAYING, Stage.GONE):
            return None
        return max(self._since_s + HAND_OVER_S, self.until_s) if self.stage in HANDING_OVER else self._look_s

    def expire(self, undone: Undone, now: float) -> list[Step]:
        """What is next, as things stand."""
        due_s = self.deadline()
        if due_s is None or now < due_s:
            return []
        self._look_s = now + LOOK_S
        waits_s = {Stage.RUNNING: self.until_s, Stage.SETTLING: min(self.until_s, self._since_s + SETTLE_S)}
        left = {Stage.RUNNING: undone.tasks, Stage.SETTLING: undone.results}
        if left.get(self.stage) and now < waits_s[self.stage]:
            return []
        return self._next(undone, now)

    def _next(self, undone: Undone, now: float) -> list[Step]:
        """The stage is over, one way or another."""
        match self.stage:
            case Stage.RUNNING:
                self._enter(Stage.SETTLING, now)
                return [Acknowledge()]
            case Stage.SETTLING:
                return [self._hand_over(Stage.JOBS, now)]
            case Stage.JOBS:
                return [self._hand_over(Stage.SECTIONS, now)]
            case Stage.SECTIONS if self._careful and undone.last:
                return self.undo()
            case Stage.SECTIONS:
                self.behind = undone.counts()
                self._enter(Stage.TELLING, now)
                self._look_s += TOLD_S * self._watched
                return []
            case Stage.TELLING:  # it was heard, or whoever watched has gone
                self.stage = Stage.GONE
                return [Go()]
        return []

    def _hand_over(self, what: Stage, now: float) -> Step:
        self._enter(what, now)
        self._turn += 1
        return HandOver(what, self._turn)

    def _enter(self, stage: Stage, now: float) -> None:
        self.stage, self._since_s, self._look_s = stage, now, now
