"""Lots: the parts in which a job is granted that one grantor does not grant as a whole. Anybody can tell whose.

A *range* is a run of consecutive tasks; the hash of job id and range number puts it into a *lot*, one for each of the n
stewards. Lots have epochs of their own, beginning at one number: those of the first lot are base, base + n, base + 2n
and so on, those of the next base + 1, base + 1 + n. The k-th epoch of a lot, from zero, is that of the steward k places
after the one whose number is the lot's. So spec, index and epoch alone say who may grant what, and no two stewards ever
grant one range in one epoch. A lot whose steward died goes on in its next epoch, at the next steward; the others are
not touched.

A ``distributed`` job is granted so from its first task on, and its lots begin with epoch 1. A ``hybrid`` one has a
*stem*, which is lot 0 and granted as a whole; its other lots are empty until the owner *divides* the job: from one task
on it is theirs. Their epochs begin behind all that the stem can ever have.

The tokens of a lot's leases are those that leave its number when divided by the count of lots: a peer that grants two
lots of a job tells them apart by the token alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from p2pcpn import limits
from p2pcpn.protocol.spans import Span, clipped

# Long enough that a lease of a thousand tasks names 64 runs and that a range costs a hash for 16 tasks; short enough
# that 400 tasks make 25 ranges, of which each of five stewards has some.
RANGE_TASKS = 16
# The first epoch of the lots of a divided job.
DIVIDED_EPOCH = limits.TAKEOVER_EPOCH_MAX + 1


class Lots:
    """The lots of ``job``: one for each of its ``stewards``, who grant it; without any it is granted as a whole.

    With a ``stem`` it is one, and theirs is what lies behind it: from the task ``first`` on.
    """

    __slots__ = ("count", "first", "stewards", "_base", "_stem", "_job")

    def __init__(self, job: bytes, stewards: int = 0, *, stem: bool = False) -> None:
        self._job = job
        self.stewards = stewards
        self._stem = int(stem or not stewards)
        self._base = DIVIDED_EPOCH if self._stem else 1
        self.count = self._stem + stewards
        self.first: int | None = None if self._stem else 0

    def divide(self, first: int) -> None:
        """From the task ``first`` on, where a range begins, the job is its stewards'."""
        assert self._stem and self.stewards and first % RANGE_TASKS == 0 and self.first in (None, first)
        self.first = first

    @property
    def split(self) -> bool:
        """Whether stewards grant any of it in lots."""
        return self.first is not None

    def is_stem(self, lot: int) -> bool:
        """Whether that lot is not told by hash: it is the stem, or all there is."""
        return lot < self._stem

    # --- which lot -----------------------------------------------------------------------------------------------

    def of_range(self, number: int) -> int:
        """The lot of the ``number``-th range."""
        if self.first is None or number * RANGE_TASKS < self.first:
            return 0
        return self._hashed(number)

    def _hashed(self, number: int) -> int:
        if self.stewards == 1:
            return self._stem
        hashed = blake2b(number.to_bytes(8, "big"), digest_size=8, key=self._job, person=b"p2pcpn lot")
        return self._stem + int.from_bytes(hashed.digest(), "big") % self.stewards

    def of(self, index: int) -> int:
        """The lot of the task ``index``."""
        return self.of_range(index // RANGE_TASKS)

    def of_epoch(self, epoch: int) -> int:
        """The lot that is granted in ``epoch``."""
        if not self.stewards or (self._stem and epoch < self._base):
            return 0
        return self._stem + (epoch - self._base) % self.stewards

    def of_token(self, token: int) -> int:
        """The lot under a lease of which a worker has that token."""
        return token % self.count

    def of_slots(self, slots_max: int, epoch: int) -> int:
        """How many of a job's ``slots_max`` slots are those of the lot of ``epoch``; zero stands for no bound."""
        lot = self.of_epoch(epoch)
        if self.is_stem(lot) or not slots_max:
            return slots_max
        return max(1, (slots_max + lot - self._stem) // self.stewards)

    # --- which epochs --------------------------------------------------------------------------------------------

    def first_epoch(self, lot: int) -> int:
        """The epoch in which a lot is granted from the beginning."""
        return 0 if self.is_stem(lot) else self._base + lot - self._stem

    def is_first(self, epoch: int) -> bool:
        """Whether ``epoch`` is the first of its lot: nobody granted it before."""
        return epoch == self.first_epoch(self.of_epoch(epoch))

    # --- which tasks ---------------------------------------------------------------------------------------------

    def cut(self, first: int, count: int) -> Iterator[tuple[int, Span]]:
        """``count`` tasks from ``first`` on, by range: (lot, span)."""
        end = first + count
        while first < end:
            stop = min(end, (first // RANGE_TASKS + 1) * RANGE_TASKS)
            yield self.of(first), (first, stop - first)
            first = stop

    def others(self, lot: int, first: int, count: int) -> list[Span]:
        """Of ``count`` tasks from ``first`` on, those that are not in ``lot``."""
        if self.first is None or self.count == 1:
            return [] if lot == 0 else [(first, count)]
        return [span for each, span in self.cut(first, count) if each != lot]

    def astray(self, epoch: int, first: int, count: int) -> list[Span]:
        """Of ``count`` tasks from ``first`` on, those that nobody may settle in ``epoch``, whether or not it is known
        that the job was divided: who grants the stem may not have heard so, and what it settled counts."""
        return list(self._astray(epoch, first, count))

    def holds(self, epoch: int, first: int, count: int) -> bool:
        """Whether none of them is :meth:`astray`. The first that is ends the search."""
        lot = self.of_epoch(epoch)
        if self.is_stem(lot) or self.stewards == 1:
            return True
        return next(self._astray(epoch, first, count), None) is None

    def _astray(self, epoch: int, first: int, count: int) -> Iterator[Span]:
        lot = self.of_epoch(epoch)
        end = first if self.is_stem(lot) else first + count
        while first < end:
            stop = min(end, (first // RANGE_TASKS + 1) * RANGE_TASKS)
            if self._hashed(first // RANGE_TASKS) != lot:
                yield (first, stop - first)
            first = stop

    def granted_in(self, epoch: int, spans: Sequence[Span]) -> list[Span]:
        """Of ``spans``, none of which is :meth:`astray`, those that are granted in the lot of ``epoch``, as the job is
        divided as far as is known. Nothing, where a stem's name some twice."""
        behind = self.first
        if behind is None:
            return list(spans)
        if self.is_stem(self.of_epoch(epoch)):
            return clipped(spans, behind)
        cut = [(max(first, behind), first + count - max(first, behind)) for first, count in spans]
        return [(first, count) for first, count in cut if count > 0]

    def sizes(self, first: int, count: int) -> list[int]:
        """How many of ``count`` tasks from ``first`` on are in each lot."""
        found = [0] * self.count
        if self.first is None or self.count == 1:
            found[0] = count
            return found
        for lot, (_, number) in self.cut(first, count):
            found[lot] += number
        return found
