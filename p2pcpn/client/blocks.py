"""Blocks: runs of a map's items as they wait, in columns or as a pickle each, and what they weigh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import Any, Final

from p2pcpn.client.chunks import APART, TOGETHER
from p2pcpn.client.cutting import Call

# A number that stands in a list, and what text takes beside its characters.
_NUMBER_BYTES: Final = 40
_TEXT_BYTES: Final = 64


@dataclass(slots=True)
class Block:
    """``count`` items from place ``first`` on: columns of arguments, or a pickle each, or the one call of a large item.

    ``alone``: each of them is to run in a task of its own.
    """

    first: int
    count: int
    how: int
    items: Sequence[Any]
    size_bytes: int
    call: Call | Exception | None = None
    alone: bool = False

    def cut(self, count: int) -> Block:
        """The first ``count`` items, which leave this block."""
        if count == self.count:
            head = Block(self.first, count, self.how, self.items, self.size_bytes, self.call, self.alone)
            self.count, self.size_bytes, self.items = 0, 0, ()
            return head
        if self.how == TOGETHER:
            head_items: Sequence[Any] = [column[:count] for column in self.items]
            self.items = [column[count:] for column in self.items]
            size_bytes = self.size_bytes * count // self.count
        else:
            head_items, self.items = self.items[:count], self.items[count:]
            size_bytes = sum(map(len, head_items))
        head = Block(self.first, count, self.how, head_items, size_bytes, None, self.alone)
        self.first += count
        self.count -= count
        self.size_bytes -= size_bytes
        return head


def apart(pickles: list[bytes]) -> Block:
    """A block of items that are pickled each by itself."""
    return Block(0, len(pickles), APART, pickles, sum(map(len, pickles)) + _TEXT_BYTES * len(pickles))


def within(pickles: Sequence[bytes], count: int, bytes_max: float) -> int:
    """How many of the first ``count`` have so many bytes together; at least one."""
    size = 0
    for at in range(count):
        size += len(pickles[at]) + 3
        if size > bytes_max:
            return max(at, 1)
    return count


def sizes_of(values: Sequence[Any]) -> list[int]:
    """What immutable values take in memory, about."""
    kinds = set(map(type, values))
    if kinds <= {str, bytes}:
        return [_TEXT_BYTES + size for size in map(len, values)]
    if kinds.isdisjoint((str, bytes, tuple)):
        return [_NUMBER_BYTES] * len(values)
    return [_TEXT_BYTES + sum(sizes_of(v)) if type(v) is tuple else getsizeof(v) for v in values]
