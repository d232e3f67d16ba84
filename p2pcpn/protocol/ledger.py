"""The ledger of a job: in which state each index is, which wait and for whom, and which have been unlucky.

``states`` is one byte an index. Waiting indices stand in lines of spans: one line for everybody, and one for each set
of peers that must not have what stands in it, so that a batch is taken and given back by slices and nobody searches
for a task he may have. Only an index that was lost, barred or died somewhere costs more than its byte, and only until
it ends.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.spans import Span, joined, total

WAITING = 0
LEASED = 1
HELD = 2  # it takes results that are not there yet
RESTING = 3  # it failed, and waits until it may run again
SETTLED = 4  # this and those above are ends
FAILED = 5
CANCELLED = 6
ELSEWHERE = 7  # another grantor's to lease, and not known to have ended

Death = tuple[int | None, int | None]  # signal, exit code
EVERYBODY: frozenset[NodeId] = frozenset()  # nobody is barred
# A run of one state in the column of states, found at the speed of C however the states alternate.
_RUN = {state: re.compile(bytes((state,)) + b"+") for state in (WAITING, LEASED, HELD, RESTING, ELSEWHERE)}
_UNLEASED = re.compile(rb"[\x00\x03]+")
_UNBEGUN = re.compile(rb"[\x00\x02\x03]+")


@dataclass(slots=True)
class Line:
    """Waiting spans, first come first. ``spans`` may still name what has ended meanwhile; ``waiting`` does not."""

    spans: deque[Span] = field(default_factory=deque)
    waiting: int = 0


@dataclass(slots=True)
class Trouble:
    """Where one task's worker processes died and how; ``since`` the last time. And who could not use an input of it,
    with what words, and how often one could not be had."""

    deaths: dict[NodeId, Death] = field(default_factory=dict)
    unusable: dict[NodeId, str] = field(default_factory=dict)
    unreachable: int = 0
    since: float = 0.0


class Ledger:
    """States of the indices ``0 … total-1``; grows by :meth:`extend`, shrinks never."""

    __slots__ = ("states", "waiting", "leased", "held", "resting", "ceded", "troubles", "_barred", "_losses", "_lines")

    def __init__(self) -> None:
        self.states = bytearray()
        self.waiting = 0
        self.leased = 0
        self.held = 0
        self.resting = 0
        self.ceded = 0  # indices that others grant, ended or not
        self.troubles: dict[int, Trouble] = {}
        self._barred: dict[int, frozenset[NodeId]] = {}
        self._losses: dict[int, int] = {}
        self._lines: dict[frozenset[NodeId], Line] = {EVERYBODY: Line()}

    @property
    def total(self) -> int:
        return len(self.states)

    @property
    def open(self) -> int:
        """Indices that are neither settled, failed nor cancelled."""
        return self.waiting + self.leased + self.held + self.resting

    def extend(self, count: int) -> None:
        """``count`` new waiting indices: one page."""
        line = self._lines[EVERYBODY]
        line.spans.append((len(self.states), count))
        line.waiting += count
        self.waiting += count
        self.states.extend(bytes(count))

    @property
    def ended(self) -> int:
        """Indices that are granted here and have ended."""
        return len(self.states) - self.ceded - self.open

    def cede(self, spans: Sequence[Span]) -> None:
        """Waiting indices that others grant: here they are leased to nobody."""
        self.ceded += total(self._end(spans, ELSEWHERE))

    def note_elsewhere(self, spans: Sequence[Span], state: int = SETTLED) -> list[Span]:
        """What others grant has ended so: its results are there for those that take them, or will never be. Returns
        that of which it was not known yet."""
        noted: list[Span] = []
        for first, count in spans if self.ceded else ():
            for run_first, run_count in self._runs(first, count, ELSEWHERE):
                self.states[run_first : run_first + run_count] = bytes((state,)) * run_count
                noted.append((run_first, run_count))
        return noted

    @property
    def untouched(self) -> int:
        """From this index on nothing was ever leased and has not come back, or ended."""
        return len(self.states.rstrip(bytes((WAITING, HELD))))

    def unbegun_of(self, spans: Sequence[Span]) -> list[Span]:
        """What of ``spans`` is open and leased to nobody now."""
        return [run for first, count in spans for run in self._runs_of(_UNBEGUN, first, count)]

    def settled_already(self, spans: Sequence[Span]) -> None:
        """Take over what an earlier epoch settled, or the grantor of another lot."""
        self.settle(spans)
        self.note_elsewhere(spans)

    # --- holding back ------------------------------------------------------------------------------------------------

    def hold(self, spans: Sequence[Span]) -> None:
        """Waiting indices that nobody may have until they are released."""
        for first, count in spans:
            for run_first, run_count in self._runs(first, count, WAITING):
                self._take_out(run_first, run_count)
                self.states[run_first : run_first + run_count] = bytes((HELD,)) * run_count
                self.waiting -= run_count
                self.held += run_count

    def _take_out(self, first: int, count: int) -> None:
        """A run leaves the line of everybody, in which it stands since it came: near the end."""
        line = self._lines[EVERYBODY]
        for at in range(len(line.spans) - 1, -1, -1):
            begin, length = line.spans[at]
            if begin <= first < begin + length:
                del line.spans[at]
                for piece in ((first + count, begin + length - first - count), (begin, first - begin)):
                    if piece[1]:
                        line.spans.insert(at, piece)
                break
        line.waiting -= count

    def release(self, spans: Sequence[Span]) -> None:
        """Those of ``spans`` that are held back wait, behind all others."""
        for first, count in spans:
            for run_first, run_count in self._runs(first, count, HELD):
                self.states[run_first : run_first + run_count] = bytes(run_count)
                self.held -= run_count
                self.waiting += run_count
                for barred, span in self._by_line(run_first, run_count):
                    line = self._lines.setdefault(barred, Line())
                    line.spans.append(span)
                    line.waiting += span[1]

    # --- taking and giving back ----------------------------------------------------------------------------------

    def take(self, count: int, peer: NodeId) -> list[Span]:
        """At most ``count`` waiting indices for ``peer``, joined, now leased. Never one that it is barred from."""
        spans: list[Span] = []
        if len(self._lines) > 1:  # what was unlucky goes first
            for barred in list(self._lines):
                if barred and peer not in barred:
                    count -= self._take(barred, count, spans)
        self._take(EVERYBODY, count, spans)
        return joined(spans) if len(spans) > 1 else spans

    def _take(self, barred: frozenset[NodeId], count: int, spans: list[Span]) -> int:
        line = self._lines[barred]
        taken = 0
        while taken < count and line.waiting:
            first, held = line.spans.popleft()
            if self.states.count(WAITING, first, first + held) < held:  # some ended while they waited
                line.spans.extendleft(reversed(self._runs(first, held, WAITING)))
                continue
            if held > count - taken:
                line.spans.appendleft((first + count - taken, held - count + taken))
                held = count - taken
            spans.append((first, held))
            self.states[first : first + held] = bytes((LEASED,)) * held
            line.waiting -= held
            taken += held
        self.waiting -= taken
        self.leased += taken
        self._tidy(barred)
        return taken

    def give_back(self, spans: Sequence[Span]) -> int:
        """Leased indices wait again, first in their line; returns how many did. Others stay as they are."""
        back = self._first_in_line(spans, LEASED)
        self.leased -= back
        return back

    def rest(self, spans: Sequence[Span]) -> None:
        """Leased indices that nobody may have until they are woken. Others stay as they are."""
        for first, count in spans:
            for run_first, run_count in self._runs(first, count, LEASED):
                self.states[run_first : run_first + run_count] = bytes((RESTING,)) * run_count
                self.leased -= run_count
                self.resting += run_count

    def wake(self, spans: Sequence[Span]) -> int:
        """Those of ``spans`` that rest wait again, first in their line; returns how many did."""
        woken = self._first_in_line(spans, RESTING)
        self.resting -= woken
        return woken

    def _first_in_line(self, spans: Sequence[Span], state: int) -> int:
        count_all = 0
        for first, count in reversed(spans):
            for run_first, run_count in reversed(self._runs(first, count, state)):
                self.states[run_first : run_first + run_count] = bytes(run_count)
                count_all += run_count
                self.waiting += run_count
                for barred, span in reversed(self._by_line(run_first, run_count)):
                    line = self._lines.setdefault(barred, Line())
                    line.spans.appendleft(span)
                    line.waiting += span[1]
        return count_all

    # --- the ends ------------------------------------------------------------------------------------------------

    def settle(self, spans: Sequence[Span]) -> list[Span]:
        """Mark what is open among ``spans`` as settled; returns those spans: the ones that this settles."""
        return self._end(spans, SETTLED)

    def fail(self, spans: Sequence[Span]) -> list[Span]:
        """Mark what is open among ``spans`` as failed; returns those."""
        return self._end(spans, FAILED)

    def cancel(self, spans: Sequence[Span]) -> list[Span]:
        """Mark what is open among ``spans`` as cancelled; returns those."""
        return self._end(spans, CANCELLED)

    def _end(self, spans: Sequence[Span], state: int) -> list[Span]:
        ended: list[Span] = []
        for first, count in spans:
            if count < 1:
                continue
            end = min(first + count, len(self.states))
            if self.states.count(LEASED, first, end) == count:
                runs, waited = [(first, count)], []
            else:
                waited = self._runs(first, count, WAITING)
                held = self._runs(first, count, HELD) if self.held else []
                rested = self._runs(first, count, RESTING) if self.resting else []
                self.held -= total(held)
                self.resting -= total(rested)
                runs = sorted(waited + self._runs(first, count, LEASED) + held + rested)
                self.leased += total(held) + total(rested)  # which are counted off as if they were leased
            for run_first, run_count in waited:
                self._leave_line(run_first, run_count)
            self.leased -= total(runs) - total(waited)
            for run_first, run_count in runs:
                self.states[run_first : run_first + run_count] = bytes((state,)) * run_count
            ended += runs
        if self._losses or self._barred or self.troubles:
            self._forget(ended)
        return ended

    def _leave_line(self, first: int, count: int) -> None:
        """What ends while it waits: only counted now, its span goes when its turn comes (or with the whole line)."""
        self.waiting -= count
        for barred, (_, held) in self._by_line(first, count):
            self._lines[barred].waiting -= held
            self._tidy(barred)

    def _forget(self, spans: list[Span]) -> None:
        for first, count in spans:
            for index in range(first, first + count):
                self._losses.pop(index, None)
                self._barred.pop(index, None)
                self.troubles.pop(index, None)

    # --- bad luck ------------------------------------------------------------------------------------------------

    def lose(self, spans: Sequence[Span], budget: int) -> list[int]:
        """Open indices lost their peer once more; returns those that have lost more than ``budget``."""
        over: list[int] = []
        for first, count in spans:
            for index in range(first, first + count):
                losses = self._losses[index] = self._losses.get(index, 0) + 1
                if losses > budget:
                    over.append(index)
        return over

    def losses_of(self, spans: Sequence[Span]) -> dict[int, list[Span]]:
        """``spans`` by how often they lost their peer."""
        found: dict[int, list[Span]] = {}
        for first, count in spans:
            for index in range(first, first + count):
                found.setdefault(self._losses.get(index, 0), []).append((index, 1))
        return {losses: joined(those) for losses, those in sorted(found.items())}

    def died(self, index: int, peer: NodeId, how: Death, now: float) -> int:
        """The process that ran ``index`` died at ``peer``, which never gets it again; on how many peers it has."""
        trouble = self.troubles.setdefault(index, Trouble())
        trouble.deaths[peer] = how
        trouble.since = now
        self.bar([(index, 1)], peer)
        return len(trouble.deaths)

    def unusable(self, index: int, peer: NodeId, why: str, now: float) -> int:
        """``peer`` has an input of ``index`` that is no good, and never gets the task again; how many peers say so."""
        trouble = self.troubles.setdefault(index, Trouble())
        trouble.unusable[peer] = why
        trouble.since = now
        self.bar([(index, 1)], peer)
        return len(trouble.unusable)

    def unreachable(self, index: int) -> int:
        """An input of ``index`` could not be had; how often by now."""
        trouble = self.troubles.setdefault(index, Trouble())
        trouble.unreachable += 1
        return trouble.unreachable

    def bar(self, spans: Sequence[Span], peer: NodeId) -> None:
        """Open indices that ``peer`` must not have (again)."""
        sets = {barred: barred for barred in self._lines}  # one object for each set, however many indices share it
        for first, count in spans:
            for index in range(first, first + count):
                before = self._barred.get(index, EVERYBODY)
                if peer in before:
                    continue
                after = before | {peer}
                after = sets.setdefault(after, after)
                self._barred[index] = after
                if self.states[index] == WAITING:
                    self._move(index, before, after)

    def _move(self, index: int, before: frozenset[NodeId], after: frozenset[NodeId]) -> None:
        """Change the line of an index that waits. Rare (a result came too late), so a pass over the line is fine."""
        old = self._lines[before]
        for at, (first, count) in enumerate(old.spans):
            if first <= index < first + count:
                del old.spans[at]
                for piece in ((index + 1, first + count - index - 1), (first, index - first)):
                    if piece[1]:
                        old.spans.insert(at, piece)
                break
        old.waiting -= 1
        self._tidy(before)
        line = self._lines.setdefault(after, Line())
        line.spans.append((index, 1))
        line.waiting += 1

    def barred_from(self, index: int) -> frozenset[NodeId]:
        """The peers that must not have ``index``."""
        return self._barred.get(index, EVERYBODY)

    @property
    def barred_waiting(self) -> list[frozenset[NodeId]]:
        """For each line that is not open to everybody and in which something waits: who is barred from it."""
        return [barred for barred in self._lines if barred] if len(self._lines) > 1 else []

    def waits_for(self, peer: NodeId) -> int:
        """How many waiting indices ``peer`` may have."""
        if len(self._lines) == 1:
            return self.waiting
        return sum(line.waiting for barred, line in self._lines.items() if peer not in barred)

    def stuck(self, peers: Collection[NodeId]) -> list[frozenset[NodeId]]:
        """The lines that none of ``peers`` may take from."""
        return [barred for barred in self.barred_waiting if all(peer in barred for peer in peers)]

    # --- runs ----------------------------------------------------------------------------------------------------

    def open_spans(self) -> list[Span]:
        """All that is open, in order."""
        found = [run for state in _RUN for run in self._runs(0, len(self.states), state)]
        return joined(sorted(found))

    def unleased_of(self, spans: Sequence[Span]) -> list[Span]:
        """What waits or rests among ``spans``, in their order: nobody runs it now, and somebody's result is welcome."""
        return [run for first, count in spans for run in self._runs_of(_UNLEASED, first, count)]

    def _runs(self, first: int, count: int, state: int) -> list[Span]:
        """The runs within (first, count) whose indices are all in ``state``."""
        return self._runs_of(_RUN[state], first, count)

    def _runs_of(self, pattern: re.Pattern[bytes], first: int, count: int) -> list[Span]:
        end = min(first + count, len(self.states))
        return [(at, stop - at) for at, stop in (run.span() for run in pattern.finditer(self.states, first, end))]

    def _by_line(self, first: int, count: int) -> list[tuple[frozenset[NodeId], Span]]:
        """(first, count) cut by the line that each index belongs to."""
        if not self._barred:
            return [(EVERYBODY, (first, count))]
        cut: list[tuple[frozenset[NodeId], Span]] = []
        for index in range(first, first + count):
            barred = self._barred.get(index, EVERYBODY)
            if cut and cut[-1][0] == barred:
                cut[-1] = (barred, (cut[-1][1][0], cut[-1][1][1] + 1))
            else:
                cut.append((barred, (index, 1)))
        return cut

    def _tidy(self, barred: frozenset[NodeId]) -> None:
        """Forget a line that nothing waits in, and the ended spans it may still name."""
        line = self._lines.get(barred)
        if line is None or line.waiting:
            return
        line.spans.clear()
        if barred:
            del self._lines[barred]
