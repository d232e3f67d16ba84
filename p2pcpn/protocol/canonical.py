"""Canonical results: of all that grantors of a job settled, the one result of each task that every reader takes.

It is the least (epoch, digest) of those that were made of canonical results. A task may name the results of tasks
before it, and its receipt states the digest of each that it took; after a partition such a result may have lost
against another of the same task, and then what was made of it counts no more, though it be the least. So who counts is
settled from the first task to the last: what a set of settlements comes to does not depend on their order. A result
that nobody settled (yet) contradicts nothing.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

from p2pcpn.wire.pages import cut
from p2pcpn.wire.sealing import RESULT_DIGEST_BYTES
from p2pcpn.wire.statements import Receipt


class Settled(Protocol):
    """A settlement of one task. ``inputs`` are tasks whose results it took, and the digests of those."""

    @property
    def index(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def inputs(self) -> Sequence[tuple[int, bytes]]: ...


S = TypeVar("S", bound=Settled)


@dataclass(frozen=True, slots=True)
class Stated:
    """A settlement as its receipt states it."""

    index: int
    epoch: int
    digest: bytes
    inputs: tuple[tuple[int, bytes], ...] = ()


class Canon(Generic[S]):
    """See the module. ``results`` is what counts; ``stale`` is the least of each task of whose settlements none does;
    ``conflicts`` counts settlements that state another result than one before them."""

    __slots__ = ("_changed", "_choices", "_due", "_users", "conflicts", "results", "stale")

    def __init__(self) -> None:
        self.results: dict[int, S] = {}
        self.stale: dict[int, S] = {}
        self.conflicts = 0
        self._choices: dict[int, list[S]] = {}  # of tasks that take results: all their settlements, the least first
        self._users: dict[int, dict[int, None]] = {}  # a task -> those that took its result
        self._due: list[int] = []  # tasks to look at again
        self._changed: dict[int, None] = {}

    def add(self, settled: S) -> None:
        """One more settlement, from any log. :meth:`settle` says what follows."""
        index = settled.index
        known = self.results.get(index) or self.stale.get(index)
        self.conflicts += known is not None and known.digest != settled.digest
        if settled.inputs or index in self._choices:
            choices = self._choices.get(index)
            if choices is None:
                choices = self._choices[index] = [] if known is None else [known]
            insort(choices, settled, key=_rank)
            for taken, _ in settled.inputs:
                self._users.setdefault(taken, {})[index] = None
            heappush(self._due, index)
        elif known is None or _rank(settled) < _rank(known):
            self._count(index, settled)

    def _count(self, index: int, settled: S | None) -> None:
        """``settled`` is the one that counts from now on, or none does."""
        if self.results.get(index) is settled:
            return
        if settled is None:
            del self.results[index]
        else:
            self.results[index] = settled
            self._changed[index] = None
        for user in self._users.get(index, ()):
            heappush(self._due, user)

    def settle(self) -> list[int]:
        """The tasks that have a result since this was called last, or another than then, in order."""
        while self._due:  # inputs come before those that take them, so each is looked at when its inputs are settled
            index = heappop(self._due)
            choices = self._choices[index]
            found = next((choice for choice in choices if self._stands(choice)), None)
            was_stale = index in self.stale
            if found is None:
                self.stale[index] = choices[0]
            else:
                self.stale.pop(index, None)
            if was_stale != (found is None):
                for user in self._users.get(index, ()):
                    heappush(self._due, user)
            self._count(index, found)
        changed = [index for index in sorted(self._changed) if index in self.results]
        self._changed.clear()
        return changed

    def _stands(self, choice: S) -> bool:
        """Whether all that it took counts, as far as anybody knows."""
        for taken, stated in choice.inputs:
            known = self.results.get(taken)
            if taken >= choice.index or taken in self.stale or (known is not None and known.digest != stated):
                return False
        return True


def _rank(settled: Settled) -> tuple[int, bytes]:
    return settled.epoch, settled.digest


def stated(epoch: int, receipt: Receipt, spans: Sequence[tuple[int, int]] | None) -> Iterator[Stated]:
    """What a log of ``epoch`` settles by a receipt: all that it speaks of, or ``spans`` of it."""
    size = RESULT_DIGEST_BYTES
    kept = None if spans is None else set(cut(list(spans)))
    taken: dict[int, list[tuple[int, bytes]]] = {}
    for task, each, digest in receipt.inputs:
        taken.setdefault(task, []).append((each, digest))
    for at, index in enumerate(cut(receipt.spans)):
        if kept is None or index in kept:
            yield Stated(index, epoch, receipt.digests[at * size : (at + 1) * size], tuple(taken.get(index, ())))


Line = tuple[int, Receipt, Sequence[tuple[int, int]] | None]  # the epoch of a log, and one entry of it


def deciding(lines: Callable[[], Iterable[Line]], indices: Sequence[int]) -> set[int]:
    """The tasks whose settlements decide which result of each of ``indices`` counts.

    They alone where nobody settled one of them twice; else also all that was taken on the way to them.
    """
    wanted = set(indices)
    known: dict[int, bytes] = {}
    disputed = False
    taken: dict[int, list[int]] = {}
    for epoch, receipt, spans in lines():
        for task, each, _ in receipt.inputs:
            taken.setdefault(task, []).append(each)
        if not disputed and not wanted.isdisjoint(cut(receipt.spans)):
            disputed = any(
                known.setdefault(each.index, each.digest) != each.digest
                for each in stated(epoch, receipt, spans)
                if each.index in wanted
            )
    left = list(wanted) if disputed else []
    while left:
        for each in taken.pop(left.pop(), ()):
            if each not in wanted:
                wanted.add(each)
                left.append(each)
    return wanted


def stale(lines: Callable[[], Iterable[Line]]) -> list[int]:
    """The tasks that logs settle and of whose results none counts. ``lines()`` is asked twice where any takes others'.

    Only what takes results or is taken is remembered: a million tasks that have nothing to do with each other are not.
    """
    concerned: set[int] = set()
    for _, receipt, _ in lines():
        for task, taken, _ in receipt.inputs:
            concerned.update((task, taken))
    if not concerned:
        return []
    canon: Canon[Stated] = Canon()
    for epoch, receipt, spans in lines():
        for each in stated(epoch, receipt, spans):
            if each.index in concerned:
                canon.add(each)
    canon.settle()
    return sorted(canon.stale)
