"""Holding: what is the same for all that this peer holds for others: turns to pass it on, sweeps, and what to write.

What is held is passed on once an hour by about one of its holders: whoever is given it meanwhile skips its turn. Each
sort is a class of its own; a row of the store tells which by its key and owner.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from p2pcpn import limits
from p2pcpn.protocol.effects import Commit, Effect, Send, Write
from p2pcpn.protocol.items import Item
from p2pcpn.protocol.timetable import Timetable
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import StoreCode, Stored

T = TypeVar("T", bound=Hashable)

# What has expired is given to nobody; it leaves memory and disk within so long.
SWEEP_S = 600.0
# The group of what is neither from a peer nor counted against one: our own disk's, our own program's.
OURS: Hashable = "ours"

Row = tuple[bytes, bytes, int, float, bytes]  # key, owner, seq, expires_s, bytes: the columns of the store
Judged = tuple[int, int, tuple[Write, ...]]  # a StoreCode, the seq now held, what is to be written


def one_less(counts: dict[T, int], name: T) -> None:
    """Count down, and forget what is at nought."""
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


class Holding(ABC):
    """What this peer holds of one sort; ``storage`` off: it refuses everything."""

    def __init__(self, rng: random.Random, *, storage: bool = True) -> None:
        self.storage = storage
        self._rng = rng
        self._turns = Timetable()
        self._sweep_due_s: float | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __contains__(self, key: bytes) -> bool: ...

    @abstractmethod
    def held(self) -> list[bytes]:
        """The keys under which something is held."""

    @abstractmethod
    def item(self, key: bytes, wall: float) -> Item | None:
        """What is held under ``key`` and has not expired, to be passed on."""

    @abstractmethod
    def drop(self, key: bytes) -> tuple[Write, ...]:
        """Hold nothing under ``key`` any more; what is to be written for that."""

    @abstractmethod
    def _drop_expired(self, wall: float) -> tuple[Write, ...]: ...

    def turn(self, now: float, wall: float) -> Item | None:
        """An item whose turn to be passed on has come, or ``None``; its next turn is in about an hour."""
        while (key := self._turns.take(now)) is not None:
            item = self.item(key, wall)
            if item is not None:
                self.put_off(key, now)
                return item
        return None

    def put_off(self, key: bytes, now: float, times: float = 1.0) -> None:
        """``key`` was passed on: its next turn is in ``times`` hours or so, not the same at all of its holders."""
        self._turns.set(key, now + times * limits.REFRESH_S * self._rng.uniform(0.8, 1.2))

    def hasten(self, key: bytes, due_s: float) -> None:
        """``key`` has its turn at ``due_s``, if not before."""
        if key in self:
            self._turns.hasten(key, due_s)

    def deadline(self) -> float | None:
        """When something is to be passed on, or what has expired is to be dropped."""
        sweep_s = self._sweep_due_s
        turn_s = self._turns.deadline()
        if turn_s is None or sweep_s is None:
            return sweep_s if turn_s is None else turn_s
        return turn_s if turn_s < sweep_s else sweep_s

    def expire(self, now: float, wall: float) -> list[Effect]:
        """Drop what has expired, here and on the disk."""
        if self._sweep_due_s is None or now < self._sweep_due_s:
            return []
        writes = self._drop_expired(wall)
        self._sweep_due_s = now + SWEEP_S if len(self) else None
        return [Commit(writes)] if writes else []

    def _began(self, now: float) -> None:
        if self._sweep_due_s is None:
            self._sweep_due_s = now + SWEEP_S

    def _restored(self, key: bytes, now: float) -> None:
        self._began(now)
        # All at once would be a storm; spread over the hour it is what it would have been.
        self._turns.set(key, now + self._rng.uniform(0.0, limits.REFRESH_S))


class Expiring(Protocol):
    """Anything that ends at ``expires_s``, a second of the wall clock."""

    @property
    def expires_s(self) -> float: ...


H = TypeVar("H", bound=Expiring)


class KeyedHolding(Holding, Generic[H]):
    """The same where one thing is held under a key."""

    def __init__(self, rng: random.Random, *, storage: bool = True) -> None:
        super().__init__(rng, storage=storage)
        self._held: dict[bytes, H] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: bytes) -> bool:
        return key in self._held

    def held(self) -> list[bytes]:
        return list(self._held)

    def _live(self, key: bytes, wall: float) -> H | None:
        """What is held under ``key``, unless it has expired."""
        held = self._held.get(key)
        return held if held is not None and held.expires_s > wall else None

    def _drop_expired(self, wall: float) -> tuple[Write, ...]:
        gone = [key for key, held in self._held.items() if held.expires_s <= wall]
        return tuple(write for key in gone for write in self.drop(key))


def answer(sender: Contact, nonce: int, judged: Judged) -> list[Effect]:
    """``Stored(KEPT)`` is said after what is kept is durable, any refusal at once."""
    code, seq, writes = judged
    if not writes:
        return [Send(sender, Stored(nonce, code, seq))]
    kept = Send(sender, Stored(nonce, code, seq))
    return [Commit(writes, then=(kept,), otherwise=(Send(sender, Stored(nonce, StoreCode.REFUSED, 0)),))]
