"""Dependencies: which tasks take others' results as arguments, which of them have to wait for those, and the results.

A task names tasks before it, so nobody can build a cycle. It is held back until each of them has ended, however that
was: one that failed hands its failure on, and the task fails with it, in a receipt like any other. Results are kept
here only while an open task names them; of those that ended before anybody named them the newest are, and older ones
are read from the settlement log.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError, ResultRefused
from p2pcpn.protocol.canonical import Canon, Stated, stated
from p2pcpn.protocol.ledger import ELSEWHERE, SETTLED
from p2pcpn.protocol.settlement import Opened
from p2pcpn.protocol.spans import Span
from p2pcpn.wire.pages import Entry, cut
from p2pcpn.wire.sealing import RESULT_DIGEST_BYTES
from p2pcpn.wire.statements import BlobRef, Receipt

Needs = Sequence[tuple[int, Sequence[int]]]  # a task, and the tasks whose results are arguments of it, each once


@dataclass(frozen=True, slots=True)
class Known:
    """The end of a task as others get it. ``digest`` is that of its receipt, empty where there is none; ``worker`` the
    node key of who ran it."""

    digest: bytes
    value: bytes | BlobRef
    worker: bytes = b""


class Dependencies:
    """See the module. One object a grantor."""

    __slots__ = (
        "_counts", "_fresh", "_missing", "_recent", "_recent_bytes", "_used", "_uses", "_wanted", "needs", "values",
    )  # fmt: skip

    def __init__(self) -> None:
        self.needs: dict[int, Sequence[int]] = {}  # open tasks that name others
        self.values: dict[int, Known] = {}  # what open tasks name and has ended
        self._wanted: dict[int, list[int]] = {}  # what has not, or is not known: who waits for it
        self._fresh: list[int] = []  # what has come to be wanted
        self._missing: dict[int, int] = {}  # who waits, and for how many
        self._uses: Counter[int] = Counter()
        self._used = False  # a job whose tasks take no results pays nothing for those that could
        self._recent: deque[tuple[Opened, Sequence[Span], int]] = deque()
        self._recent_bytes = 0
        self._counts: Callable[[int], Known | None] = lambda index: None  # of tasks that others settled

    @property
    def used(self) -> bool:
        """Whether any task of the job takes another's result."""
        return self._used

    def add(self, needs: Needs) -> list[Span]:
        """These tasks name others; returns which of them have to wait."""
        held: list[Span] = []
        self._used = True
        for index, named in needs:
            inputs = [each for each in named if each < index]  # who takes others breaks the job's word; no peer runs it
            self.needs[index] = inputs
            self._uses.update(inputs)
            missing = [each for each in inputs if each not in self.values]
            for each in missing:
                self._wanted.setdefault(each, []).append(index)
            self._fresh += missing
            if missing:
                self._missing[index] = len(missing)
                held.append((index, 1))
        return held

    def fresh(self) -> list[int]:
        """What has come to be wanted since this was asked last."""
        fresh, self._fresh = sorted(set(self._fresh)), []
        return fresh

    def wanted(self, spans: Sequence[Span]) -> list[int]:
        """What of ``spans`` somebody waits for."""
        return [index for index in cut(list(spans)) if index in self._wanted] if self._wanted else []

    # --- what ends -----------------------------------------------------------------------------------------------

    def settled(self, opened: Opened, spans: Sequence[Span]) -> list[Span]:
        """A receipt settles ``spans``: the tasks that wait no longer."""
        if self._used and spans:  # a receipt that came too late settles nothing: nobody may take what it states
            self._remember(opened, spans)
        if not self._wanted:
            return []
        ready: list[Span] = []
        at = {index: position for position, index in enumerate(opened.indices)}
        for index in cut(list(spans)):
            if index in self._wanted:
                ready += self._know(index, known_of(opened, at[index]))
        return ready

    def failed(self, spans: Sequence[Span], why: str) -> list[Span]:
        """Tasks ended without a receipt: those that named them fail with ``why``. Who waits no longer."""
        if not self._wanted:
            return []
        return [
            span
            for index in cut(list(spans))
            if index in self._wanted
            for span in self._know(index, _failure(f"task {index}, whose result it takes, {why}"))
        ]

    def _know(self, index: int, known: Known) -> list[Span]:
        ready: list[Span] = []
        waiting = self._wanted.pop(index)
        self.values[index] = known
        for each in waiting:
            if each in self._missing:
                self._missing[each] -= 1
                if not self._missing[each]:
                    del self._missing[each]
                    ready.append((each, 1))
        return ready

    def ended(self, spans: Sequence[Span]) -> None:
        """Tasks have ended: what they named is kept for them no longer."""
        if not self.needs:
            return
        for index in cut(list(spans)):
            inputs = self.needs.pop(index, ())
            self._missing.pop(index, None)
            for each in inputs:
                self._uses[each] -= 1
                if not self._uses[each]:
                    del self._uses[each]
                    self.values.pop(each, None)
                    self._wanted.pop(each, None)

    def contradicted(self, receipt: Receipt) -> list[int]:
        """The tasks of ``receipt`` that took another result than the one that counts here: none of these counts."""
        found: set[int] = set()
        for task, taken, digest in receipt.inputs:
            known = self.values.get(taken) or self._counts(taken)
            if known is not None and known.digest and known.digest != digest:
                found.add(task)
        return sorted(found)

    # --- what ended before it was named --------------------------------------------------------------------------

    def _remember(self, opened: Opened, spans: Sequence[Span]) -> None:
        size = sum(len(value) for value in opened.values if isinstance(value, bytes))
        self._recent.append((opened, spans, size))
        self._recent_bytes += size
        while len(self._recent) > limits.INPUT_RECEIPTS_MAX or self._recent_bytes > limits.INPUT_RECEIPTS_BYTES_MAX:
            self._recent_bytes -= self._recent.popleft()[2]

    def count(self, result: Callable[[int], Known | None]) -> list[Span]:
        """``result`` knows what counts of each task that has ended, also where another result was known here. Who waits
        no longer."""
        self._counts = result
        for index in self.values:
            self.values[index] = result(index) or self.values[index]
        found = [(index, known) for index in sorted(self._wanted) if (known := result(index)) is not None]
        return [span for index, known in found for span in self._know(index, known)]

    def look_up(self, states: bytearray, indices: Sequence[int] | None = None) -> tuple[list[Span], list[int]]:
        """Of what is wanted (of ``indices``, or all) what has ended already: who waits for it no longer, and what has
        to be read from the log."""
        ready: list[Span] = []
        lacking: list[int] = []
        for index in sorted(self._wanted) if indices is None else indices:
            if index not in self._wanted or states[index] < SETTLED or states[index] == ELSEWHERE:
                continue
            if states[index] > SETTLED:
                ready += self._know(index, _failure(f"task {index}, whose result it takes, has none"))
                continue
            known = self._counts(index) or self._recall(index)
            if known is None:
                lacking.append(index)
            else:
                ready += self._know(index, known)
        return ready, lacking

    def _recall(self, index: int) -> Known | None:
        for opened, spans, _ in reversed(self._recent):
            if any(first <= index < first + count for first, count in spans):
                return known_of(opened, opened.indices.index(index))
        return None

    def read(self, indices: Sequence[int], found: Callable[[int], Known | None]) -> list[Span]:
        """What was read from the log; what is not there is lost. Who waits no longer."""
        ready: list[Span] = []
        for index in indices:
            if index in self._wanted:
                known = found(index) or _failure(f"the result of task {index}, which it takes, is lost")
                ready += self._know(index, known)
        return ready

    # --- what is leased --------------------------------------------------------------------------------------------

    def named(self, spans: Sequence[Span]) -> dict[int, Known]:
        """What the tasks in ``spans``, none of which waits, name."""
        if not self.needs:
            return {}
        return {each: self.values[each] for index in cut(list(spans)) for each in self.needs.get(index, ())}

    def fitting(self, spans: Sequence[Span]) -> int:
        """How many of the tasks in ``spans``, from the first on, may be leased together: at least one."""
        count = references = size_bytes = 0
        for index in cut(list(spans)):
            for each in self.needs.get(index, ()):
                value = self.values[each].value
                references += 1
                size_bytes += len(value) if isinstance(value, bytes) else 0
            if count and (references > limits.LEASE_INPUTS_MAX or size_bytes > limits.LEASE_INPUTS_BYTES_MAX):
                break
            count += 1
        return count


def found_in(
    log: Iterable[tuple[int, Entry]], open_entry: Callable[[Entry], Opened], indices: Collection[int]
) -> dict[int, Known]:
    """Of ``indices`` the results that count, among settlements in logs of the epochs that stand beside them.

    ``open_entry`` checks one, and raises :class:`PeerError` or :class:`ResultRefused`: that one is left out.
    """
    canon: Canon[Stated] = Canon()
    values: dict[tuple[int, bytes], Known] = {}
    for epoch, entry in log:
        try:
            opened = open_entry(entry)
        except (PeerError, ResultRefused):
            continue
        at = {index: position for position, index in enumerate(opened.indices)}
        for each in stated(epoch, opened.receipt, entry.spans):
            canon.add(each)
            if each.index in indices:
                values.setdefault((each.index, each.digest), known_of(opened, at[each.index]))
    canon.settle()
    counts = {index: canon.results.get(index) or canon.stale.get(index) for index in indices}
    return {index: values[index, each.digest] for index, each in counts.items() if each is not None}


def _failure(text: str) -> Known:
    return Known(b"", msgspec.msgpack.encode(text))


def known_of(opened: Opened, position: int) -> Known:
    """The end of a task that a receipt states."""
    size = RESULT_DIGEST_BYTES
    digest = opened.receipt.digests[position * size : (position + 1) * size]
    return Known(digest, opened.values[position], opened.worker)
