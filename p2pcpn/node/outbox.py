"""The outbox of one session: what is to be said while the other end does not take more.

A session takes some megabytes ahead and is lost when it is given sixty-four. So what it does not welcome waits here, in
order: messages unencoded (their pages are the machines' own, not copies), blobs as iterators that read a part at a time
when there is room for it. An iterator that yields none has room of its own to wait for (a ring's): all stops until the
next ``drain``. A peer that takes nothing for a whole lease is hung up on.

Beside this there is a second line, of copies that nobody waits for: they let the first go ahead, here and at the other
sessions of the node (``rush``), but not for ever.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.net.session import UNREAD, Session
from p2pcpn.node.rush import Rush
from p2pcpn.protocol.lines import message_bytes
from p2pcpn.wire import messages as m

STUCK_S = limits.LEASE_S

# What is to be said of a blob, each when there is room for it; none where there is none beside the session.
Parts = Iterator[m.Message | None]


@dataclass(slots=True)
class _Later:
    """Copies of one blob: each time that it is to be said, and how many bytes that is."""

    since: float
    said: list[tuple[Parts, int]] = field(default_factory=list)


class Outbox:
    """See the module. ``drain`` is called when the session is writable again."""

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop, rush: Rush | None = None) -> None:
        self.session = session
        self.held_bytes = 0  # of all that waits in the first line, what stands in memory and what does not
        self.later_bytes = 0  # of the second
        self._message_bytes = 0
        self._loop = loop
        self._rush = rush or Rush(loop)
        self._waiting: deque[tuple[m.Message | Parts, int]] = deque()
        self._later: OrderedDict[bytes, _Later] = OrderedDict()
        self._copies = 0  # to be said, in the second line
        self._full = False  # the ring beside the session
        self._counted = False  # as one that waits, by the rush
        self._turn = False  # of the second line, where it is overdue: they take turns
        self._watch: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How much waits in the first line."""
        return len(self._waiting)

    def say(self, message: m.Message, *, urgent: bool = True) -> None:
        """Send ``message`` after all that was said before; see :meth:`Session.send` for ``urgent``."""
        if not self._waiting and self.session.writable:
            self.session.send(m.CODEC.encode(message), urgent=urgent)
        else:
            self._wait(message, message_bytes(message))

    def stream(self, messages: Parts, size_bytes: int) -> None:
        """Send what ``messages`` yields, each when there is room for it. ``size_bytes`` is what they carry together."""
        self._wait(messages, size_bytes)
        if self._writable:  # else nothing is taken, and the watch must not begin anew
            self.drain()

    def later(self, name: bytes, messages: Parts, size_bytes: int) -> None:
        """Send what ``messages`` yields of the blob ``name`` when nobody waits for anything, or after a while."""
        if self.session.ended:
            return
        copies = self._later.setdefault(name, _Later(self._rush.now))
        copies.said.append((messages, size_bytes))
        self._copies += 1
        self.later_bytes += size_bytes
        if self._copies > limits.OUTBOX_ITEMS_MAX:
            self.session.abort(UNREAD)
            self.clear()
            return
        if self._writable:
            if self._look is None or self._crowded:
                self.drain()
        elif self._watch is None:
            self._watch = self._loop.call_later(STUCK_S, self._stuck)

    def hurry(self, name: bytes) -> None:
        """What is left to be said of the blob ``name`` is needed now."""
        copies = self._later.pop(name, None)
        for messages, size_bytes in [] if copies is None else copies.said:
            self._copies -= 1
            self.later_bytes -= size_bytes
            self.stream(messages, size_bytes)

    @property
    def _crowded(self) -> bool:
        return self._copies > limits.LATER_ITEMS_MAX or self.later_bytes > limits.LATER_BYTES_MAX

    def _wait(self, item: m.Message | Parts, size_bytes: int) -> None:
        if self.session.ended:
            return
        self._waiting.append((item, size_bytes))
        self.held_bytes += size_bytes
        if not isinstance(item, Iterator):
            self._message_bytes += size_bytes
        if self._message_bytes > limits.OUTBOX_BYTES_MAX or len(self._waiting) > limits.OUTBOX_ITEMS_MAX:
            self.session.abort(UNREAD)
            self.clear()
        elif self._watch is None and not self._writable:
            self._watch = self._loop.call_later(STUCK_S, self._stuck)
        self._count()

    def _count(self) -> None:
        """Somebody waits for what stands in the first line, however long that takes."""
        if self._counted != bool(self._waiting):
            self._counted = not self._counted
            self._rush.waiting += 1 if self._counted else -1

    @property
    def _writable(self) -> bool:
        """Whether what waits may go."""
        return self.session.writable and not self._full

    def drain(self) -> None:
        """Send until the session takes no more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._full = False
        while self._writable and (self._waiting or self._later):
            if self._waiting and not (self._turn and self._overdue):
                self._send_next()
                self._turn = True
            elif self._later and (self._overdue or self._crowded or self._rush.lets(self._oldest)):
                self._send_copy()
                self._turn = False
            else:
                break
            self._count()
        if self.session.ended:
            return
        if (self._waiting or self._later) and not self._writable:
            self._watch = self._loop.call_later(STUCK_S, self._stuck)
        elif self._later and self._look is None:
            self._look = self._loop.call_later(limits.QUIET_S, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        if not self._full:
            self.drain()

    @property
    def _oldest(self) -> float:
        return next(iter(self._later.values())).since if self._later else float("inf")

    @property
    def _overdue(self) -> bool:
        return bool(self._later) and self._rush.overdue(self._oldest)

    def _send_next(self) -> None:
        """The next message of the first line."""
        item, size_bytes = self._waiting[0]
        if isinstance(item, Iterator):
            for part in item:
                self._rush.note()
                self._send_part(part)
                return
        else:
            self.session.send(m.CODEC.encode(item))
        if self._waiting:  # sending may have ended the session, and emptied us
            self._waiting.popleft()
            self.held_bytes -= size_bytes
            self._message_bytes -= 0 if isinstance(item, Iterator) else size_bytes

    def _send_copy(self) -> None:
        """The next part of the second line."""
        name, copies = next(iter(self._later.items()))
        messages, size_bytes = copies.said[0]
        for part in messages:
            self._send_part(part)
            return
        del copies.said[0]
        self._copies -= 1
        self.later_bytes -= size_bytes
        if not copies.said:
            del self._later[name]

    def _send_part(self, part: m.Message | None) -> None:
        if part is None:
            self._full = True
        else:
            self.session.send(m.CODEC.encode(part))

    def move_to(self, other: Outbox) -> None:
        """Say what waits over ``other`` instead."""
        waiting, self._waiting = self._waiting, deque()
        later, self._later = self._later, OrderedDict()
        self.clear()
        for item, size_bytes in waiting:
            if isinstance(item, Iterator):
                other.stream(item, size_bytes)
            else:
                other.say(item)
        for name, copies in later.items():
            for messages, size_bytes in copies.said:
                other.later(name, messages, size_bytes)

    def clear(self) -> None:
        """The session has ended: nothing is said any more."""
        self._waiting.clear()
        self._later.clear()
        self._count()
        self.held_bytes = self.later_bytes = self._message_bytes = self._copies = 0
        for timer in (self._watch, self._look):
            if timer is not None:
                timer.cancel()
        self._watch = self._look = None

    def _stuck(self) -> None:
        self._watch = None
        if not self.session.ended:
            self.session.abort(UNREAD)
        self.clear()
