"""What was asked and not answered yet: nonces, timeouts that follow the round trip, repeats with back-off.

A reply counts when it echoes a nonce and comes from the peer that was asked (from its address where its id was not
known). Each outcome is told once, as a :class:`~p2pcpn.protocol.effects.Heard` of :class:`Answered`, or of
:class:`Late` at each timeout before the last, then :class:`Failed`.

Lateness is told early, for others can be asked meanwhile, and failure late, for it is held against the peer: however
short its round trips are, a peer that was busy for half a second is not dead. A request that nobody waits for any
more (:meth:`Requests.abandon`) goes on to its verdict: otherwise whoever is asked beside others would never be found
to be dead, and be asked again by every lookup.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Heard, Send
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import (
    Ack,
    ClaimReply,
    ClaimRequest,
    Content,
    Explain,
    Explanation,
    Find,
    Get,
    GetContent,
    GetProviders,
    Nodes,
    Ping,
    PingRequest,
    Providers,
    Put,
    PutContent,
    PutProviders,
    Stored,
    Value,
)

Question = Find | Get | GetProviders | GetContent | Put | PutProviders | PutContent
Request = Ping | PingRequest | Question | ClaimRequest | Explain
Reply = Ack | Nodes | Value | Providers | Content | Stored | ClaimReply | Explanation
ANSWERS: Final[dict[type, type]] = {
    Ping: Ack,
    PingRequest: Ack,
    Find: Nodes,
    Get: Value,
    GetProviders: Providers,
    GetContent: Content,
    Put: Stored,
    PutProviders: Stored,
    PutContent: Stored,
    ClaimRequest: ClaimReply,
    Explain: Explanation,
}
# The id of a peer whose id is not known yet: a bootstrap of which only the address was given.
ANYBODY: Final = bytes(20)


@dataclass(frozen=True, slots=True)
class Answered:
    """``asked`` answered; ``peer`` is the same, its id known. ``rtt_s`` is ``None`` where the request was repeated."""

    purpose: object
    asked: Contact
    peer: Contact
    reply: Reply
    rtt_s: float | None


@dataclass(frozen=True, slots=True)
class Late:
    """``asked`` did not answer try number ``tries`` in time; it is asked again."""

    purpose: object
    asked: Contact
    tries: int


@dataclass(frozen=True, slots=True)
class Failed:
    """``asked`` answered none of the tries."""

    purpose: object
    asked: Contact


@dataclass(slots=True)
class _Outstanding:
    to: Contact
    request: Request
    purpose: object
    sent_s: float
    due_s: float
    timeout_s: float
    tries: int
    tries_max: int
    verdict_s: float  # it has not failed before


class Requests:
    """The outstanding requests of one machine, at most ``outstanding_max``; one more fails at once.

    A timeout that is noticed more than ``stall_s`` late says more of us than of the peer, which gets a little longer.
    """

    def __init__(
        self,
        roundtrips: RoundTrips,
        rng: random.Random,
        outstanding_max: int = limits.REQUESTS_MAX,
        stall_s: float = math.inf,
    ) -> None:
        self._roundtrips = roundtrips
        self._stall_s = stall_s
        self._rng = rng
        self._outstanding_max = outstanding_max
        self._outstanding: dict[int, _Outstanding] = {}
        self._due: list[tuple[float, int]] = []  # entries of requests answered meanwhile are skipped when met

    def __len__(self) -> int:
        return len(self._outstanding)

    def ask(
        self,
        to: Contact,
        make: Callable[[int], Request],
        purpose: object,
        now: float,
        *,
        tries: int = limits.REQUEST_TRIES,
        timeout_s: float | None = None,
    ) -> list[Effect]:
        """Send ``make(nonce)`` to ``to``, up to ``tries`` times; ``timeout_s`` replaces the measured first timeout
        (and it may fail as soon as that says)."""
        if len(self._outstanding) >= self._outstanding_max:
            return [Heard(Failed(purpose, to), to)]
        nonce = self._rng.getrandbits(63)
        while nonce in self._outstanding:
            nonce = self._rng.getrandbits(63)
        verdict_s = now if timeout_s is not None else now + limits.VERDICT_S_MIN
        timeout_s = self._roundtrips.timeout_s(to.id) if timeout_s is None else timeout_s
        request = make(nonce)
        self._outstanding[nonce] = _Outstanding(
            to, request, purpose, now, now + timeout_s, timeout_s, 1, tries, verdict_s
        )
        heapq.heappush(self._due, (now + timeout_s, nonce))
        return [Send(to, request)]

    def receive(self, sender: Contact, message: Reply, now: float) -> list[Effect]:
        """``[Heard(Answered)]`` when ``message`` answers a request to ``sender``; otherwise nothing, silently."""
        asked = self._outstanding.get(message.nonce)
        if asked is None or ANSWERS[type(asked.request)] is not type(message):
            return []
        if asked.to.id == ANYBODY:
            if (sender.host, sender.port) != (asked.to.host, asked.to.port):
                return []
        elif sender.id != asked.to.id:
            return []
        del self._outstanding[message.nonce]
        rtt_s = None
        if asked.tries == 1:
            rtt_s = now - asked.sent_s
            if not isinstance(asked.request, PingRequest):  # that one took the way through another peer
                self._roundtrips.observe(sender.id, rtt_s)
        return [Heard(Answered(asked.purpose, asked.to, sender, message, rtt_s), sender)]

    def deadline(self) -> float | None:
        """When the next request is late."""
        due = self._due
        while due:
            if self._is_live(due[0]):
                return due[0][0]
            heapq.heappop(due)
        return None

    def expire(self, now: float) -> list[Effect]:
        """Repeat or give up what is late."""
        effects: list[Effect] = []
        while (due_s := self.deadline()) is not None and due_s <= now:
            _, nonce = heapq.heappop(self._due)
            asked = self._outstanding[nonce]
            if now - due_s > self._stall_s:  # it was we who were late: the answer may lie in our socket
                asked.due_s = now + limits.RTO_FLOOR_S
                heapq.heappush(self._due, (asked.due_s, nonce))
                continue
            # A request relayed by a peer says nothing about that peer when it stays unanswered.
            if asked.to.id != ANYBODY and asked.tries == 1 and not isinstance(asked.request, PingRequest):
                self._roundtrips.unanswered(asked.to.id)
            if asked.tries >= asked.tries_max and now < asked.verdict_s:
                asked.due_s = asked.verdict_s
                heapq.heappush(self._due, (asked.due_s, nonce))
                continue
            if asked.tries >= asked.tries_max:
                del self._outstanding[nonce]
                effects.append(Heard(Failed(asked.purpose, asked.to), asked.to))
                continue
            asked.timeout_s = min(limits.RTO_CEILING_S, asked.timeout_s * 2)
            asked.due_s = now + asked.timeout_s
            heapq.heappush(self._due, (asked.due_s, nonce))
            effects += [Send(asked.to, asked.request), Heard(Late(asked.purpose, asked.to, asked.tries), asked.to)]
            asked.tries += 1
        return effects

    def purpose_of(self, nonce: int) -> object:
        """What the outstanding request of that nonce is for; ``None`` where there is none, or nobody waits for it."""
        asked = self._outstanding.get(nonce)
        return None if asked is None else asked.purpose

    def cancel(self, purpose: object) -> None:
        """Whatever was asked for ``purpose`` is not wanted any more; nothing more is told about it."""
        for nonce in [nonce for nonce, asked in self._outstanding.items() if asked.purpose == purpose]:
            del self._outstanding[nonce]

    def abandon(self, purpose: object) -> None:
        """Nobody waits for what was asked for ``purpose``: only its outcome is told, for the purpose ``None``."""
        for asked in self._outstanding.values():
            if asked.purpose == purpose:
                asked.purpose = None

    def _is_live(self, entry: tuple[float, int]) -> bool:
        asked = self._outstanding.get(entry[1])
        return asked is not None and asked.due_s == entry[0]
