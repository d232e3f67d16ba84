"""Chunk sizes: how many items of a map travel as one task, and how many such tasks are out at a time.

A task costs the swarm some 30 µs and its chunk should run a hundred times that; but what was handed out is decided,
and whoever has it may turn out to be slow. So a chunk is as long as pays, is cut as late as keeps every slot busy, and
is a share of what is left, which shrinks to single items at the end (guided self-scheduling, Polychronopoulos and Kuck
1987). The first items go one by one: nothing is known of them.
"""

from __future__ import annotations

from p2pcpn import limits

# 30 µs a task are 0.6 % of it.
CHUNK_S = 0.005
# A chunk ends early after this: items that grew ten thousand times longer cost one such item, or 20 ms.
CHUNK_S_MAX = 0.02
# What is handed out ahead of each slot, in seconds: a round trip of any distance. The pace of leases is the same.
HORIZON_S = 0.1
# A chunk is at most this share of what is left for a slot.
TAIL = 4
# Before anything is known: single items, enough to call for some peers.
FIRST = 32
AHEAD_MAX = 256
# Arguments and results that stand inline cost no file and no question: with a pickle's own overhead and some variance.
CHUNK_BYTES = limits.INLINE_BYTES_MAX * 3 // 4
_ITEM_S_MIN = 1e-8
SMOOTHING = 0.5


class Chunking:
    """The measured items of one map, and the chunks that follow from them."""

    __slots__ = ("item_s", "argument_bytes", "result_bytes")

    def __init__(self) -> None:
        self.item_s: float | None = None
        self.argument_bytes = 9.0  # a float's; corrected with the first chunk
        self.result_bytes = 9.0

    def ran(self, count: int, ran_s: float, result_bytes: int) -> None:
        """``count`` items took ``ran_s`` seconds together and came back as so many bytes."""
        sample = max(ran_s / count, _ITEM_S_MIN)
        self.item_s = sample if self.item_s is None else self.item_s + SMOOTHING * (sample - self.item_s)
        self.result_bytes += SMOOTHING * (result_bytes / count - self.result_bytes)

    def sent(self, count: int, argument_bytes: int) -> None:
        """``count`` items were packed into so many bytes."""
        self.argument_bytes += SMOOTHING * (argument_bytes / count - self.argument_bytes)

    def items(self, waiting: int, slots: int) -> int:
        """How many of ``waiting`` items the next chunk may have, for ``slots`` slots."""
        if self.item_s is None:
            return 1
        fair = -(-waiting // (TAIL * max(slots, 1)))
        fit = CHUNK_BYTES / max(self.argument_bytes, self.result_bytes, 1.0)
        return max(1, min(fair, int(CHUNK_S / self.item_s), int(fit), limits.MAP_BLOCK_ITEMS))

    def out(self, waiting: int, slots: int) -> int:
        """How many chunks should be out: what ``slots`` slots run within the horizon, and one for each beside it."""
        if self.item_s is None:
            return max(FIRST, 2 * slots)
        chunk_s = self.items(waiting, slots) * self.item_s
        return max(slots, 1) * (min(int(HORIZON_S / chunk_s), AHEAD_MAX) + 2)
