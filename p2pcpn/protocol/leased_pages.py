"""Pages at a worker: checked against the owner's signed segments, kept within bounds, cut into pieces for leases.

A page comes sealed, with the segment that signs for it, and stays for further leases until it must make room. Of a
segment nothing is kept but its pages that came: a grantor sends the header again with every page.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.effects import Effect, Gather
from p2pcpn.protocol.spans import Span, chained
from p2pcpn.protocol.work import LeaseTaken, Piece, Work
from p2pcpn.wire import pages
from p2pcpn.wire.messages import Extend, Input, PageSlice
from p2pcpn.wire.pages import TaskPage, needs_of
from p2pcpn.wire.sealing import digest, result_digest, unseal
from p2pcpn.wire.statements import BlobRef, Segment

# What a kept page costs beside its bytes.
PAGE_COST_BYTES = 512


@dataclass(frozen=True, slots=True)
class PageKept:
    """A sealed page that its segment signs for."""

    segment: int
    count: int
    requires: tuple[str, ...]
    sealed: bytes

    @property
    def cost_bytes(self) -> int:
        return len(self.sealed) + PAGE_COST_BYTES


def check_segment_head(body: bytes, said: Segment) -> None:
    """Raises :class:`PeerError` for a segment of impossible shape: too long, too many tasks, or pages that are none."""
    tasks = said.count
    if len(body) > limits.SEGMENT_HEAD_BYTES_MAX or tasks > limits.SEGMENT_TASKS_MAX:
        raise PeerError("a segment holds too many tasks, or is too long")
    for count, _ in said.pages:
        if not 0 < count <= limits.PAGE_TASKS_MAX:
            raise PeerError("a segment names an empty page, or one of too many tasks")
    if said.first + tasks > limits.TASKS_PER_JOB_MAX:
        raise PeerError("a segment's tasks lie beyond those that a job may have")


class LeasedPages:
    """The pages of all jobs here, the least recently used dropped first; a grantor sends a missing one again."""

    def __init__(self) -> None:
        self._jobs: dict[bytes, OrderedDict[int, PageKept]] = {}
        self._job_bytes: dict[bytes, int] = {}
        # All pages, least recently used first.
        self._order: OrderedDict[tuple[bytes, int], None] = OrderedDict()
        self.kept_bytes = 0

    def extend(self, message: Extend, said: Segment) -> None:
        """Keep the pages that came with a segment of the owner; :class:`PeerError` for one it does not sign for."""
        check_segment_head(message.segment.body, said)
        if len(message.pages) != len(said.pages):
            raise PeerError("a segment came with another number of pages than it signs for")
        requires = tuple(said.requires)
        first = said.first
        for (count, name), sealed in zip(said.pages, message.pages, strict=True):
            if sealed and first not in self._jobs.get(said.job, ()):
                if digest(sealed) != name:
                    raise PeerError("a page is not the one its segment signs for")
                self._keep(said.job, first, PageKept(said.number, count, requires, sealed))
            first += count

    def _keep(self, job: bytes, first: int, page: PageKept) -> None:
        kept = self._jobs.get(job)
        if kept is None:
            kept = self._jobs[job] = OrderedDict()
        kept[first] = page
        self._order[job, first] = None
        cost_bytes = page.cost_bytes
        self._job_bytes[job] = self._job_bytes.get(job, 0) + cost_bytes
        self.kept_bytes += cost_bytes
        while self._job_bytes[job] > limits.PAGES_BYTES_PER_JOB_MAX and len(kept) > 1:
            self._drop(job, next(iter(kept)))
        while self.kept_bytes > limits.PAGES_BYTES_MAX and len(self._order) > 1:
            self._drop(*next(iter(self._order)))

    def _drop(self, job: bytes, first: int) -> None:
        page = self._jobs[job].pop(first)
        del self._order[job, first]
        self.kept_bytes -= page.cost_bytes
        self._job_bytes[job] -= page.cost_bytes
        if not self._jobs[job]:
            del self._jobs[job], self._job_bytes[job]

    def forget(self, job: bytes) -> None:
        """Drop all pages of a job."""
        for first in list(self._jobs.get(job, ())):
            self._drop(job, first)

    def find(self, job: bytes, slices: list[PageSlice]) -> dict[int, PageKept] | None:
        """The pages of ``slices``; none where one is lacking. Raises :class:`PeerError` for tasks no segment holds."""
        kept = self._jobs.get(job)
        found: dict[int, PageKept] = {}
        for part in slices:
            page = None if kept is None else kept.get(part.first)
            if kept is None or page is None:
                return None
            if page.segment != part.segment or part.high > page.count:
                raise PeerError("a lease names tasks that no segment holds")
            found[part.first] = page
        for first in found:
            self._order.move_to_end((job, first))
            self._jobs[job].move_to_end(first)
        return found


def named(slices: Sequence[PageSlice]) -> list[Span]:
    """The tasks that slices name, in their order, those that follow on one another as one. Raises :class:`PeerError`
    for a slice of no task, or of tasks that no job has: what is returned could not even be said."""
    for part in slices:
        if part.low >= part.high or part.first + part.high > limits.TASKS_PER_JOB_MAX:
            raise PeerError("a lease names an empty slice, or tasks beyond those that a job may have")
    return chained([(part.first + part.low, part.high - part.low) for part in slices])


def covered(spans: list[Span], slices: list[PageSlice]) -> range:
    """The tasks of a lease that are still to come; :class:`PeerError` unless ``slices`` cover all others of ``spans``,
    in order, each task once."""
    if any(count == 0 for _, count in spans):
        raise PeerError("a lease holds an empty span")
    runs, given = named(slices), chained(spans)
    ahead = range(sum(runs[-1]), sum(given[-1]))
    if runs != given and (not ahead or runs != [*given[:-1], (given[-1][0], ahead.start - given[-1][0])]):
        raise PeerError("a lease's slices do not cover its spans")
    end = 0
    for first, count in sorted(runs):
        if first < end:
            raise PeerError("a lease holds a task twice")
        end = first + count
    held = sum(count for _, count in runs)
    if held > limits.BATCH_TASKS_MAX:
        raise PeerError("a lease holds too many tasks")
    if ahead.stop > limits.TASKS_PER_JOB_MAX:
        raise PeerError("a lease gives tasks beyond those that a job may have")
    return ahead


def drawn(ahead: range, slices: list[PageSlice]) -> range:
    """What is left of the tasks that a lease gives ahead after those of ``slices``: all, where these were named before.

    Raises :class:`PeerError` for slices that name other tasks, or too many.
    """
    (first, count), *others = named(slices)
    if others or count > limits.BATCH_TASKS_MAX:
        raise PeerError("tasks come under a lease in a manner that no lease has")
    if first + count <= ahead.start:
        return ahead
    if first < ahead.start or first + count > ahead.stop:
        raise PeerError("tasks come under a lease that does not give them")
    return range(first + count, ahead.stop)


class Lacking(Exception):
    """Results that tasks of a lease take did not come."""


def pieces_of(
    lease: LeaseTaken, slices: list[PageSlice], found: dict[int, PageKept], given: dict[int, Input] | None = None
) -> list[Piece]:
    """The tasks of a lease, with the results that they take. Raises :class:`PeerError` for a page that does not open or
    holds other than it should, and for a result that is not what is said of it; :class:`Lacking` where one lacks."""
    for each in (given or {}).values():
        value = each.value if isinstance(each.value, bytes) else each.value.digest
        if result_digest(lease.digest_key, value) != each.digest:
            raise PeerError("a result that a task takes is not the one its receipt names")
    opened: dict[tuple[int, bytes], TaskPage] = {}
    pieces: list[Piece] = []
    for part in slices:
        page = opened.get((part.first, part.key))
        if page is None:
            page = opened[part.first, part.key] = _open(found[part.first], part.key)
        pieces.append(
            Piece(
                lease,
                part.first + part.low,
                tuple(page.functions),
                None if page.numbers is None else tuple(page.numbers[part.low : part.high]),
                tuple(page.arguments[part.low : part.high]),
                parts=_parts(page, part.low, part.high, given or {}) if page.parts else None,
                inputs=_inputs(page, part, given or {}) if page.inputs else None,
            )
        )
    return joined(pieces) if len(pieces) > 1 else pieces


def joined(pieces: list[Piece]) -> list[Piece]:
    """The same tasks in fewer pieces: a task with large arguments has a page of its own, and need not run alone."""
    found = pieces[:1]
    for piece in pieces[1:]:
        both = found[-1].with_next(piece)
        if both is None:
            found.append(piece)
        else:
            found[-1] = both
    return found


def _open(kept: PageKept, key: bytes) -> TaskPage:
    page = pages.TASKS.decode(unseal(key, 0, kept.sealed))
    if len(page.arguments) != kept.count or (page.numbers is not None and len(page.numbers) != kept.count):
        raise PeerError("a page holds another number of tasks than its segment signs for")
    if page.numbers is not None and max(page.numbers) >= len(page.functions):
        raise PeerError("a page names a function that it does not hold")
    if page.parts:
        _check_parts(page)
    return page


def _check_parts(page: TaskPage) -> None:
    last = -1
    for position, numbers in page.parts:
        if not last < position < len(page.arguments) or max(numbers) >= len(page.blobs) + len(page.inputs):
            raise PeerError("a page names a part of a task, or a blob, that it does not hold")
        last = position
        if (
            sum(page.blobs[number].size_bytes for number in numbers if number < len(page.blobs))
            > limits.ARGUMENTS_BYTES_MAX
        ):
            raise PeerError("the parts of a task are larger than its arguments may be")


def _inputs(page: TaskPage, part: PageSlice, given: dict[int, Input]) -> tuple[tuple[tuple[int, bytes], ...], ...]:
    """The tasks whose results each task of a slice takes, and the digests of those."""
    named = dict(needs_of(page, part.first))
    if any(index >= task for task, inputs in named.items() for index in inputs):
        raise PeerError("a task takes the result of one that is not before it")
    tasks = range(part.first + part.low, part.first + part.high)
    return tuple(tuple((index, given[index].digest) for index in named.get(task, ())) for task in tasks)


def bring(work: Work, given: Iterable[Input], me: bytes) -> list[Effect]:
    """Large results that tasks take, from whoever has them: those that say no are followed by the next."""
    effects: list[Effect] = []
    for each in given:
        if not isinstance(each.value, BlobRef):
            continue
        nested: tuple[Effect, ...] = ()
        for holder in reversed([holder for holder in each.holders if holder.id != me]):
            retention_s = work.authority.spec.retention_s
            nested = (Gather(holder, (each.value.digest,), work.job, retention_s, (), nested),)
        effects += nested
    return effects


def _parts(
    page: TaskPage, low: int, high: int, given: dict[int, Input]
) -> tuple[tuple[BlobRef | bytes, ...], ...] | None:
    """The parts of the tasks ``low`` to ``high`` (exclusive), a tuple a task; none when none of them has any."""
    blobs = len(page.blobs)

    def part(number: int) -> BlobRef | bytes:
        if number < blobs:
            return page.blobs[number]
        try:
            return given[page.inputs[number - blobs]].value
        except KeyError:
            raise Lacking(f"lacks the result of task {page.inputs[number - blobs]}") from None

    found: dict[int, tuple[BlobRef | bytes, ...]] = {
        position: tuple(part(number) for number in numbers)
        for position, numbers in page.parts
        if low <= position < high
    }
    return tuple(found.get(position, ()) for position in range(low, high)) if found else None
