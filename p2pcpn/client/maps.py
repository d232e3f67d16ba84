"""A map: its items wait here in blocks, leave in chunks as peers can take them, and come back in order.

The calling thread takes the items in; the event loop's thread cuts chunks on demand, as late as keeps all slots busy,
so that their size follows the newest measurement; whoever iterates unpickles the results. Each item has a *place*;
everything here is a run of places, never an object an item.

::

    iterables ──block──> waiting ──chunk──> out ──results──> ready ──> iterator
                            ^── what a chunk had no time for ──┤
                            └── one by one, when it was lost ──┘
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Final, Protocol

from p2pcpn import limits
from p2pcpn.client.arguments import Arguments
from p2pcpn.client.blocks import Block, apart, sizes_of, within
from p2pcpn.client.chunking import CHUNK_BYTES, CHUNK_S_MAX, Chunking
from p2pcpn.client.chunks import APART, LOADED, TOGETHER, Many, One, Packed, immutable, unpacked
from p2pcpn.client.cutting import Call
from p2pcpn.client.exceptions import rebuild
from p2pcpn.client.pickling import Callee, without_frames
from p2pcpn.client.room import Room

log = logging.getLogger("p2pcpn.client")

# What results take beside their bytes, a chunk.
READY_BYTES: Final = 256
# How many blocks are taken in at a time once somebody iterates.
BLOCKS_AT_ONCE: Final = 16
# Blocks begin small and grow to limits.MAP_BLOCK_ITEMS or so many bytes: items may be large, or come one a minute.
BLOCK_ITEMS_FIRST: Final = 8
BLOCK_BYTES: Final = 1 << 20
NOTHING: Packed = (LOADED, [])


class Chunk:
    """Some items that are out as one task: to a submission what a future is to a task of its own."""

    __slots__ = ("_map", "block", "index", "size_bytes", "started", "over")

    def __init__(self, whole: Map, block: Block) -> None:
        self._map = whole
        self.block = block
        self.size_bytes = block.size_bytes
        self.index = -1
        self.started = False
        self.over = False

    def arguments(self) -> tuple[int, Sequence[Any], float]:
        """What :func:`~p2pcpn.client.chunks.run_items` is called with, beside the function."""
        return self.block.how, self.block.items, CHUNK_S_MAX

    def done(self) -> bool:
        """Whether it came back, or nobody wants it any more."""
        return self.over

    def start(self) -> bool:
        """It runs; false when it was cancelled first."""
        self.started = True
        return not self.over

    def cancel(self) -> bool:
        """Take it back, unless it runs."""
        return self._map.take_back(self)

    def came_back(self, value: Any, size_bytes: int) -> bool:
        """It came back with ``value``, whose pickle had ``size_bytes``."""
        return self._map.came_back(self, value, size_bytes)

    def fail(self, error: BaseException) -> bool:
        """It was lost, or could not be run at all."""
        return self._map.failed(self, error)


class Source(Protocol):
    """The job that a map belongs to, as its map knows it."""

    @property
    def arguments(self) -> Arguments:
        """Packs the arguments of its calls."""

    def wake(self) -> None:
        """Have the loop look for chunks soon. From any thread."""

    def withdraw(self, index: int) -> None:
        """A chunk that was out and did not run is cancelled. From any thread."""

    @property
    def closed(self) -> bool:
        """Whether no more may be submitted."""

    @property
    def why_closed(self) -> str:
        """What is said to who submits more then."""


class Map:
    """See the module. ``lock`` and ``room`` are the job's; ``keep`` lives as long as anything is to be done.

    ``callee`` is what its chunks call, ``alone`` what the task of an item calls that is too large for a chunk.
    """

    def __init__(
        self,
        source: Source,
        lock: threading.RLock,
        room: Room,
        callee: Callee,
        alone: Callee,
        keep: object = None,
    ) -> None:
        self.callee = callee
        self.chunking = Chunking()
        self.keep = keep
        self._source = source
        self._lock = lock
        self._room = room
        self._alone = alone
        self._arrived = threading.Condition(lock)
        self._rows: Iterator[Any] | None = None
        self._bare = False  # rows are arguments, not tuples of them
        self._filling: list[Any] | None = None
        self._taken = 0  # of what is being filled
        self._block_items = BLOCK_ITEMS_FIRST
        self._places = 0
        self._waiting: deque[Block] = deque()
        self._waiting_items = 0
        self._out: dict[int, Chunk] = {}  # by first place
        # How many items, their values and failures, and what they take.
        self._ready: dict[int, tuple[int, Packed, dict[int, Any], int]] = {}
        self._ready_bytes = 0
        self._next = 0  # the place whose result is handed out next
        self._cancelled = False
        self._deaf = False  # nobody will read any more
        self._error: BaseException | None = None
        self._iterator: weakref.ref[Any] | None = None

    @property
    def open(self) -> bool:
        """Whether something waits or is out."""
        return bool(self._waiting or self._out or self._filling)

    @property
    def over(self) -> bool:
        """Whether nothing will ever be out again."""
        return self._rows is None and not self.open

    # --- the caller's thread: items in -------------------------------------------------------------------------------

    def take_in(self, iterables: tuple[Iterable[Any], ...]) -> None:
        """Take in all items, waiting while there is no room for more.

        Where it is results that nobody reads yet which fill the room, this ends early: the rest is taken in while
        somebody iterates.
        """
        self._bare = len(iterables) == 1
        self._rows = iter(iterables[0]) if self._bare else zip(*iterables, strict=False)
        while self._rows is not None and self._ready_bytes < self._room.bytes_max:
            self._take_block()

    def _take_block(self) -> None:
        assert self._rows is not None
        filling: list[Any] = []
        with self._lock:
            self._room.wait()
            self._refuse()
            self._filling, self._taken = filling, 0
        self._source.wake()
        ended = True
        try:
            filling.extend(itertools.islice(self._rows, self._block_items))
            ended = len(filling) < self._block_items
        finally:
            with self._lock:
                self._filling = None
                rows = filling[self._taken :] if self._taken else filling
            del filling
            if ended:
                self._rows = None
            if rows:
                self._add_rows(rows)

    def _add_rows(self, rows: list[Any]) -> None:
        size = 0
        for block in self._blocks(rows):
            with self._lock:
                self._room.wait()
                self._refuse()
                self._add(block)
            size += block.size_bytes
            self._source.wake()
        fit = BLOCK_BYTES * len(rows) // max(size, 1)
        self._block_items = max(1, min(self._block_items * 4, fit, limits.MAP_BLOCK_ITEMS))

    def _refuse(self) -> None:
        if self._source.closed:
            self._rows = None
            raise RuntimeError(self._source.why_closed)

    def _add(self, block: Block) -> None:
        """Give the items of ``block`` the next places. The caller holds the lock."""
        block.first = self._places
        self._places += block.count
        if isinstance(block.call, BaseException):
            self._settle(block.first, block.count, NOTHING, {0: block.call}, 0)
        elif not self._cancelled:
            self._room.take(block.size_bytes)
            self._waiting.append(block)
            self._waiting_items += block.count

    def _blocks(self, rows: list[Any]) -> Iterator[Block]:
        """Rows as blocks; their places are not known yet."""
        if immutable(rows):
            columns = [rows] if self._bare else list(zip(*rows, strict=True))
            sizes = [each for column in columns for each in sizes_of(column)]
            if max(sizes) <= CHUNK_BYTES:
                yield Block(0, len(rows), TOGETHER, columns, sum(sizes))
                return
        small: list[bytes] = []
        for row in rows:
            packed = self._packed((row,) if self._bare else row)
            if isinstance(packed, bytes):
                small.append(packed)
                continue
            if small:
                yield apart(small)
                small = []
            size = limits.CALL_BYTES + self._room.size_of(packed[1]) if isinstance(packed, tuple) else 0
            yield Block(0, 1, APART, (), size, packed)
        if small:
            yield apart(small)

    def _packed(self, arguments: tuple[Any, ...]) -> bytes | Call | Exception:
        """The pickled arguments of one item; where they are large a task of its own."""
        try:
            data = self._source.arguments.pack(arguments, {})
        except Exception as error:
            without_frames(error)
            return error
        return data if isinstance(data, bytes) and len(data) <= CHUNK_BYTES else (self._alone, data)

    # --- the loop's thread: chunks out -------------------------------------------------------------------------------

    @property
    def slow(self) -> bool:
        """Whether nothing waits while the caller's iterables are being asked for a block."""
        return self._filling is not None and not self._waiting

    def wanted(self, slots: int) -> int:
        """How many more chunks should be out; none until a quarter of all is missing."""
        out = self.chunking.out(self._waiting_items, slots)
        missing = out - len(self._out)
        return missing if missing * 4 >= out else 0

    def cut(self, slots: int) -> Chunk | None:
        """The next chunk, for ``slots`` slots in all; none when nothing waits. The caller holds the lock."""
        if not self._waiting and self._filling is not None:
            self._steal()
        if not self._waiting:
            return None
        block = self._waiting[0]
        count = 1
        if block.call is None and not block.alone:
            count = min(self.chunking.items(self._waiting_items, slots), block.count)
            if count > 1 and block.how == APART:
                count = within(block.items, count, CHUNK_BYTES)
        head = block.cut(count)
        if not block.count:
            self._waiting.popleft()
        self._waiting_items -= count
        chunk = self._out[head.first] = Chunk(self, head)
        return chunk

    def _steal(self) -> None:
        """The iterables are slow: what they gave so far does not wait for the rest of its block."""
        assert self._filling is not None
        rows = self._filling[self._taken :]
        self._taken += len(rows)
        for block in self._blocks(rows) if rows else ():
            self._add(block)

    # --- the loop's thread: results in -------------------------------------------------------------------------------

    def came_back(self, chunk: Chunk, value: Many | One, size_bytes: int) -> bool:
        """``value`` is what the worker returned for ``chunk``: a pickle of ``size_bytes``."""
        count, values, failures = 1, NOTHING, dict[int, bytes]()
        if len(value) == 2:
            ran_s, single = value
            values = LOADED, [single]
        else:
            ran_s, count, values, failures = value
        with self._lock:
            block, first = chunk.block, chunk.block.first
            # A worker may say what it likes: what it says is looked at before the chunk is taken for settled.
            if not 1 <= count <= block.count or not 0.0 <= ran_s < math.inf or not self._leave(chunk):
                return False
            self.chunking.ran(count, ran_s, size_bytes)
            if count < block.count:
                block.cut(count)
                self._wait_again(block)
            self._settle(first, count, values, failures, size_bytes)
            return True

    def failed(self, chunk: Chunk, error: BaseException) -> bool:
        """``chunk`` was lost or raised as a whole: what is to blame is found by running its items one by one."""
        with self._lock:
            block = chunk.block
            if not self._leave(chunk):
                return False
            if block.count == 1 or self._error is not None:
                self._settle(block.first, block.count, NOTHING, {0: error}, 0)
            else:
                block.alone = True
                self._wait_again(block)
            return True

    def _leave(self, chunk: Chunk) -> bool:
        """``chunk`` is out no more; false when it was not."""
        if chunk.over:
            return False
        chunk.over = True
        del self._out[chunk.block.first]
        return True

    def _wait_again(self, block: Block) -> None:
        """First in line, for the iterator comes to it first."""
        if not self._cancelled:
            self._waiting.appendleft(block)
            self._waiting_items += block.count
            self._room.take(block.size_bytes)

    def _settle(self, first: int, count: int, values: Packed, failures: dict[int, Any], size_bytes: int) -> None:
        if self._deaf:
            return
        self._ready[first] = count, values, failures, size_bytes + READY_BYTES
        self._ready_bytes += size_bytes + READY_BYTES
        if first == self._next:
            self._arrived.notify_all()

    # --- the end -----------------------------------------------------------------------------------------------------

    def take_back(self, chunk: Chunk) -> bool:
        """Cancel a chunk that is out, unless it runs."""
        with self._lock:
            if chunk.started or not self._leave(chunk):
                return False
            self._cancelled = True
            self._source.withdraw(chunk.index)
            self._arrived.notify_all()
            return True

    def cancel(self) -> None:
        """What has not started never will. From any thread, also from a finaliser."""
        with self._lock:
            self._cancelled = True
            self._rows = None
            self._room.give_back(sum(block.size_bytes for block in self._waiting))
            self._waiting.clear()
            self._waiting_items = 0
            for chunk in list(self._out.values()):
                self.take_back(chunk)
            self._arrived.notify_all()
        self._source.wake()

    def abandon(self, error: BaseException) -> None:
        """Whatever is left fails with ``error``."""
        with self._lock:
            self._error = error
            self.cancel()

    def _dropped(self) -> None:
        """Nobody has the iterator any more: what still runs does, and its results are let go."""
        self._hear_no_more()
        if self._rows is not None:
            self._rows = None
            log.warning("the results of a map filled the room for them, and nobody read on: the rest of it never ran")
        self._source.wake()

    # --- whoever iterates: results in order --------------------------------------------------------------------------

    def results(self, end: float | None) -> Iterator[Any]:
        """The results, in order; the first failure is raised in its place. ``end`` is when the time is over."""
        iterator = self._results(end)
        # What it refers to must not be the map: a generator that never began ends without a word.
        self._iterator = weakref.ref(iterator, lambda _: self._dropped())
        return iterator

    def _results(self, end: float | None) -> Iterator[Any]:
        try:
            while self._await(end):
                with self._lock:
                    count, values, failures, size_bytes = self._ready.pop(self._next)
                    self._ready_bytes -= size_bytes
                self._next += count
                if not failures:
                    yield from unpacked(*values)
                    continue
                at = min(failures)
                if at:
                    yield from itertools.islice(unpacked(*values), at)
                raise self._failure(failures[at])
        finally:
            self._hear_no_more()
            self.cancel()
            failures = {}
            del self

    def _hear_no_more(self) -> None:
        with self._lock:
            self._deaf = True
            self._ready.clear()
            self._ready_bytes = 0

    @staticmethod
    def _failure(failure: BaseException | bytes) -> BaseException:
        return failure if isinstance(failure, BaseException) else rebuild(failure)

    def _await(self, end: float | None) -> bool:
        """Wait until the next place is ready; false when all were handed out. Takes in more where some is left."""
        for _ in range(BLOCKS_AT_ONCE):
            if self._rows is None or self._room.full or self._ready_bytes >= self._room.bytes_max:
                break
            self._take_block()
        while True:
            with self._lock:
                while self._next not in self._ready:
                    if not self.open:
                        if self._rows is not None:
                            break
                        if self._next == self._places:
                            return False
                    if self._error is not None or (self._cancelled and self._next not in self._out):
                        raise self._error or CancelledError
                    left = None if end is None else end - time.monotonic()
                    if left is not None and left <= 0:
                        raise FutureTimeout
                    self._arrived.wait(left)
                else:
                    return True
            self._take_block()
