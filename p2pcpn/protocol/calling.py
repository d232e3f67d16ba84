"""Calling for peers: when a grantor offers its work, how often, and how far.

An offer goes out at once when more slots are wanted than claimed, then less and less often while nobody answers, each
a ring wider. The first ring is as wide as so many slots are likely to be far: rings that grow from the narrowest keep a
thousand peers waiting for seconds. However often the need comes and goes, two offers are never closer than
``OFFER_WAIT_S``; only where the need has grown by a ring, as it does while a job is being brought, the wider one goes
out after ``WIDER_WAIT_S``.
"""

from __future__ import annotations

OFFER_WAIT_S = 0.5
# Who is called from so far away for so many slots needs longer to come, and to tell everybody costs each a dozen
# datagrams: for each ring beyond the narrowest the next offer waits so much longer.
RING_WAIT_S = 0.5
OFFER_WAIT_S_MAX = 5.0
WIDER_WAIT_S = 0.05
OFFER_TTL_S = 10.0
# An offer stands for little longer than it takes until the next one is heard: whoever has nothing to do when the need
# is over would greet and claim in vain.
HEARD_S = 0.5
HOPS_MIN = 2
HOPS_MAX = 8
# Each hop reaches about 2**3 = 8 times as many peers: a rumor is told to three in each of four rounds; some know it.
RING_BITS = 3


class Calling:
    """Numbers and times the offers of one grantor."""

    __slots__ = ("number", "_at", "_not_before", "_repeated", "_ring", "_said_at", "_wait_s")

    def __init__(self) -> None:
        self.number = 0
        self._at: float | None = None
        self._not_before = float("-inf")
        self._wait_s = OFFER_WAIT_S
        self._ring = 0  # of the newest offer, as many slots as were wanted then
        self._repeated = -1  # offers, beside those that went out because a wider ring was wanted
        self._said_at = float("-inf")

    def hops(self, wanted: int) -> int:
        """How far the newest offer goes, of ``wanted`` slots."""
        return min(max(HOPS_MIN, _ring(wanted)) + max(0, self._repeated), HOPS_MAX)

    def wanted(self, now: float, slots: int = 1) -> bool:
        """Peers are wanted, for so many ``slots``: whether an offer goes out now. If so, ``number`` is its number."""
        at = self._not_before if self._at is None else self._at
        ring = _ring(slots)
        wider = self.number > 0 and ring > max(HOPS_MIN, self._ring)
        if wider:
            at = min(at, self._said_at + WIDER_WAIT_S)
        if now < at:
            self._at = at
            return False
        self.number += 1
        self._ring, self._said_at = ring, now
        far_s = RING_WAIT_S * max(0, ring - HOPS_MIN)
        self._not_before = now + OFFER_WAIT_S + far_s
        if wider:
            self._wait_s = OFFER_WAIT_S  # another need, which nobody has heard of
        else:
            self._repeated += 1
        self._at = now + min(self._wait_s + far_s, OFFER_WAIT_S_MAX)
        self._wait_s = min(self._wait_s * 1.5, OFFER_WAIT_S_MAX)
        return True

    @property
    def stands_s(self) -> float:
        """How long the newest offer stands: until the next one, should more be wanted still, has been heard."""
        return OFFER_TTL_S if self._at is None else min(OFFER_TTL_S, self._at - self._said_at + HEARD_S)

    def satisfied(self) -> None:
        """No more peers are wanted; the next need starts with short waits again."""
        self._at = None
        self._wait_s = OFFER_WAIT_S
        self._repeated = -1  # the next need is another one: it is told from near to far again

    def deadline(self) -> float | None:
        """When the next offer is due."""
        return self._at


def _ring(slots: int) -> int:
    """How many hops away so many slots are likely to be."""
    return -(-max(slots - 1, 1).bit_length() // RING_BITS)
