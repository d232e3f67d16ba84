"""A lane: work on the disk, one piece after the other in their order, in a thread; what follows happens in the loop.

Pieces that wait go to the thread together: handing one over costs as much as hashing a chunk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

# In one go: 2 ms of hashing, and a turn of the loop for what follows them.
TOGETHER_MAX: Final = 32

Then = Callable[[Any, Exception | None], None]


class Lane:
    """See the module. ``waiting_bytes`` is what callers said their work holds in memory."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Callable[[], Any], Then, int]] = deque()
        self._under_way: asyncio.Future[None] | None = None
        self.waiting_bytes = 0

    def do(self, work: Callable[[], Any], then: Then, size_bytes: int = 0) -> None:
        """``work()`` in the thread, then ``then(result, error)`` in the loop."""
        self._waiting.append((work, then, size_bytes))
        self.waiting_bytes += size_bytes
        self._go()

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work()`` returns or raises, after all that was asked for before."""
        future: asyncio.Future[T] = self._loop.create_future()

        def then(result: T, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.do(work, then)
        return await future

    def _go(self) -> None:
        if self._under_way is not None or not self._waiting:
            return
        batch = [self._waiting.popleft() for _ in range(min(TOGETHER_MAX, len(self._waiting)))]
        ends: list[tuple[Any, Exception | None]] = []

        def work() -> None:
            for each, _, _ in batch:
                try:
                    ends.append((each(), None))
                except Exception as error:  # it belongs to whoever asked for this piece
                    ends.append((None, error))

        def ended(future: asyncio.Future[None]) -> None:
            self._under_way = None
            try:
                if not future.cancelled():
                    for (_, then, size_bytes), (result, error) in zip(batch, ends, strict=True):
                        self.waiting_bytes -= size_bytes
                        then(result, error)
            finally:
                self._go()

        self._under_way = self._loop.run_in_executor(None, work)
        self._under_way.add_done_callback(ended)

    async def close(self) -> None:
        """What waits is not done any more; what is under way is waited for."""
        self._waiting.clear()
        if self._under_way is not None:
            await asyncio.wait([self._under_way])
