"""Pace: how many tasks a peer should hold, from how long its tasks take.

Short tasks travel in large batches, long ones alone: a peer holds what it will run in ``HORIZON_S``, at least one task
a slot. At the tail of a job the batches shrink so that the last tasks spread over all peers. No knob: the pace follows
the receipts.
"""

from __future__ import annotations

from p2pcpn import limits

HORIZON_S = 0.1
# A task that took no measurable time still costs its hand-over; this bounds batches of no-ops.
TASK_S_MIN = 20e-6
# Weight of the newest batch. Half: a change of task length is followed within a few batches.
SMOOTHING = 0.5


class Pace:
    """One peer's measured task length within one job, and the batch that follows from it."""

    __slots__ = ("slots", "task_s")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.task_s: float | None = None

    def ran(self, count: int, ran_s: float) -> None:
        """``count`` tasks took ``ran_s`` seconds together."""
        if count < 1:
            return
        sample = max(ran_s / count, TASK_S_MIN)
        self.task_s = sample if self.task_s is None else self.task_s + SMOOTHING * (sample - self.task_s)

    @property
    def target(self) -> int:
        """How many tasks the peer should hold, running ones included."""
        if self.task_s is None:
            return self.slots
        ahead = min(int(HORIZON_S / self.task_s) + 1, limits.BATCH_TASKS_MAX)
        return self.slots * ahead

    def batch(self, held: int, waiting: int, slots_all: int) -> int:
        """How many tasks to lease now to a peer that holds ``held``, while ``waiting`` wait for ``slots_all`` slots.

        0 while it still holds more than half of its target: so refills come as batches, not as single tasks.
        """
        target = self.target
        if held >= self.slots and held * 2 > target:
            return 0
        # A fair share of half of what waits: the next share is smaller, down to one task a slot at the very end.
        share = -(-waiting * self.slots // max(2 * slots_all, 1))
        wish = min(target - held, max(share, self.slots - held))
        return max(0, min(wish, waiting, limits.BATCH_TASKS_MAX))
