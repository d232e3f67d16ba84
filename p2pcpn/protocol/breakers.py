"""Circuit breakers: a peer that fails again and again in one runtime gets nothing for it for a while, of any job here.

::

    closed ──FAILURES_MAX in a row──> open ──its time is over──> half-open: one task, and nothing beside it
       ^──────────────any success─────────────────────────────────┤
                                      open, for twice as long <───┘ it failed, too

After Nygard's circuit breaker (2007) and Envoy's ejection of outliers. What counts as a peer's own failure is not
decided here but in ``blame``. One object a node, for its jobs learn from each other.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId

# In a row. Envoy takes five, too: what happens to a good peer once a day does not happen five times between successes.
FAILURES_MAX = 5
# How long a peer gets nothing at first, and at most: whoever mends it need not wait longer than that.
OPEN_S, OPEN_S_MAX = 1.0, 60.0
# A probe that is not decided after so long, for its task is a long one, is followed by another.
PROBE_S = 60.0
# No bound on what is leased at a time.
ANY = limits.BATCH_TASKS_MAX


@dataclass(slots=True)
class _Breaker:
    failures: int = 0  # in a row
    times: int = 0  # that it opened without a success between
    until: float = float("-inf")  # nothing before
    probed_at: float | None = None  # while the probe is out
    why: str = ""

    @property
    def open(self) -> bool:
        return self.times > 0


@dataclass(frozen=True, slots=True)
class Shut:
    """A breaker that is not closed: how often the peer failed in a row, why the last time, when it may show itself."""

    peer: NodeId
    failures: int
    until: float
    why: str


class Breakers:
    """See the module. Times are the caller's ``now``; a peer of which nothing is known is closed."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, NodeId], _Breaker] = OrderedDict()

    def failed(self, runtime: str, peer: NodeId, why: str, now: float) -> bool:
        """A failure of its own; whether its breaker is (still, or again) open by it."""
        known = self._known.setdefault((runtime, peer), _Breaker())
        self._known.move_to_end((runtime, peer))
        if len(self._known) > limits.BREAKERS_MAX:
            self._known.popitem(last=False)
        known.failures += 1
        known.why = why[: limits.REASON_CHARS_MAX]
        # What was leased before it opened fails after: that is the same failure, and no probe.
        if known.failures >= FAILURES_MAX and (known.probed_at is not None or now >= known.until):
            known.probed_at = None
            known.until = now + min(OPEN_S * 2.0 ** min(known.times, 32), OPEN_S_MAX)
            known.times += 1
        return known.open

    def succeeded(self, runtime: str, peer: NodeId) -> bool:
        """Something ran there to its end; whether that closes an open breaker."""
        if not self._known:
            return False
        known = self._known.pop((runtime, peer), None)
        return known is not None and known.open

    def excused(self, runtime: str, peer: NodeId) -> None:
        """One of its failures in a row was not its own after all."""
        known = self._known.get((runtime, peer))
        if known is None:
            return
        known.failures -= 1
        if known.failures < FAILURES_MAX:
            known.times, known.until, known.probed_at = 0, float("-inf"), None
        if known.failures <= 0:
            del self._known[runtime, peer]

    def may_have(self, runtime: str, peer: NodeId, now: float) -> int:
        """How many tasks may be leased to it now."""
        known = self._known.get((runtime, peer)) if self._known else None
        if known is None or not known.open:
            return ANY
        return 0 if now < known.until else 1

    def probed(self, runtime: str, peer: NodeId, now: float) -> None:
        """It was leased something: where its breaker is half-open that is the probe."""
        known = self._known.get((runtime, peer)) if self._known else None
        if known is not None and known.open:
            known.until, known.probed_at = now + PROBE_S, now

    def undecided(self, runtime: str, peer: NodeId) -> None:
        """It holds nothing any more, and nothing was decided: its probe was taken back, or somebody else was faster."""
        known = self._known.get((runtime, peer)) if self._known else None
        if known is not None and known.probed_at is not None:
            known.until, known.probed_at = known.probed_at, None

    def until(self, runtime: str, peer: NodeId) -> float:
        """Before that it gets nothing; in the past where it is closed."""
        known = self._known.get((runtime, peer)) if self._known else None
        return known.until if known is not None and known.open else float("-inf")

    def shut(self, runtime: str) -> list[Shut]:
        """The breakers of a runtime that are not closed, by peer."""
        found = [
            Shut(peer, known.failures, known.until, known.why)
            for (of, peer), known in self._known.items()
            if of == runtime and known.open
        ]
        return sorted(found, key=lambda each: each.peer)
