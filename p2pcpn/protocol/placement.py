"""Placement: when the tasks that wait will all have started, and who had better leave the last ones to faster peers.

A long task that starts last on a slow peer sets the time of its job. So a peer gets nothing more once the others are
expected to end all that waits before it could end one task: what an earliest-finish-time list scheduler does with
known lengths (HEFT, Topcuoglu et al. 2002) is done with the usual one. The expectation may be wrong, so it counts for a
limited time only; and where lengths vary widely it is worth nothing, for whoever ran the long tasks seems slow. Slots
that run others' tasks are not counted: when these end the receipts of one job do not tell, so where there are many of
them nobody waits for long.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from math import exp, inf, log

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.ledger import Ledger
from p2pcpn.protocol.participants import Participant, Participants
from p2pcpn.protocol.speeds import ALIKE, Speeds

# What is said of lengths from fewer receipts is chance.
RECEIPTS_MIN = 3
# An outlook is good for so long, and for so long more for each participant: looking costs a microsecond each.
OUTLOOK_S, OUTLOOK_PEER_S = 0.02, 50e-6
# A task is long by what this share of all do not exceed. A peer that brought nothing yet runs its task for too long
# after so many times that.
NEARLY_ALL = 0.95
UNPROVEN_TOO_LONG = 1.5
# Peers that differ by less are alike, and nothing is gained by waiting for less than a few messages take.
UNEQUAL = 1.3
GAIN_S = 0.02
# Where tasks differ from the usual one by more than a factor of four, typically, none is foreseen. *Simulated*: among
# lengths of 1 us to 20 s, alike peers and fast ones were made to wait, never slow ones. The variance of the logarithm.
VARIANCE_MAX = log(4.0) ** 2
# What a peer's slowness may be, in standard deviations of its logarithm, and how likely each is. The unlikely ones are
# all that is left of it where a task has run for longer than any would have on a peer that is as it seems.
WAYS = [(way, exp(-way * way / 2)) for way in (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)]
# Where others' tasks run in more than this share of the slots a peer waits no longer than so. *Simulated*, two jobs of
# tasks of a second beside each other: without a bound slow peers idled for two seconds, and the jobs ended as now.
SHARED = 1 / 5
SHARED_S = 1.0
# How much longer than foreseen the others may take before the peer that waits gets its share after all.
DOUBT = 1.5


@dataclass(slots=True)
class Outlook:
    """What receipts tell of a job: lengths (seconds on a peer of slowness 1, sorted), slowness, and all peers' rate."""

    at: float
    slowness: dict[NodeId, tuple[float, float]]  # as expected, and for sure
    lengths: list[float]
    longer_s: list[float]  # by count: how long the longest so many took together
    nearly_all_s: float  # what a share of NEARLY_ALL do not exceed
    rate: float  # seconds of work, on a peer of slowness 1, that all slots which run no others' tasks do in one
    slots: int  # how many these are
    shared: bool  # others' tasks run in many
    unstarted: int  # tasks that wait at peers
    fastest: float
    slowest: float
    guessed: frozenset[NodeId]  # of these nothing was known but that they brought nothing
    varied: bool  # lengths vary too widely to foresee one

    @property
    def mean_s(self) -> float:
        """The usual length of a task."""
        return self.longer_s[-1] / len(self.lengths)

    def slow(self, node: NodeId) -> float:
        """A peer's slowness, as it is expected; 1 for one that brought nothing."""
        return self.slowness.get(node, ALIKE)[0]

    def surely(self, node: NodeId) -> float:
        """A peer's slowness, nearer to 1 by what may be chance."""
        return self.slowness.get(node, ALIKE)[1]

    def surely_slower(self, node: NodeId, than: NodeId) -> bool:
        """Whether the one peer is slower than the other, beyond chance and by more than is worth a word."""
        return self.surely(node) > UNEQUAL * self.surely(than)

    def expected_s(self, ran_s: float) -> float:
        """How long a task takes that has run for ``ran_s`` already, on a peer of slowness 1.

        The mean of those that took longer; where none did it goes on for as long as it has run (Lindy's law).
        """
        longer = len(self.lengths) - bisect_right(self.lengths, ran_s)
        return self.longer_s[longer] / longer if longer else 2 * ran_s

    def gain_s(self, ran_s: float, slow: float, doubt: float, anew: float, rtt_s: float) -> float:
        """How much sooner a task is expected to end if it begins anew elsewhere as well, and whoever ends first counts.

        It has run for ``ran_s`` at a peer whose slowness is ``slow``, give or take ``doubt`` (a standard deviation of
        the logarithm); the other's is ``anew``. The longer it runs the less it is a short task on a fast peer. Where it
        may end in a moment or go on for long, the mean of what is left says nothing of what a second run would save.
        """
        weight = gained = 0.0
        count = len(self.lengths)
        for way, likely in WAYS:
            slow_so = slow * exp(way * doubt)
            longer = count - bisect_right(self.lengths, ran_s / slow_so)
            weight += likely * longer
            if longer and slow_so > anew:
                later = count - bisect_right(self.lengths, (ran_s + rtt_s) / (slow_so - anew))
                gained += likely * (self.longer_s[later] * (slow_so - anew) - later * (ran_s + rtt_s))
        if weight:
            return gained / weight
        return ran_s - 2 * ran_s / slow * anew - rtt_s  # as long again (Lindy's law), and the whole of that elsewhere

    def long_after_s(self, long_s: float) -> float:
        """For how long a task has run, at least, that is expected to take longer than ``long_s``: the more of the
        longest tasks are looked at the less they took on average."""
        count = len(self.lengths)
        longest = bisect_left(range(1, count + 1), True, key=lambda n: self.longer_s[n] / n <= long_s)
        if not longest:
            return max(self.lengths[-1], long_s / 2)
        return self.lengths[count - longest - 1] if longest < count else 0.0


class Placement:
    """See the module. Times are the caller's ``now``."""

    __slots__ = ("_ledger", "_participants", "_speeds", "_outlook", "_until", "_shared_until", "_due")

    def __init__(self, ledger: Ledger, participants: Participants, speeds: Speeds) -> None:
        self._ledger = ledger
        self._participants = participants
        self._speeds = speeds
        self._outlook: Outlook | None = None
        self._until: float | None = None  # slow peers wait no longer
        self._shared_until = 0.0  # nor than that, where others' tasks run in many slots
        self._due: float | None = None  # the same, until that time came

    def outlook(self, now: float) -> Outlook | None:
        """What is to be expected, a moment old at most; none before a few receipts came."""
        found, peers = self._outlook, self._participants.peers
        if found is not None and now < found.at + OUTLOOK_S + OUTLOOK_PEER_S * len(peers):
            return found
        if len(self._speeds) < RECEIPTS_MIN:
            return None
        slowness = self._speeds.slowness()
        lengths = self._speeds.lengths(slowness)
        sums = [0.0]
        for length in reversed(lengths):
            sums.append(sums[-1] + length)
        nearly_all_s = lengths[min(int(len(lengths) * NEARLY_ALL), len(lengths) - 1)]
        guessed: list[NodeId] = []
        for peer in peers.values():  # who has brought nothing for so long is slow, by how much is yet to be seen
            silent_s = now - peer.pace.heard_at
            if peer.held and not self._speeds.knows(peer.node) and silent_s > UNPROVEN_TOO_LONG * nearly_all_s:
                slowness[peer.node] = (silent_s / nearly_all_s,) * 2
                guessed.append(peer.node)
        slow = [(*slowness.get(p.node, ALIKE), p.slots_ours(now), p.unstarted(now)) for p in peers.values() if p.slots]
        rate = sum(slots / expected for expected, _, slots, _ in slow)
        slots = sum(slots for _, _, slots, _ in slow)
        shared = slots < (1 - SHARED) * self._participants.slots
        unstarted = sum(unstarted for *_, unstarted in slow)
        ends = [surely for _, surely, _, _ in slow] or [1.0]
        varied = self._speeds.lengths_variance > VARIANCE_MAX
        self._outlook = Outlook(
            now, slowness, lengths, sums, nearly_all_s, rate, slots, shared, unstarted, min(ends), max(ends),
            frozenset(guessed), varied,
        )  # fmt: skip
        return self._outlook

    def drain_s(self, outlook: Outlook) -> float:
        """How long until all that waits now, here and at peers, has started."""
        return self._waiting_s(outlook) / outlook.rate if outlook.rate else inf

    def _waiting_s(self, outlook: Outlook) -> float:
        """Seconds of work, on a peer of slowness 1, that have not begun."""
        return (self._ledger.waiting + outlook.unstarted) * outlook.mean_s

    def near_end(self, now: float) -> Outlook | None:
        """The outlook, where it matters who gets the next task: peers differ, and the end is near for the slowest."""
        outlook = self.outlook(now)
        if outlook is None or outlook.slowest < UNEQUAL * outlook.fastest:
            return None
        if outlook.lengths[-1] * outlook.slowest < GAIN_S:
            return None
        if self.drain_s(outlook) < outlook.lengths[-1] * outlook.slowest:
            return outlook
        self.over()
        return None

    def waits(self, peer: Participant, outlook: Outlook, now: float) -> bool:
        """Whether ``peer`` had better get nothing now."""
        expected, slow = outlook.slowness.get(peer.node, ALIKE)
        own = peer.slots_ours(now)
        rate, slots = outlook.rate - own / expected, outlook.slots - own
        if peer.held or rate <= 0 or slots <= 0 or self._ledger.barred_waiting or outlook.varied:
            return False
        if not self._speeds.tells(peer.node) or peer.node in outlook.guessed:  # what was guessed it has brought since
            return False
        others = slots / rate  # their slowness, taken together
        drained_s = self._waiting_s(outlook) / rate
        if slow < UNEQUAL * others or outlook.mean_s * (slow - others) < drained_s + GAIN_S:
            return False
        if self._until is None:
            self._shared_until = now + SHARED_S
            self._until = self._due = now + DOUBT * (drained_s + outlook.mean_s) + GAIN_S
        if outlook.shared and self._shared_until < self._until:  # which may have been seen only now
            self._until = self._shared_until
            self._due = None if self._due is None else self._until
        return now < self._until

    def over(self) -> None:
        """The end that was foreseen is over, or is not near: who waits at the next one does so anew."""
        self._until = self._due = None

    def passed(self, now: float) -> None:
        """Something is about to be leased, or looked for: what was due is done."""
        if self._due is not None and now >= self._due:
            self._due = None

    def deadline(self) -> float | None:
        """When those that wait get something after all."""
        return self._due
