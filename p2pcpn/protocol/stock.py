"""The stock of a job: sealed pages and signed segments that a task which has not ended still needs.

A page is forgotten with the last of its tasks, a segment with the last of its pages, so that a job which runs for
days holds what is queued and nothing else. Which peer was sent a page is noted on the page and goes with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.spans import Span
from p2pcpn.wire.statements import Segment, Signed

# Ended pages are swept out when they are more than these and more than half: each page is moved a few times at most.
SWEEP_PAGES = 64
# Blobs that nobody asks about, as where a steward grants: what is forgotten merely stays where it is.
SPENT_MAX = limits.SEGMENT_TASKS_MAX


@dataclass(slots=True)
class Page:
    """A sealed page and what a lease of it needs. ``open`` counts its tasks that have not ended."""

    segment: int
    first: int
    count: int
    sealed: bytes
    key: bytes
    blobs: list[bytes]
    open: int
    sent: dict[NodeId, object] = field(default_factory=dict)  # to whom, in which of its sessions


@dataclass(slots=True)
class SegmentHeld:
    """A signed segment, the first index of each of its pages, and how many of those have not ended."""

    signed: Signed
    firsts: list[int]
    open: int


class Stock:
    """See the module. Indices are looked up by bisection: a job's pages lie one after the other."""

    __slots__ = ("segments", "_pages", "_firsts", "_ended", "_uses", "_spent")

    def __init__(self) -> None:
        self.segments: dict[int, SegmentHeld] = {}
        self._pages: list[Page] = []
        self._firsts: list[int] = []
        self._ended = 0
        self._uses: Counter[bytes] = Counter()  # by blob: pages with open tasks that name it
        self._spent: OrderedDict[bytes, None] = OrderedDict()  # blobs whose pages have all ended, the first one first

    def __len__(self) -> int:
        """How many pages are held."""
        return len(self._pages) - self._ended

    def add(self, segment: Signed, said: Segment, pages: Sequence[Page]) -> None:
        """A segment and its pages, in order."""
        self.segments[said.number] = SegmentHeld(segment, [page.first for page in pages], len(pages))
        self._pages += pages
        self._firsts += [page.first for page in pages]
        for page in pages:
            for digest in dict.fromkeys(page.blobs):
                self._uses[digest] += 1
                self._spent.pop(digest, None)

    def spent(self, wanted: Callable[[bytes], bool]) -> list[bytes]:
        """Blobs that no open task names any more, each once, in order, up to the first that is ``wanted`` still."""
        found: list[bytes] = []
        while self._spent and not wanted(next(iter(self._spent))):
            found.append(self._spent.popitem(last=False)[0])
        return found

    def named(self) -> list[bytes]:
        """The blobs that open tasks name."""
        return list(self._uses)

    def pieces(self, spans: Sequence[Span]) -> list[tuple[Page, int, int]]:
        """Spans of tasks that have not ended, cut into (page, low, high): positions within the page."""
        found: list[tuple[Page, int, int]] = []
        for first, count in spans:
            at = bisect_right(self._firsts, first) - 1
            while count > 0:
                page = self._pages[at]
                low = first - page.first
                assert 0 <= low < page.count, "a task whose page is gone"
                taken = min(count, page.count - low)
                found.append((page, low, low + taken))
                first, count, at = first + taken, count - taken, at + 1
        return found

    def ended(self, spans: Sequence[Span]) -> None:
        """These tasks have ended, each for the first time: nothing refers to a finished task's arguments."""
        for page, low, high in self.pieces(spans):
            page.open -= high - low
            if page.open == 0:
                self._drop(page)
        if self._ended > SWEEP_PAGES and self._ended * 2 > len(self._pages):
            self._sweep()

    def whole(self) -> list[tuple[Signed, list[bytes]]]:
        """The segments of which every page is still held, in order, and their sealed pages."""
        sealed: dict[int, list[bytes]] = {}
        for page in self._pages:
            if page.open:
                sealed.setdefault(page.segment, []).append(page.sealed)
        return [
            (self.segments[number].signed, found)
            for number, found in sealed.items()
            if len(found) == len(self.segments[number].firsts)
        ]

    def keep_only(self, states: bytearray, open_below: int) -> None:
        """Count anew which tasks are open: those whose state is less than ``open_below``."""
        for page in self._pages:
            if page.open:
                page.open = sum(state < open_below for state in bytes(states[page.first : page.first + page.count]))
                if page.open == 0:
                    self._drop(page)
        self._sweep()

    def _sweep(self) -> None:
        self._pages = [page for page in self._pages if page.open]
        self._firsts = [page.first for page in self._pages]
        self._ended = 0

    def _drop(self, page: Page) -> None:
        page.sealed = b""
        for digest in dict.fromkeys(page.blobs):
            self._uses[digest] -= 1
            if not self._uses[digest]:
                del self._uses[digest]
                self._spent[digest] = None
                if len(self._spent) > SPENT_MAX:
                    self._spent.popitem(last=False)
        page.blobs = []
        page.sent.clear()
        self._ended += 1
        held = self.segments[page.segment]
        held.open -= 1
        if held.open == 0:
            del self.segments[page.segment]
