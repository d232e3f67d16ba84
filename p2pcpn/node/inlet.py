"""The inlet: messages of all sessions are handed on in short turns, so that no peer holds up the others.

One read of a session may bring ten thousand messages, and each may cost a signature to check. What a turn does not get
to waits, its session is read no further until then, and sessions that wait take turns.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.net.session import BAD_MESSAGE, Session

# One session's turn: as long as a dozen signatures take.
TURN_S: Final = 0.002
# All turns between two looks at sockets and timers.
ROUND_S: Final = 0.01
# More than a session may hold: it is not read while it waits.
_WAITS_BYTES: Final = limits.SESSION_HELD_BYTES_MAX + 1


class Inlet:
    """``handle(session, message)`` takes one message; a ``PeerError`` from it ends the session."""

    def __init__(self, handle: Callable[[Session, bytes], None], loop: asyncio.AbstractEventLoop) -> None:
        self._handle = handle
        self._loop = loop
        self._waiting: OrderedDict[Session, deque[bytes]] = OrderedDict()
        self._due = False
        self._handled = 0
        self._dropped = 0

    def take(self, session: Session, messages: list[bytes]) -> None:
        """Messages came: handle what one turn allows now, unless others wait already."""
        queue = self._waiting.get(session)
        if queue is not None:
            queue.extend(messages)
            return
        queue = deque(messages)
        if not self._waiting:
            self._turn(session, queue)
        if queue:
            self._waiting[session] = queue
            session.hold(_WAITS_BYTES)
            self._arm()

    def statistics(self) -> dict[str, int]:
        """Messages handed on, dropped because their session ended first, and waiting now."""
        waiting = sum(len(queue) for queue in self._waiting.values())
        return {"handled": self._handled, "dropped": self._dropped, "waiting": waiting}

    def _turn(self, session: Session, queue: deque[bytes]) -> None:
        until = self._loop.time() + TURN_S
        while queue and not session.ended:
            self._handled += 1
            try:
                self._handle(session, queue.popleft())
            except PeerError:
                session.abort(BAD_MESSAGE)
            if self._loop.time() >= until:
                break
        if session.ended:
            self._dropped += len(queue)
            queue.clear()

    def _arm(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self._round)

    def _round(self) -> None:
        self._due = False
        until = self._loop.time() + ROUND_S
        for _ in range(len(self._waiting)):
            session, queue = next(iter(self._waiting.items()))
            self._turn(session, queue)
            if queue:
                self._waiting.move_to_end(session)
            else:
                del self._waiting[session]
                session.release(_WAITS_BYTES)
            if self._loop.time() >= until:
                break
        if self._waiting:
            self._arm()
