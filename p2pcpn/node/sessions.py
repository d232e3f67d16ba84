"""Sessions: which one is *the* session with a peer, and what is said over it.

Two peers that dial each other at once get two sessions; both ends keep the same one. The other is left open for a
while, for what was already said over it.
"""

from __future__ import annotations

import asyncio
from enum import Enum

from p2pcpn.identity.keys import NodeId
from p2pcpn.net.session import Session
from p2pcpn.node.outbox import Outbox
from p2pcpn.node.rush import Rush

# A session that lost against its twin is left open this long for what was already said over it.
LINGER_S = 2.0
TWIN = "twin"


class News(Enum):
    """What a session that opened means for the machines."""

    NONE = 0  # they have a session with that peer, and keep it or its twin
    OPENED = 1
    REPLACED = 2  # the one they had is lost, and this one is there


class Sessions:
    """The session with each peer, and its outbox."""

    def __init__(self, me: NodeId, loop: asyncio.AbstractEventLoop, rush: Rush | None = None) -> None:
        self._me = me
        self._loop = loop
        self._rush = rush or Rush(loop)
        self._boxes: dict[NodeId, Outbox] = {}
        self._twins: dict[Session, asyncio.TimerHandle] = {}

    def __contains__(self, peer: object) -> bool:
        return peer in self._boxes

    def __len__(self) -> int:
        return len(self._boxes)

    def get(self, peer: NodeId) -> Session | None:
        """The session with ``peer``."""
        box = self._boxes.get(peer)
        return None if box is None else box.session

    def outbox(self, peer: NodeId) -> Outbox | None:
        """Where to put what is to be said to ``peer``; none when there is no session."""
        return self._boxes.get(peer)

    @property
    def held_bytes(self) -> int:
        """What waits for peers to take it."""
        return sum([box.held_bytes for box in self._boxes.values()])

    @property
    def later_bytes(self) -> int:
        """Copies that nobody waits for and that were not sent yet."""
        return sum([box.later_bytes for box in self._boxes.values()])

    def opened(self, session: Session) -> News:
        """A handshake is done, whoever dialled."""
        peer = session.remote.id
        box = self._boxes.get(peer)
        known = None if box is None or box.session.ended else box.session
        if known is not None and not self._replaces(session, known):
            self._linger(session)
            return News.NONE
        self._boxes[peer] = fresh = Outbox(session, self._loop, self._rush)
        if box is None:
            return News.OPENED
        if known is None:
            box.clear()
            return News.REPLACED
        self._linger(known)
        if known.remote.boot == session.remote.boot and known.dialed != session.dialed:
            box.move_to(fresh)  # dialled by both at once: the machines' line goes on over this one
            return News.NONE
        box.clear()
        return News.REPLACED

    def _replaces(self, new: Session, old: Session) -> bool:
        """Of two sessions with one peer both ends must keep the same: of a newer boot; else the one dialled by the
        lesser id; of two dialled by the same end the newer, for it would not have dialled again without need."""
        if new.remote.boot != old.remote.boot:
            return new.remote.boot > old.remote.boot
        if new.dialed == old.dialed:
            return True
        return new.dialed == (self._me < new.remote.id)

    def _linger(self, session: Session) -> None:
        """Read what was said over it, then close."""
        self._twins[session] = self._loop.call_later(LINGER_S, session.close, TWIN)

    def writable(self, session: Session) -> None:
        """Its peer takes more."""
        box = self._boxes.get(session.remote.id)
        if box is not None and box.session is session:
            box.drain()

    def closed(self, session: Session) -> bool:
        """It has ended; whether it was the session with its peer."""
        timer = self._twins.pop(session, None)
        if timer is not None:
            timer.cancel()
        box = self._boxes.get(session.remote.id)
        if box is None or box.session is not session:
            return False
        box.clear()
        del self._boxes[session.remote.id]
        return True

    def close(self) -> None:
        """The node stops."""
        for timer in self._twins.values():
            timer.cancel()
        for box in self._boxes.values():
            box.clear()
