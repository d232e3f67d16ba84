"""Questions: what the program asks of others, and the futures that its answers resolve.

Three kinds: operations of the DHT (by ticket), requests over sessions (by peer and number), and ``explain``, which many
peers answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from p2pcpn.errors import PeerError, Unreachable
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.events import Explained
from p2pcpn.wire import messages as m


@dataclass(slots=True)
class Request:
    """One question to one peer. ``come_bytes``, in ``heard`` parts, are what has come of a blob of ``blob_bytes_max``.

    They are collected in ``parts``, or handed to ``take``.
    """

    future: asyncio.Future[m.Message]
    blob_bytes_max: int = 0
    take: Callable[[m.BlobData], None] | None = None
    parts: bytearray = field(default_factory=bytearray)
    come_bytes: int = 0
    heard: int = 0


@dataclass(slots=True)
class Poll:
    """A question to many peers: done when ``asked`` of them have answered."""

    asked: int = 0
    answers: list[Explained] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def check(self) -> None:
        """Whether that was the last."""
        if len(self.answers) >= self.asked:
            self.done.set()


class Questions:
    """The open questions of one node."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._number = 0
        self._tickets: dict[int, asyncio.Future[Any]] = {}
        self._requests: dict[tuple[NodeId, int], Request] = {}
        self._polls: dict[int, Poll] = {}

    def __len__(self) -> int:
        return len(self._tickets) + len(self._requests) + len(self._polls)

    # --- operations of the DHT -------------------------------------------------------------------------------------

    async def operation(self, begin: Callable[[int], None]) -> Any:
        """Start an operation under a fresh ticket, and wait for its end."""
        self._number += 1
        ticket = self._number
        future = self._tickets[ticket] = self._loop.create_future()
        try:
            begin(ticket)
            return await future
        finally:
            self._tickets.pop(ticket, None)

    def ended(self, ticket: int, event: object) -> None:
        """The operation with this ticket has ended."""
        future = self._tickets.get(ticket)
        if future is not None and not future.done():
            future.set_result(event)

    # --- requests over sessions ------------------------------------------------------------------------------------

    async def request(
        self,
        peer: NodeId,
        number: int,
        ask: Callable[[], None],
        wait_s: float,
        blob_bytes_max: int = 0,
        take: Callable[[m.BlobData], None] | None = None,
    ) -> m.Message:
        """Ask, and wait for the answer: ``wait_s`` for it, or for each of its parts. Raises :class:`Unreachable`.

        ``blob_bytes_max`` bounds the blob that is asked for; no part of a larger one is taken. With ``take`` each part
        goes there, and the answer comes without them.
        """
        request = Request(self._loop.create_future(), blob_bytes_max, take)
        self._requests[peer, number] = request
        try:
            ask()
            heard = -1
            while not request.future.done():
                if heard == request.heard:
                    raise Unreachable(f"peer {peer.hex()[:8]} did not answer within {wait_s:g} s")
                heard = request.heard
                await asyncio.wait([request.future], timeout=wait_s)
            return request.future.result()
        finally:
            del self._requests[peer, number]

    def waits_for(self, peer: NodeId) -> bool:
        """Whether ``peer`` owes us an answer."""
        return any(node == peer for node, _ in self._requests)

    def answered(self, peer: NodeId, number: int, message: m.Message) -> bool:
        """Whether ``message`` answers a request of ours."""
        request = self._requests.get((peer, number))
        if request is None:
            return False
        if not request.future.done():
            request.future.set_result(message)
        return True

    def part(self, peer: NodeId, message: m.BlobData) -> None:
        """A part of a blob that was asked for. Raises :class:`PeerError` when it does not follow the one before."""
        request = self._requests.get((peer, message.request))
        if request is None or request.future.done():
            return
        fits = message.offset + len(message.data) <= message.size_bytes <= request.blob_bytes_max
        if request.come_bytes != message.offset or not fits:
            raise PeerError("a part of a blob does not follow the one before")
        if not message.data and message.size_bytes:
            raise PeerError("a part of a blob is empty")
        request.heard += 1
        request.come_bytes += len(message.data)
        if request.take is not None:
            request.take(message)
        else:
            request.parts += message.data
        if request.come_bytes == message.size_bytes:
            parts = memoryview(request.parts)
            request.future.set_result(m.BlobData(message.request, message.digest, message.size_bytes, 0, parts))

    def gone(self, peer: NodeId, why: str) -> None:
        """There is no session with that peer (any more): it will answer nothing."""
        for (node, _), request in list(self._requests.items()):
            if node == peer and not request.future.done():
                request.future.set_exception(Unreachable(f"peer {peer.hex()[:8]} is gone: {why}"))

    # --- many peers ------------------------------------------------------------------------------------------------

    async def poll(self, ask: Callable[[int], int], wait_s: float) -> list[Explained]:
        """Ask many (``ask(ticket)`` returns how many) and return what they said within ``wait_s``."""
        self._number += 1
        ticket = self._number
        poll = self._polls[ticket] = Poll(asked=1)
        try:
            poll.asked = ask(ticket)
            poll.check()
            async with asyncio.timeout(wait_s):
                await poll.done.wait()
        except TimeoutError:
            pass  # who is silent for so long says nothing
        finally:
            del self._polls[ticket]
        return poll.answers

    def explained(self, event: Explained) -> None:
        """A peer's words."""
        poll = self._polls.get(event.ticket)
        if poll is not None:
            poll.answers.append(event)
            poll.check()

    def close(self) -> None:
        """The node stops: nobody waits any longer."""
        for future in [*self._tickets.values(), *(request.future for request in self._requests.values())]:
            future.cancel()
        for poll in self._polls.values():
            poll.done.set()
