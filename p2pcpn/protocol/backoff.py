"""Back-off: what was lost or failed waits before it runs again, by chance, up to a bound that doubles each time.

Between nothing and the bound every delay is as likely as any other ("full jitter": Brooker 2015, "Exponential Backoff
And Jitter"). Tasks that failed together were together because of one cause, and would meet it together again; spread
out, some of them find a swarm that has changed. What was lost once runs again within a tenth of a second: one peer's
death is no reason to wait. Only what was charged comes here: a first run waits for nobody, nor what came back unrun.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from heapq import heappop, heappush

from p2pcpn.protocol.spans import Span

# The bound for what failed once, and the highest: longer than a peer needs to restart, shorter than a lease, after
# which a peer is lost in any case. Ten retries take 19 seconds on average.
BASE_S = 0.1
CAP_S = 10.0
# For what nobody could have yet: it may be on its way, and large.
PATIENT_BASE_S, PATIENT_CAP_S = 1.0, 60.0


class Backoff:
    """Spans that wait until their time has come. It grows with what is charged to a job, at most."""

    __slots__ = ("_rng", "_line", "_number")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._line: list[tuple[float, int, list[Span]]] = []  # a heap
        self._number = 0

    def wait(
        self, spans: Sequence[Span], failures: int, now: float, *, base_s: float = BASE_S, cap_s: float = CAP_S
    ) -> None:
        """``spans`` failed together, for the ``failures``-th time each (from 1)."""
        bound_s = min(cap_s, base_s * 2.0 ** min(failures - 1, 64))
        self._enter(now + self._rng.random() * bound_s, list(spans))

    def _enter(self, at: float, spans: list[Span]) -> None:
        self._number += 1
        heappush(self._line, (at, self._number, spans))

    def due(self, now: float, most: int) -> list[Span]:
        """What has waited long enough, the longest due first: at most ``most`` tasks, which leave."""
        found: list[Span] = []
        while most > 0 and self._line and self._line[0][0] <= now:
            at, _, spans = heappop(self._line)
            for position, (first, count) in enumerate(spans):
                taken = min(count, most)
                if taken:
                    found.append((first, taken))
                    most -= taken
                if taken < count:
                    self._enter(at, [(first + taken, count - taken), *spans[position + 1 :]])
                    break
        return found

    def deadline(self) -> float | None:
        """When the next has waited long enough."""
        return self._line[0][0] if self._line else None
