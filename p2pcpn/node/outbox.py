"""The outbox of one session: what is to be said while the other end does not take more.

A session takes some megabytes ahead and is lost when it is given sixty-four. So what it does not welcome waits here, in
order: messages unencoded (their pages are the machines' own, not copies), blobs as iterators that read a part at a time
when there is room for it. A peer that takes nothing for a whole lease is hung up on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from p2pcpn import limits
from p2pcpn.net.session import UNREAD, Session
from p2pcpn.protocol.lines import message_bytes
from p2pcpn.wire import messages as m

STUCK_S = limits.LEASE_S


class Outbox:
    """See the module. ``drain`` is called when the session is writable again."""

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self.session = session
        self.held_bytes = 0  # of all that waits, what stands in memory and what does not
        self._message_bytes = 0
        self._loop = loop
        self._waiting: deque[tuple[m.Message | Iterator[m.Message], int]] = deque()
        self._watch: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def say(self, message: m.Message, *, urgent: bool = True) -> None:
        """Send ``message`` after all that was said before; see :meth:`Session.send` for ``urgent``."""
        if not self._waiting and self.session.writable:
            self.session.send(m.CODEC.encode(message), urgent=urgent)
        else:
            self._wait(message, message_bytes(message))

    def stream(self, messages: Iterator[m.Message], size_bytes: int) -> None:
        """Send what ``messages`` yields, each when there is room for it. ``size_bytes`` is what they carry together."""
        self._wait(messages, size_bytes)
        if self.session.writable:  # else nothing is taken, and the watch must not begin anew
            self.drain()

    def _wait(self, item: m.Message | Iterator[m.Message], size_bytes: int) -> None:
        if self.session.ended:
            return
        self._waiting.append((item, size_bytes))
        self.held_bytes += size_bytes
        if not isinstance(item, Iterator):
            self._message_bytes += size_bytes
        if self._message_bytes > limits.OUTBOX_BYTES_MAX or len(self._waiting) > limits.OUTBOX_ITEMS_MAX:
            self.session.abort(UNREAD)
            self.clear()
        elif self._watch is None and not self.session.writable:
            self._watch = self._loop.call_later(STUCK_S, self._stuck)

    def drain(self) -> None:
        """Send until the session takes no more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._waiting and self.session.writable:
            item, size_bytes = self._waiting[0]
            if isinstance(item, Iterator):
                part = next(item, None)
                if part is not None:
                    self.session.send(m.CODEC.encode(part))
                    continue
            else:
                self.session.send(m.CODEC.encode(item))
            if self._waiting:  # sending may have ended the session, and emptied us
                self._waiting.popleft()
                self.held_bytes -= size_bytes
                self._message_bytes -= 0 if isinstance(item, Iterator) else size_bytes
        if self._waiting and not self.session.ended:
            self._watch = self._loop.call_later(STUCK_S, self._stuck)

    def move_to(self, other: Outbox) -> None:
        """Say what waits over ``other`` instead."""
        waiting, self._waiting = self._waiting, deque()
        self.clear()
        for item, size_bytes in waiting:
            if isinstance(item, Iterator):
                other.stream(item, size_bytes)
            else:
                other.say(item)

    def clear(self) -> None:
        """The session has ended: nothing is said any more."""
        self._waiting.clear()
        self.held_bytes = self._message_bytes = 0
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _stuck(self) -> None:
        self._watch = None
        if not self.session.ended:
            self.session.abort(UNREAD)
        self.clear()
