"""Records: signed, versioned items that anyone may keep and republish, but only their owner may change (BEP 44).

A record's key is BLAKE2b-160(owner's key, salt). Its version is ``seq``; of two versions the higher wins, and of two
values under one ``seq`` the one held first. A signature is checked when a record is stored and again when it is
read. A record lives until the end of the retention its owner signed: holders pass it on every hour, and a holder to
which it was passed on meanwhile skips its turn, so that of eight holders about one speaks in each hour.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from p2pcpn import limits
from p2pcpn.errors import PeerError, UsageError
from p2pcpn.protocol.effects import Effect, Write
from p2pcpn.protocol.holding import OURS, Judged, KeyedHolding, Row, answer, one_less
from p2pcpn.protocol.items import RecordItem, expires_s, record_key, timely
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Put, StoreCode
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import Record, Signed, opened, read

T = TypeVar("T")


def ours(checked: Callable[[Signed, float], T], signed: Signed, wall: float) -> T:
    """What ``checked`` makes of a record of our own program. Raises :class:`UsageError` where no peer would keep it."""
    try:
        return checked(signed, wall)
    except PeerError as error:
        raise UsageError(f"no peer would keep this record: {error}") from error


def check(signed: Signed, wall: float) -> Record:
    """The record within, valid at ``wall`` (seconds since 1970). Raises :class:`PeerError`.

    Refused: a wrong signature; a creation time beyond the clock tolerance ahead; a retention above the bound; expiry.
    """
    record = read(signed, Record)
    timely(record, wall)
    opened(signed, Record)  # last, because it costs a hundred times the rest
    return record


@dataclass(slots=True)
class _Held:
    signed: Signed
    seq: int
    expires_s: float
    group: Hashable


class Records(KeyedHolding[_Held]):
    """The records this peer holds for others, at most ``limits.RECORDS_MAX``.

    Quotas: a share for each owner and for each network group from which new keys came.
    """

    def __init__(self, rng: random.Random, *, storage: bool = True) -> None:
        super().__init__(rng, storage=storage)
        self._owners: dict[bytes, int] = {}
        self._groups: dict[Hashable, int] = {}

    def get(self, key: bytes, wall: float) -> Signed | None:
        """The record under ``key``, if it is held and has not expired."""
        held = self._live(key, wall)
        return held.signed if held is not None else None

    def item(self, key: bytes, wall: float) -> RecordItem | None:
        signed = self.get(key, wall)
        return RecordItem(signed) if signed is not None else None

    def put(self, sender: Contact, group: Hashable, message: Put, now: float, wall: float) -> list[Effect]:
        """Answer ``message``: ``Stored(KEPT)`` is said after the record is durable, any refusal at once."""
        return answer(sender, message.nonce, self.keep(message.record, message.cas, group, now, wall))

    def keep(self, signed: Signed, cas: int | None, group: Hashable, now: float, wall: float) -> Judged:
        """Judge ``signed`` and hold it. Returns the :class:`StoreCode`, the ``seq`` now held, and what to write.

        A record that is held already is kept again and written again: whoever repeats a put must not be told that it is
        durable before it is. It is the only case in which a wrong ``cas`` is forgiven: the first put had replaced it.
        """
        if not self.storage:
            return StoreCode.REFUSED, 0, ()
        try:
            record = read(signed, Record)
            timely(record, wall)
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
        self.put_off(key, now)
        return StoreCode.KEPT, record.seq, (self._row(key),)

    def restore(self, rows: Iterable[Row], now: float, wall: float) -> int:
        """Hold again what this peer's disk held; rows that are expired or damaged are left out. Returns how many came.

        Signatures were checked before they were written and are checked again by whoever reads.
        """
        before = len(self._held)
        for key, _, _, _, packed in rows:
            try:
                signed = SIGNED.decode(packed)
                record = read(signed, Record)
                timely(record, wall)
            except PeerError:
                continue
            fresh = key not in self._held and len(self._held) < limits.RECORDS_MAX
            if fresh and record_key(signed.key, record.salt) == key:
                self._hold(key, signed, record, OURS, now)
                self._restored(key, now)
        return len(self._held) - before

    def drop(self, key: bytes) -> tuple[Write, ...]:
        held = self._held.pop(key)
        self._turns.drop(key)
        one_less(self._owners, held.signed.key)
        one_less(self._groups, held.group)
        return (Write("records", (key,), None),)

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
        self._began(now)

    def _row(self, key: bytes) -> Write:
        held = self._held[key]
        return Write("records", (key,), (held.signed.key, held.seq, held.expires_s, SIGNED.encode(held.signed)))
