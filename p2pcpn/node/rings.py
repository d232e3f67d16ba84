"""Rings: the bytes of blobs go to a peer of the same machine through shared memory, and what is said of them as ever.

Who has a blob to send over a session of the loopback offers a ring, once; until it is accepted, and wherever it is not,
blobs travel within the session. Beside the session nothing travels but what a digest proves: :class:`PutBlob` and
:class:`BlobData` say where their bytes lie, and become what they would have been as soon as these are copied. See
:mod:`p2pcpn.net.beside` for the memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.net import beside
from p2pcpn.net.beside import Giving, Place, Taking
from p2pcpn.net.session import Session
from p2pcpn.wire import messages as m


class Rings:
    """The rings of one node, by session. ``room(session)`` is called when a ring that was full has room again."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, counters: Counter[str], room: Callable[[Session], None]
    ) -> None:
        self._loop = loop
        self._counters = counters
        self._room = room
        self._possible = beside.possible()
        self._giving: dict[Session, Giving | None] = {}  # none: it was tried, and is not to be
        self._taking: dict[Session, Place | Taking] = {}
        self._looks: dict[Session, asyncio.TimerHandle] = {}
        self._waits: dict[Session, asyncio.TimerHandle] = {}  # of places

    def to(self, session: Session) -> Giving | None:
        """The ring to put parts for the peer into, once it has accepted one. The first call offers it."""
        ring = self._giving.get(session)
        if ring is not None:
            return ring if ring.accepted else None
        if session in self._giving or not self._possible or session.ended:
            return None
        if not beside.near(session.remote.address):
            return None
        if sum(ring is not None for ring in self._giving.values()) >= limits.RINGS_MAX:
            return None
        try:
            self._giving[session] = Giving()
        except OSError:
            self._giving[session] = None
            return None
        self._look(session, 0)
        _say(session, m.OfferRing())
        return None

    def _look(self, session: Session, parts: int) -> None:
        self._looks[session] = self._loop.call_later(limits.RING_IDLE_S, self._look_again, session, parts)

    def _look_again(self, session: Session, parts: int) -> None:
        """A ring that nobody uses goes. One that nobody wanted is not offered again."""
        ring = self._giving[session]
        if ring is None:
            return
        if not ring.accepted:
            self._giving[session] = None
            ring.close()
        elif ring.parts == parts:  # what the taker has not copied yet stays in its own hold on the memory
            del self._giving[session], self._looks[session]
            ring.close()
            _say(session, m.RingGone())
            self._room(session)
        else:
            self._look(session, ring.parts)

    # --- what peers say ----------------------------------------------------------------------------------------------

    def take(self, session: Session, message: m.Message) -> bool:
        """Deal with ``message`` if it is of rings. Raises :class:`PeerError` for what does not fit."""
        match message:
            case m.OfferRing():
                self._offered(session)
            case m.RingPlace():
                ring = self._giving.get(session)
                if ring is not None and ring.hand(message.name, message.token):
                    _say(session, m.RingHanded())
            case m.RingHanded():
                self._handed(session)
            case m.RingTaken():
                ring = self._giving.get(session)
                if ring is not None and ring.handed:  # else of one that has gone
                    self._taken(session, ring, message.parts)
            case m.RingGone():
                self._let_go(session)
            case _:
                return False
        return True

    def _offered(self, session: Session) -> None:
        if session in self._taking:
            raise PeerError("a second ring is offered beside one session")
        if not self._possible or len(self._taking) >= limits.RINGS_MAX or not beside.near(session.remote.address):
            return
        try:
            place = Place()
        except OSError:
            return
        self._taking[session] = place
        self._waits[session] = self._loop.call_later(limits.RING_IDLE_S, self._let_go, session)
        _say(session, m.RingPlace(place.name, place.token))

    def _handed(self, session: Session) -> None:
        place = self._taking.get(session)
        if not isinstance(place, Place):
            return
        del self._taking[session]
        self._waits.pop(session).cancel()
        ring = place.take()
        if ring is None:
            self._counters["rings refused"] += 1
            return
        self._counters["rings taken"] += 1
        self._taking[session] = ring
        _say(session, m.RingTaken(0))

    def _taken(self, session: Session, ring: Giving, parts: int) -> None:
        if not ring.accepted:
            ring.accepted = True
            self._counters["rings given"] += 1
        ring.taken(parts)
        self._room(session)

    def landed(self, session: Session, message: m.PutBlob | m.BlobData) -> m.PutBlob | m.BlobData:
        """``message`` with the bytes that it says lie in the ring. Raises :class:`PeerError` where they do not."""
        ring = self._taking.get(session)
        if not isinstance(ring, Taking) or message.data:
            raise PeerError("a part of a blob is said to be in a ring that is not there")
        data = ring.read(message.ring_at, message.ring_bytes)
        self._counters["bytes beside"] += len(data)
        if ring.part_bytes >= limits.RING_TOLD_BYTES:
            _say(session, m.RingTaken(ring.parts))
            ring.parts = ring.part_bytes = 0
        return msgspec.structs.replace(message, data=memoryview(data), ring_at=0, ring_bytes=0)

    # --- ends --------------------------------------------------------------------------------------------------------

    def gone(self, session: Session) -> None:
        """The session has ended."""
        look = self._looks.pop(session, None)
        if look is not None:
            look.cancel()
        ring = self._giving.pop(session, None)
        if ring is not None:
            ring.close()
        self._let_go(session)

    def _let_go(self, session: Session) -> None:
        """What was taken, or is to be, goes: a place too to which nobody handed anything for a while."""
        wait = self._waits.pop(session, None)
        if wait is not None:
            wait.cancel()
        taking = self._taking.pop(session, None)
        if taking is not None:
            taking.close()

    def close(self) -> None:
        """The node stops."""
        for session in [*self._giving, *self._taking]:
            self.gone(session)

    def statistics(self) -> dict[str, int]:
        """Rings to give from and to take from, places included."""
        return {"giving": sum(ring is not None for ring in self._giving.values()), "taking": len(self._taking)}


def _say(session: Session, message: m.Message) -> None:
    session.send(m.CODEC.encode(message))
