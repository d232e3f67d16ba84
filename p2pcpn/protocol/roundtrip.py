"""How long an answer takes: RFC 6298's estimate, one for each peer lately asked.

Two things differ from TCP. The second sample replaces the first: the first exchange with a peer carries the
handshake of its pair, which is up to three round trips. And the doubled timeout of an unanswered request is kept
until the next clean sample (RFC 6298, 5.5 to 5.7), also for a peer never measured: otherwise a peer slower than the
first guess would never give a sample at all, because Karn's rule takes none from a repeated request.

A peer that was never measured is expected to be like the others: it is given twice as long as three in four of the
latest first exchanges took, handshakes included, or as three round trips to those known longer would take, whichever
is less. A fixed guess is wrong everywhere: where round trips take a millisecond, each silent stranger would cost 300.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass

from p2pcpn import limits

# A first exchange: hello and cookie, signed hello and welcome, then the request and its answer.
FIRST_EXCHANGE_TRIPS = 3
# So few samples say nothing of the others, and so many of the latest are looked at, now and then.
SAMPLES_MIN = 8
SAMPLES = 64
LOOK_EACH = 8
# So few samples of one peer were taken when it was met, perhaps when all were: a swarm that starts is slow. Whoever is
# slow on the long run has soon given more.
FEW = 2


@dataclass(slots=True)
class _Estimate:
    srtt_s: float = 0.0
    rttvar_s: float = 0.0
    samples: int = 0
    backoff: int = 0


class RoundTrips:
    """Round trips of at most ``peers_max`` peers; the one asked least recently is forgotten first."""

    def __init__(self, peers_max: int = limits.ROUNDTRIPS_MAX) -> None:
        self._peers_max = peers_max
        self._estimates: dict[bytes, _Estimate] = {}  # the one asked least recently first
        self._first_s: deque[float] = deque(maxlen=SAMPLES)
        self._later_s: deque[float] = deque(maxlen=SAMPLES)
        self._observed = 0
        self._stranger_s = limits.RTO_INITIAL_S

    def __len__(self) -> int:
        return len(self._estimates)

    def observe(self, node: bytes, rtt_s: float) -> None:
        """An answer of ``node`` took ``rtt_s``. Only for requests sent once (Karn's rule)."""
        estimate = self._of(node)
        rtt_s = max(0.0, rtt_s)
        if estimate.samples < 2:
            estimate.srtt_s, estimate.rttvar_s = rtt_s, rtt_s / 2
        else:
            estimate.rttvar_s += (abs(estimate.srtt_s - rtt_s) - estimate.rttvar_s) / 4
            estimate.srtt_s += (rtt_s - estimate.srtt_s) / 8
        if estimate.samples:
            self._later_s.append(estimate.srtt_s)
        else:
            self._first_s.append(rtt_s)
        self._observed += 1
        if self._observed % LOOK_EACH == 0:
            self._stranger_s = self._like_others_s()
        estimate.samples += 1
        estimate.backoff = 0

    def unanswered(self, node: bytes) -> None:
        """``node`` let a whole timeout pass: the next is twice as long."""
        estimate = self._of(node)
        estimate.backoff = min(estimate.backoff + 1, 8)

    def srtt_s(self, node: bytes) -> float | None:
        """The smoothed round trip to ``node``, or ``None`` when it was never measured."""
        estimate = self._estimates.get(node)
        return estimate.srtt_s if estimate is not None and estimate.samples else None

    def usual_s(self, node: bytes, unknown_s: float) -> float:
        """The same; for who was never measured what others have, and ``unknown_s`` where nobody was."""
        return self.srtt_s(node) or self.median_s() or unknown_s

    def measured(self, nodes: Container[bytes]) -> list[tuple[float, bytes]]:
        """The smoothed round trips to those of ``nodes`` that were measured, and whose each is."""
        return [(known.srtt_s, node) for node, known in self._estimates.items() if known.samples and node in nodes]

    def timeout_s(self, node: bytes) -> float:
        """After how long without an answer ``node`` counts as late."""
        estimate = self._estimates.get(node)
        if estimate is None:
            return self._stranger_s
        rto_s = self._stranger_s
        if estimate.samples:
            rto_s = max(limits.RTO_FLOOR_S, estimate.srtt_s + 4 * estimate.rttvar_s)
        if 0 < estimate.samples <= FEW and self._observed >= SAMPLES_MIN:
            rto_s = min(rto_s, max(self._stranger_s, limits.RTO_INITIAL_S / 2))
        return min(limits.RTO_CEILING_S, rto_s * 2.0**estimate.backoff)

    def _like_others_s(self) -> float:
        """Slow or hostile ones among the slowest quarter change nothing."""
        usual_s = [limits.RTO_STRANGER_S_MAX / 2]
        for trips, samples_s in ((1, self._first_s), (FIRST_EXCHANGE_TRIPS, self._later_s)):
            if len(samples_s) >= SAMPLES_MIN:
                usual_s.append(trips * sorted(samples_s)[len(samples_s) * 3 // 4])
        if len(usual_s) == 1:
            return limits.RTO_INITIAL_S
        return max(FIRST_EXCHANGE_TRIPS * limits.RTO_FLOOR_S, 2 * min(usual_s))

    def median_s(self) -> float | None:
        """The median of all smoothed round trips, or ``None`` when nothing is measured."""
        measured = sorted(estimate.srtt_s for estimate in self._estimates.values() if estimate.samples)
        return measured[len(measured) // 2] if measured else None

    def forget(self, node: bytes) -> None:
        """``node`` is gone, or has moved: what was measured says nothing any more."""
        self._estimates.pop(node, None)

    def _of(self, node: bytes) -> _Estimate:
        estimate = self._estimates.get(node)
        if estimate is None:
            estimate = self._estimates[node] = _Estimate()
            if len(self._estimates) > self._peers_max:
                del self._estimates[next(iter(self._estimates))]
        else:
            del self._estimates[node]
            self._estimates[node] = estimate
        return estimate
