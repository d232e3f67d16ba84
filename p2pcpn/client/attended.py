"""A submission that somebody watches: results as lines of text made by the workers, never unpickled here.

It is what the command line shows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from p2pcpn.client.exceptions import words
from p2pcpn.client.futures import TaskFuture
from p2pcpn.client.submission import Submission
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import node_id
from p2pcpn.protocol import events
from p2pcpn.wire import pages
from p2pcpn.wire.sealing import unseal
from p2pcpn.wire.statements import BlobRef, Outcome

NOT_RENDERED: Final = "(not shown)"
REPLICATE_S: Final = 5.0
EXPLAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How one task ended: ``text`` is its result's rendering, or what went wrong; ``worker`` is a node id."""

    index: int
    ok: bool
    text: str
    traceback: str = ""
    worker: str = ""


def ending_of(index: int, outcome: int, value: bytes | None, rendering: str, worker: str) -> Ending:
    """The ending of a settled task. ``value`` is ``None`` where its bytes are not at hand. Nothing is unpickled."""
    if outcome == Outcome.OK:
        return Ending(index, True, rendering or NOT_RENDERED, worker=worker)
    if value is None:
        return Ending(index, False, rendering or "it raised an exception", worker=worker)
    try:
        if outcome == Outcome.DIED:
            death = pages.DEATH.decode(value)
            return Ending(index, False, pages.death_text(death.signal, death.exit_code), worker=worker)
        kind, text, traceback = words(value)
    except PeerError as error:
        return Ending(index, False, f"the peer's words on it cannot be read: {error}", worker=worker)
    return Ending(index, False, f"{kind}: {text}" if text else kind, traceback, worker)


class Attended(Submission):
    """A :class:`Submission` whose values stay bytes; it wants ``Options(render=True)``.

    ``on_progress`` is called with how many tasks have ended, how many of them badly, and how many run.
    """

    on_progress: Callable[[int, int, int], None] | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._ended: dict[int, Ending] = {}
        self._started: set[int] = set()
        self._bad = 0

    @property
    def endings(self) -> list[Ending]:
        """How the tasks ended that have, by index."""
        return [self._ended[index] for index in sorted(self._ended)]

    @property
    def workers(self) -> dict[str, int]:
        """How many results each peer brought, by node id."""
        return {worker.hex(): count for worker, count in sorted(self.by_peer.items())}

    async def unwanted(self, after_s: float) -> dict[str, int]:
        """Why no peer has begun with it ``after_s`` seconds from now: how many say what. Nothing when one has."""
        await asyncio.sleep(after_s)
        if self._ended or self._started:
            return {}
        found = Counter(each.text for each in await self.overlay.explain(self.job, EXPLAIN_S))
        return {} if self._ended or self._started else dict(sorted(found.items()))

    async def forsaken(self, after_s: float) -> None:
        """Return once no peer has had a session with us for ``after_s`` although tasks wait."""
        alone_s = 0.0
        while alone_s < after_s:
            await asyncio.sleep(after_s / 4)
            alone_s = alone_s + after_s / 4 if self.busy and not len(self.overlay.sessions) else 0.0

    async def finished(self, wait_s: float | None) -> bool:
        """No more tasks: wait until all have ended and are kept; false when ``wait_s`` did not suffice."""
        await self.close()
        try:
            async with asyncio.timeout(wait_s):
                await self._idle.wait()
                await self.replicated(REPLICATE_S)
        except TimeoutError:
            return self._idle.is_set()
        return True

    def _event(self, event: object) -> None:
        if isinstance(event, events.Started):
            self._started.update(index for index in event.indices if index not in self._ended)
            self._tell()
        super()._event(event)

    def _delivered(self, event: events.Delivered) -> None:
        self.by_peer[event.worker] = self.by_peer.get(event.worker, 0) + len(event.indices)
        worker, texts = event.worker.hex(), event.renderings
        for at, (index, outcome, value) in enumerate(zip(event.indices, event.outcomes, event.values, strict=True)):
            future = self._futures.pop(index, None)
            if not isinstance(future, TaskFuture):
                continue
            text = texts[at] if at < len(texts) else ""
            ending = ending_of(index, outcome, self._bytes(value), text, worker)
            self.progress.delivered += 1
            self.progress.failed += not ending.ok
            future.resolve(ending)
            self._end(ending)
        self._tell()
        self._check_idle()

    def _bytes(self, value: bytes | BlobRef) -> bytes | None:
        if isinstance(value, bytes):
            return value
        sealed = self.overlay.shelf.get(value.digest)
        return None if sealed is None else unseal(value.key, 0, sealed)

    def _fail(self, index: int, error: BaseException) -> None:
        if index in self._futures:
            self._end(Ending(index, False, str(error) or type(error).__name__))
            self._tell()
        super()._fail(index, error)

    def _end(self, ending: Ending) -> None:
        self._ended[ending.index] = ending
        self._started.discard(ending.index)
        self._bad += not ending.ok

    def _tell(self) -> None:
        if self.on_progress is not None:
            self.on_progress(len(self._ended), self._bad, len(self._started))


def node_text(key: bytes) -> str:
    """The node id, as text, of a worker that is named by its node key."""
    return node_id(key).hex()
