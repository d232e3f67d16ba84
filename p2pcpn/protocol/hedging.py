"""Hedging: when slots idle at the tail of a job, what will end last is leased a second time, to faster peers.

A task is looked at through its peer: how long it has run there, by how much that peer is slower than others, and how
long the job's tasks are that ran at least so long (``placement``). It is hedged when another peer is expected to end it
sooner although it begins anew (LATE, Zaharia et al. 2008), or when it has run for much longer than nearly all others
did (Dean and Barroso 2013, "The tail at scale"): then its peer may have become slow, or stand still. Whoever ends first
settles it; there is no third run, so the second waits where a faster peer is about to be free and will end it sooner.
A small share of all runs may be second ones to save time, and as many where nobody renews a lease: its peer has died or
is cut off, and what was saved before must not leave the job waiting until the lease ends. None is where the job's owner
says ``hedge=False``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from math import inf

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.leases import LeaseHeld
from p2pcpn.protocol.participants import NOT_CROWDED, Participant
from p2pcpn.protocol.placement import GAIN_S, UNEQUAL, UNPROVEN_TOO_LONG, Outlook, Placement
from p2pcpn.protocol.spans import Span
from p2pcpn.protocol.turns import STARTED_AFTER_S
from p2pcpn.wire.pages import cut

# Second runs: one in twenty of a job's, and a handful, so that small jobs may have some; as many again for the silent.
SHARE = 1 / 20
HANDFUL = 8
# Where slots idle one is worth its while if it is expected to save so much of what it takes.
WORTH = 0.05
# While tasks wait a second run delays them. So only long tasks (so many times the usual) have one then, the end of the
# job must come so much sooner, and half of all second runs are kept for its tail.
AHEAD_LONG = 1.5
AHEAD_GAIN = 1.1
# In one look: what is chosen is sorted, and the next look is soon.
HEDGES_AT_ONCE_MAX = 256
# A task has run for too long after so many times what nearly all take; later on a peer that brought others in time.
# Never before so many seconds.
TOO_LONG = 3.0
UNPROVEN_TOO_LONG_S, TOO_LONG_S = 0.1, 0.5
# Whoever lives says something of each lease that often; what is late by so much more is not merely on its way.
SILENT_S = limits.RENEW_S + 2.5
# Of a length that was divided and is multiplied again.
SAFELY = 1 - 1e-9
# Leases that are looked at, the longest first: more than slots at the tail of a job are other jobs'.
LOOKED_AT_MAX = 4096


@dataclass(frozen=True, slots=True)
class Hedge:
    """The second lease of a task: of ``index``, owed under ``token``, to ``peer``, for the holder is ``silent`` or to
    save time."""

    token: int
    index: int
    peer: Participant
    silent: bool


@dataclass(slots=True)
class _Suspect:
    """A task that runs: for how long it will go on, and how long it would take anew on a peer of slowness 1. It is
    expected to end in time, or has run ``too_long``, or its peer is ``silent``."""

    token: int
    index: int
    left_s: float
    anew_s: float
    ran_s: float
    too_long: bool = False
    silent: bool = False

    @property
    def stuck(self) -> bool:
        """Whether it is its peer, however fast that was before."""
        return self.too_long or self.silent


class _Soon:
    """Peers whose slots all run this job's tasks and will be free as these end, by slowness."""

    __slots__ = ("_peers", "_slowness", "_slots", "_rates")

    def __init__(self, peers: dict[NodeId, tuple[float, int]]) -> None:
        """``peers``: slowness and slots of each."""
        self._peers = peers
        found = sorted(peers.values())
        self._slowness = [slow for slow, _ in found]
        # Of the fastest so many: their slots, and the seconds of work, on a peer of slowness 1, that these do in one.
        self._slots = list(accumulate((slots for _, slots in found), initial=0))
        self._rates = list(accumulate((slots / slow for slow, slots in found), initial=0.0))

    def faster(self, slow: float, barred: Iterable[NodeId]) -> tuple[int, float]:
        """Slots and rate of those that are faster than a peer of slowness ``slow`` and not ``barred``."""
        enough = slow / UNEQUAL
        count = bisect_right(self._slowness, enough)
        slots, rate = self._slots[count], self._rates[count]
        for node in barred:
            slow_there, slots_there = self._peers.get(node, (inf, 0))
            if slow_there <= enough:
                slots, rate = slots - slots_there, rate - slots_there / slow_there
        return slots, rate


class Hedging:
    """See the module. ``granted`` counts second leases."""

    __slots__ = ("_book", "_placement", "_allowed", "_soon_by", "_silent", "granted")

    def __init__(self, book: Book, placement: Placement, *, allowed: bool) -> None:
        self._book = book
        self._placement = placement
        self._allowed = allowed
        self._soon_by: tuple[Outlook, _Soon] | None = None
        self._silent = 0  # of those granted, how many for nothing was heard of the first
        self.granted = 0

    def _budgets(self, *, ahead: bool = False) -> tuple[int, int]:
        """How many more second runs there may be, while tasks wait (``ahead``) or where none does: to save time, and
        for the silent."""
        ledger = self._book.ledger
        most = int((ledger.total - ledger.waiting) * SHARE) + HANDFUL
        return (most // 2 if ahead else most) - (self.granted - self._silent), most - self._silent

    def look(self, now: float) -> tuple[list[Hedge], float | None]:
        """Nothing waits: what to hedge now, in this order; and when, at the latest, it is worth another look."""
        budgets = self._budgets()
        outlook = self._placement.outlook(now) if self._allowed and max(budgets) > 0 else None
        if outlook is None:
            return [], None
        suspects, again_at = self._suspects(now, outlook)
        free = self._free()
        if not free:
            return [], again_at
        fastest, surely_fastest = min(map(outlook.slow, free)), min(free, key=outlook.surely)
        doubt, live = self._book.speeds.doubt, self._book.leases.live
        # The others would be passed over one by one, and only so many are looked at.
        suspects = [s for s in suspects if s.stuck or outlook.surely_slower(live[s.token].peer, surely_fastest)]

        def gain_s(suspect: _Suspect, anew: float, rtt_s: float) -> float:
            if suspect.silent:  # sooner or later it runs anew
                return live[suspect.token].until - now - rtt_s
            if suspect.too_long:
                return suspect.left_s - suspect.anew_s * anew - rtt_s
            holder = live[suspect.token].peer
            return outlook.gain_s(suspect.ran_s, outlook.slow(holder), doubt(holder), anew, rtt_s)

        def gains(suspect: _Suspect, anew: float, rtt_s: float) -> bool:
            in_vain_s = 0.0 if suspect.silent else suspect.anew_s * anew
            return gain_s(suspect, anew, rtt_s) > max(GAIN_S, WORTH * in_vain_s)

        suspects.sort(key=lambda suspect: (-gain_s(suspect, fastest, 0.0), suspect.index))
        return self._chosen(suspects, outlook, budgets, gains, free), again_at

    def ahead(self, outlook: Outlook) -> list[Hedge]:
        """Tasks wait, and yet some that run will end last: what to hedge before anything else is leased.

        The end of the job is foreseen both ways: the second run begins now, and what waits is delayed by it; or later,
        when nothing waits.
        """
        budgets = self._budgets(ahead=True)
        if not self._allowed or max(budgets) <= 0:
            return []
        drain_s = self._placement.drain_s(outlook)

        def better(suspect: _Suspect, anew: float, rtt_s: float) -> bool:
            left_s, anew_s = suspect.left_s, suspect.anew_s * anew + rtt_s
            return max(drain_s + anew_s / outlook.rate, anew_s) * AHEAD_GAIN + GAIN_S < min(left_s, drain_s + anew_s)

        free = self._free()
        if not free:
            return []
        long_s = AHEAD_LONG * outlook.mean_s  # of the others there are enough in the line
        suspects, _ = self._suspects(outlook.at, outlook, long_s)
        suspects = [s for s in suspects if s.left_s > drain_s and s.anew_s > long_s]
        suspects.sort(key=lambda suspect: (-suspect.left_s, suspect.index))
        return self._chosen(suspects, outlook, budgets, better, free)

    def _free(self) -> dict[NodeId, int]:
        """Who may have a second run, and how many."""
        return {
            peer.node: peer.slots - peer.held
            for peer in self._book.participants.hungry()
            if peer.held < peer.slots and self._may_have(peer)
        }

    def _may_have(self, peer: Participant) -> bool:
        """Whether a second run may go there, where a slot is free: it has brought something, and not failed lately."""
        taken = peer.taken and peer.ready and peer.crowded_until == NOT_CROWDED
        return taken and self._book.speeds.knows(peer.node) and self._book.blame.closed(peer.node)

    def _chosen(
        self,
        suspects: list[_Suspect],
        outlook: Outlook,
        budgets: tuple[int, int],
        better: Callable[[_Suspect, float, float], bool],
        free: dict[NodeId, int],
    ) -> list[Hedge]:
        """The suspects in their order, each to the fastest peer with a free slot that may have it, within ``budgets``:
        to save time, and for the silent. There is no third run, so it is put off where it is expected to end
        sooner at a faster peer that runs something now."""
        peers = self._book.participants
        fastest = sorted(free, key=lambda node: (outlook.slow(node), peers.peers[node].rank))
        found: list[Hedge] = []
        put_off = 0
        left = list(budgets)
        suspects = [suspect for suspect in suspects if left[suspect.silent] > 0]
        for suspect in suspects[:HEDGES_AT_ONCE_MAX]:
            if left[suspect.silent] <= 0:
                continue
            holder = self._book.leases.live[suspect.token].peer
            barred = self._book.ledger.barred_from(suspect.index) | {holder}
            node = next((node for node in fastest if free[node] and node not in barred), None)
            if node is None:
                continue
            if not suspect.stuck and not outlook.surely_slower(holder, node):
                continue
            if not better(suspect, outlook.slow(node), peers.peers[node].pace.rtt_s):
                continue
            if self._had_better_wait(suspect.anew_s, outlook.slow(node), barred, put_off + 1, outlook):
                put_off += 1
                continue
            free[node] -= 1
            left[suspect.silent] -= 1
            found.append(Hedge(suspect.token, suspect.index, peers.peers[node], suspect.silent))
        return found

    def _had_better_wait(self, task_s: float, slow: float, barred: Iterable[NodeId], place: int, by: Outlook) -> bool:
        """Whether a second run of a task of ``task_s`` ends sooner if it begins later: where a peer that is faster than
        one of slowness ``slow``, and not ``barred``, ends what it runs. It is the ``place``-th that waits so."""
        if self._soon_by is None or self._soon_by[0] is not by:
            self._soon_by = by, self._soon(by)
        slots, rate = self._soon_by[1].faster(slow, barred)
        return slots > 0 and (place * by.mean_s + slots * task_s) / rate + GAIN_S < slow * task_s

    def _soon(self, outlook: Outlook) -> _Soon:
        """Whose slots are expected to be free soon. Not of whom nothing is heard for longer than nearly all tasks take:
        nobody waits for a peer that stands still."""
        found: dict[NodeId, tuple[float, int]] = {}
        for node, peer in self._book.participants.peers.items():
            slow = outlook.slow(node)
            heard = peer.pace.silent_s(outlook.at) <= outlook.nearly_all_s * slow
            if 0 < peer.held <= peer.slots and heard and self._may_have(peer):
                found[node] = slow, peer.slots
        return _Soon(found)

    def _suspects(self, now: float, outlook: Outlook, long_s: float = 0.0) -> tuple[list[_Suspect], float | None]:
        """Every task that runs once, as far as can be told, and would take longer than ``long_s`` anew; and when the
        next of them has run for too long, or its peer said nothing for too long."""
        found: list[_Suspect] = []
        again_at: float | None = None
        for token, lease, index, since in self._running(now, outlook, long_s):
            slow, ran_s = outlook.slow(lease.peer), max(now - since, 0.0)
            silent_at = lease.until - limits.LEASE_S + SILENT_S
            if now >= silent_at:  # then its lease ends, and it runs anew
                left_s = lease.until - now + outlook.nearly_all_s
                found.append(_Suspect(token, index, left_s, outlook.nearly_all_s, ran_s, silent=True))
                continue
            too_long_s = self._too_long_s(lease.peer, outlook)
            if ran_s >= too_long_s:  # no such task is known: it is the peer, and may go on for as long again
                found.append(_Suspect(token, index, ran_s, outlook.nearly_all_s, ran_s, too_long=True))
                at = silent_at
            else:
                anew_s = outlook.expected_s(ran_s / slow)
                found.append(_Suspect(token, index, anew_s * slow - ran_s, anew_s, ran_s))
                at = min(since + too_long_s, silent_at)
            again_at = at if again_at is None else min(at, again_at)
        return found, again_at

    def _too_long_s(self, node: NodeId, outlook: Outlook) -> float:
        if self._book.speeds.knows(node):
            return max(TOO_LONG * outlook.nearly_all_s * outlook.slow(node), TOO_LONG_S)
        return max(UNPROVEN_TOO_LONG * outlook.nearly_all_s, UNPROVEN_TOO_LONG_S)

    def _running(self, now: float, outlook: Outlook, long_s: float) -> list[tuple[int, LeaseHeld, int, float]]:
        """Tasks that run, or should: token, lease, index, since when.

        What lies beyond a peer's slots was recalled before (``leasing``): where it still lies the peer does not answer.
        Near the end of a job this is asked at each receipt: what has not run for long enough to be expected to take
        longer than ``long_s`` is passed over by the lease, and not task by task.
        """
        book = self._book
        found: list[tuple[int, LeaseHeld, int, float]] = []
        long_after_s = SAFELY * outlook.long_after_s(long_s) if long_s else 0.0
        for token, lease in book.leases.live.items():
            peer = book.participants.peers[lease.peer]
            ripe_s = long_after_s * outlook.slow(lease.peer)
            if outlook.nearly_all_s > long_s:
                ripe_s = min(ripe_s, self._too_long_s(lease.peer, outlook))
            if now < lease.since + ripe_s:
                continue
            # When it can have begun, where nothing was said of it: as it was leased, or after what was reported last.
            since = max(lease.since, peer.pace.heard_at) + peer.pace.rtt_s
            told = peer.started
            is_all = not ripe_s or now >= since + ripe_s
            for index in cut(lease.open) if is_all else _owed(told, lease.open):
                begun = max(lease.since, told[index] - STARTED_AFTER_S) if index in told else since
                if (not ripe_s or now >= begun + ripe_s) and index not in book.doubled:
                    found.append((token, lease, index, begun))
            if len(found) >= LOOKED_AT_MAX:
                break
        return found

    def lease(self, hedge: Hedge, until: float, now: float) -> int:
        """Grant it; returns the token."""
        self.granted += 1
        self._silent += hedge.silent
        return self._book.hedge(hedge.token, hedge.index, hedge.peer, until, now)

    def statistics(self) -> dict[str, int]:
        """Counts: second leases, and those whose receipt came first."""
        return {"hedged": self.granted, "hedges_won": self._book.hedges_won, "doubled": len(self._book.doubled)}


def _owed(indices: Iterable[int], spans: list[Span]) -> list[int]:
    """Those of ``indices`` that are in ``spans``."""
    return sorted(index for index in indices if any(first <= index < first + count for first, count in spans))
