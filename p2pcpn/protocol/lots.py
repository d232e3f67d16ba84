"""Lots: the parts in which a distributed job is granted, one for each steward to begin with. Anybody can tell whose.

A *range* is a run of consecutive tasks; the hash of job id and range number puts it into a *lot*. With n stewards there
are n lots. The epochs of lot l are l + 1, l + 1 + n, l + 1 + 2n and so on; the k-th of them, from zero, is the epoch of
steward (l + k) mod n. So spec, index and epoch alone say who may grant what, and no two stewards ever grant one
range in one epoch. A lot whose steward died goes on in its next epoch, at the next steward; the others are not touched.

The tokens of a lot's leases are those that leave its number when divided by the count of lots: a peer that grants two
lots of a job tells them apart by the token alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from p2pcpn.protocol.spans import Span

# Long enough that a lease of a thousand tasks names 64 runs and that a range costs a hash for 16 tasks; short enough
# that 400 tasks make 25 ranges, of which each of five stewards has some.
RANGE_TASKS = 16


class Lots:
    """The lots of ``job``: ``count`` of them. One that is not ``split`` is granted as a whole."""

    __slots__ = ("count", "split", "_job")

    def __init__(self, job: bytes, count: int = 1, *, split: bool = False) -> None:
        self._job = job
        self.count = count
        self.split = split

    def of_range(self, number: int) -> int:
        """The lot of the ``number``-th range."""
        if self.count == 1:
            return 0
        hashed = blake2b(number.to_bytes(8, "big"), digest_size=8, key=self._job, person=b"p2pcpn lot")
        return int.from_bytes(hashed.digest(), "big") % self.count

    def of(self, index: int) -> int:
        """The lot of the task ``index``."""
        return self.of_range(index // RANGE_TASKS)

    def of_epoch(self, epoch: int) -> int:
        """The lot that is granted in ``epoch``."""
        return (epoch - 1) % self.count

    def of_token(self, token: int) -> int:
        """The lot under a lease of which a worker has that token."""
        return token % self.count

    def of_slots(self, slots_max: int, epoch: int) -> int:
        """How many of a job's ``slots_max`` slots are those of the lot of ``epoch``; zero stands for no bound."""
        return max(1, (slots_max + self.of_epoch(epoch)) // self.count) if slots_max else 0

    def cut(self, first: int, count: int) -> Iterator[tuple[int, Span]]:
        """``count`` tasks from ``first`` on, by range: (lot, span)."""
        end = first + count
        while first < end:
            stop = min(end, (first // RANGE_TASKS + 1) * RANGE_TASKS)
            yield self.of(first), (first, stop - first)
            first = stop

    def others(self, lot: int, first: int, count: int) -> list[Span]:
        """Of ``count`` tasks from ``first`` on, those that are not in ``lot``."""
        return [] if self.count == 1 else [span for each, span in self.cut(first, count) if each != lot]

    def astray(self, epoch: int, first: int, count: int) -> list[Span]:
        """Of ``count`` tasks from ``first`` on, those that nobody may settle in ``epoch``."""
        return self.others(self.of_epoch(epoch), first, count)

    def sizes(self, first: int, count: int) -> list[int]:
        """How many of ``count`` tasks from ``first`` on are in each lot."""
        if self.count == 1:
            return [count]
        found = [0] * self.count
        for lot, (_, number) in self.cut(first, count):
            found[lot] += number
        return found
