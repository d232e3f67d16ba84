"""Handing over: a peer that leaves gives each key it holds to one more peer, for a bounded time.

The others of a key's nearest hold it already, so one put a key restores the count before it has fallen. Who is late or
refuses is replaced by the next of the key's heirs. It ends when all is given, at the latest after
:data:`p2pcpn.limits.HANDOVER_S`, and at once when nobody answers for half a second: where a whole swarm stops nobody
is left to be given anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Notify
from p2pcpn.protocol.requests import Answered, Failed, Late, Request
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import StoreCode, Stored

# Called so much too late, we were busy, and nobody could be heard: naming the heirs of 100,000 keys takes 1.5 s.
LATE_S = 0.1


@dataclass(frozen=True, slots=True)
class HandedOver:
    """``given`` puts were taken; ``left`` were not, or not made."""

    given: int
    left: int


@dataclass(eq=False, slots=True)
class Handed:
    """One put, which is the purpose of its requests: who may take it, the best last."""

    make: Callable[[int], Request]
    heirs: list[Contact]
    under_way: bool = False


class HandingOver:
    """The puts of one peer that leaves; ``then`` follows at the end, and ``Notify(HandedOver)``."""

    def __init__(self, puts: list[Handed], then: tuple[Effect, ...], now: float) -> None:
        self._then = then
        self._waiting = deque(puts)
        self._under_way = 0
        self._given = 0
        self._lost = 0
        self._ends_s = now + limits.HANDOVER_S
        self._heard_s = now

    @property
    def done(self) -> list[Effect]:
        """What follows, once nothing is left to give."""
        return [] if self._waiting or self._under_way else self._end()

    def asks(self) -> list[tuple[Contact, Handed]]:
        """Who is to be put what now."""
        asks = []
        while self._waiting and self._under_way < limits.HANDOVER_PUTS_MAX:
            put = self._waiting.popleft()
            put.under_way = True
            self._under_way += 1
            asks.append((put.heirs.pop(), put))
        return asks

    def settled(self, put: Handed, outcome: Answered | Late | Failed | None, now: float) -> None:
        """``put`` was answered, or was not; ``None``: it could not be asked."""
        if not put.under_way:
            return  # somebody was late, and another was asked
        put.under_way = False
        self._under_way -= 1
        if isinstance(outcome, Answered):
            self._heard_s = now
            if isinstance(outcome.reply, Stored) and outcome.reply.code not in (StoreCode.REFUSED, StoreCode.FULL):
                self._given += 1
                return
        if put.heirs:
            self._waiting.append(put)
        else:
            self._lost += 1

    def deadline(self) -> float:
        """When nobody waits any longer."""
        return min(self._ends_s, self._heard_s + limits.HANDOVER_SILENT_S)

    def expire(self, now: float) -> list[Effect]:
        """What follows, when its time is over."""
        if now < self.deadline():
            return []
        if now < self._ends_s and now - self.deadline() > LATE_S:
            self._heard_s = now
            return []
        return self._end()

    def _end(self) -> list[Effect]:
        left = self._lost + len(self._waiting) + self._under_way
        return [*self._then, Notify(HandedOver(self._given, left))]
