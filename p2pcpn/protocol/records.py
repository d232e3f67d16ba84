"""Records: signed, versioned items that anyone may keep and republish, but only their owner may change (BEP 44).

A record's key is BLAKE2b-160(owner's key, salt). Its version is ``seq``; of two versions the higher wins, and of two
values under one ``seq`` the one held first. A signature is checked when a record is stored and again when it is
read. A record lives until the end of the retention its owner signed: holders pass it on every hour, and a holder to
which it was passed on meanwhile skips its turn, so that of eight holders about one speaks in each hour.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NODE_ID_BYTES
from p2pcpn.protocol.effects import Commit, Effect, Send, Write
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Put, StoreCode, Stored
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import Record, Signed, opened, read

T = TypeVar("T", bound=Hashable)

SWEEP_S = 60.0
# The group of what is neither from a peer nor counted against one: our own disk's, our own program's.
OURS: Hashable = "ours"

Row = tuple[bytes, bytes, int, float, bytes]  # key, owner, seq, expires_s, packed Signed: the columns of the store


def record_key(owner: bytes, salt: bytes) -> bytes:
    """The 20-byte key under which ``owner``'s record with ``salt`` is found."""
    return blake2b(owner + salt, digest_size=NODE_ID_BYTES).digest()


def check(signed: Signed, wall: float) -> Record:
    """The record within, valid at ``wall`` (seconds since 1970). Raises :class:`PeerError`.

    Refused: a wrong signature; a creation time beyond the clock tolerance ahead; a retention above the bound; expiry.
    """
    record = _timely(read(signed, Record), wall)
    opened(signed, Record)  # last, because it costs a hundred times the rest
    return record


def _timely(record: Record, wall: float) -> Record:
    if record.created_s > wall + limits.CLOCK_TOLERANCE_S:
        raise PeerError("that record comes from the future")
    if record.retention_s > limits.RECORD_RETENTION_S_MAX:
        raise PeerError("that record wants to be kept for too long")
    if expires_s(record) <= wall:
        raise PeerError("that record has expired")
    return record


def expires_s(record: Record) -> float:
    """The wall-clock second at which ``record`` ends."""
    return record.created_s + record.retention_s


def _one_less(counts: dict[T, int], name: T) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


class Timetable:
    """Keys and when each is due; a key is due once."""

    def __init__(self) -> None:
        self._due_s: dict[bytes, float] = {}
        self._order: list[tuple[float, bytes]] = []

    def set(self, key: bytes, due_s: float) -> None:
        """``key`` is due at ``due_s`` and at no other time."""
        self._due_s[key] = due_s
        heapq.heappush(self._order, (due_s, key))
        if len(self._order) > 64 + 4 * len(self._due_s):  # mostly entries that were put off
            self._order = sorted((due_s, key) for key, due_s in self._due_s.items())

    def drop(self, key: bytes) -> None:
        """``key`` is never due."""
        self._due_s.pop(key, None)

    def deadline(self) -> float | None:
        """When the next key is due."""
        while self._order and self._due_s.get(self._order[0][1]) != self._order[0][0]:
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

    def take(self, now: float) -> bytes | None:
        """The next key that is due, or ``None``."""
        due_s = self.deadline()
        if due_s is None or due_s > now:
            return None
        key = heapq.heappop(self._order)[1]
        del self._due_s[key]
        return key


@dataclass(slots=True)
class _Held:
    signed: Signed
    seq: int
    expires_s: float
    group: Hashable


class Records:
    """What this peer holds for others, at most ``limits.RECORDS_MAX``; ``storage`` off: it refuses everything.

    Quotas: a share for each owner and for each network group from which new keys came.
    """

    def __init__(self, rng: random.Random, *, storage: bool = True) -> None:
        self.storage = storage
        self._rng = rng
        self._held: dict[bytes, _Held] = {}
        self._owners: dict[bytes, int] = {}
        self._groups: dict[Hashable, int] = {}
        self._republish = Timetable()
        self._sweep_due_s: float | None = None

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: bytes) -> bool:
        return key in self._held

    def get(self, key: bytes, wall: float) -> Signed | None:
        """The record under ``key``, if it is held and has not expired."""
        held = self._held.get(key)
        return held.signed if held is not None and held.expires_s > wall else None

    def put(self, sender: Contact, group: Hashable, message: Put, now: float, wall: float) -> list[Effect]:
        """Answer ``message``: ``Stored(KEPT)`` is said after the record is durable, any refusal at once."""
        code, seq, writes = self.keep(message.record, message.cas, group, now, wall)
        if not writes:
            return [Send(sender, Stored(message.nonce, code, seq))]
        return [
            Commit(
                writes,
                then=(Send(sender, Stored(message.nonce, code, seq)),),
                otherwise=(Send(sender, Stored(message.nonce, StoreCode.REFUSED, 0)),),
            )
        ]

    def keep(
        self, signed: Signed, cas: int | None, group: Hashable, now: float, wall: float
    ) -> tuple[int, int, tuple[Write, ...]]:
        """Judge ``signed`` and hold it. Returns the :class:`StoreCode`, the ``seq`` now held, and what to write.

        A record that is held already is kept again and written again: whoever repeats a put must not be told that it is
        durable before it is. It is the only case in which a wrong ``cas`` is forgiven: the first put had replaced it.
        """
        if not self.storage:
            return StoreCode.REFUSED, 0, ()
        try:
            record = _timely(read(signed, Record), wall)
        except PeerError:
            return StoreCode.REFUSED, 0, ()
        key = record_key(signed.key, record.salt)
        held = self._held.get(key)
        same = held is not None and held.signed.body == signed.body
        held_seq = held.seq if held is not None else 0
        if not same:
            if cas is not None and cas != held_seq:
                return StoreCode.CAS, held_seq, ()
            if held is not None and record.seq <= held_seq:
                return StoreCode.OLDER, held_seq, ()
            if held is None and self._is_full(signed.key, group):
                return StoreCode.FULL, 0, ()
            try:
                opened(signed, Record)
            except PeerError:
                return StoreCode.REFUSED, held_seq, ()
            self._hold(key, signed, record, group, now)
        self._put_off(key, now)
        return StoreCode.KEPT, record.seq, (self._row(key),)

    def restore(self, rows: Iterable[Row], now: float, wall: float) -> int:
        """Hold again what this peer's disk held; rows that are expired or damaged are left out. Returns how many came.

        Signatures were checked before they were written and are checked again by whoever reads.
        """
        before = len(self._held)
        for key, _, _, _, packed in rows:
            try:
                signed = SIGNED.decode(packed)
                record = _timely(read(signed, Record), wall)
            except PeerError:
                continue
            fresh = key not in self._held and len(self._held) < limits.RECORDS_MAX
            if fresh and record_key(signed.key, record.salt) == key:
                self._hold(key, signed, record, OURS, now)
                # All at once would be a storm; spread over the hour it is what it would have been.
                self._republish.set(key, now + self._rng.uniform(0.0, limits.REFRESH_S))
        return len(self._held) - before

    def republish(self, now: float, wall: float) -> Signed | None:
        """A record whose turn to be passed on has come, or ``None``; its next turn is in about an hour."""
        while (key := self._republish.take(now)) is not None:
            signed = self.get(key, wall)
            if signed is not None:
                self._put_off(key, now)
                return signed
        return None

    def rest(self, key: bytes, now: float) -> None:
        """Others, nearer to ``key``, hold it: pass it on eight times more rarely."""
        if key in self._held:
            self._put_off(key, now, 8.0)

    def deadline(self) -> float | None:
        """When a record is to be passed on, or expired ones are to be dropped."""
        times = [due_s for due_s in (self._republish.deadline(), self._sweep_due_s) if due_s is not None]
        return min(times) if times else None

    def expire(self, now: float, wall: float) -> list[Effect]:
        """Drop what has expired, here and on the disk."""
        if self._sweep_due_s is None or now < self._sweep_due_s:
            return []
        gone = [key for key, held in self._held.items() if held.expires_s <= wall]
        for key in gone:
            self._drop(key)
        self._sweep_due_s = now + SWEEP_S if self._held else None
        return [Commit(tuple(Write("records", (key,), None) for key in gone))] if gone else []

    def statistics(self) -> dict[str, int]:
        """How many records are held, of how many owners."""
        return {"records": len(self._held), "owners": len(self._owners)}

    def _is_full(self, owner: bytes, group: Hashable) -> bool:
        return (
            len(self._held) >= limits.RECORDS_MAX
            or self._owners.get(owner, 0) >= limits.RECORDS_PER_OWNER_MAX
            or (group != OURS and self._groups.get(group, 0) >= limits.RECORDS_PER_GROUP_MAX)
        )

    def _hold(self, key: bytes, signed: Signed, record: Record, group: Hashable, now: float) -> None:
        held = self._held.get(key)
        if held is None:
            self._owners[signed.key] = self._owners.get(signed.key, 0) + 1
            self._groups[group] = self._groups.get(group, 0) + 1
        else:
            group = held.group
        self._held[key] = _Held(signed, record.seq, expires_s(record), group)
        if self._sweep_due_s is None:
            self._sweep_due_s = now + SWEEP_S

    def _drop(self, key: bytes) -> None:
        held = self._held.pop(key)
        self._republish.drop(key)
        _one_less(self._owners, held.signed.key)
        _one_less(self._groups, held.group)

    def _put_off(self, key: bytes, now: float, times: float = 1.0) -> None:
        self._republish.set(key, now + times * limits.REFRESH_S * self._rng.uniform(0.8, 1.2))

    def _row(self, key: bytes) -> Write:
        held = self._held[key]
        return Write("records", (key,), (held.signed.key, held.seq, held.expires_s, SIGNED.encode(held.signed)))
