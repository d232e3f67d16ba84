"""Providers: who provides what a key stands for, as this peer holds it for others: many owners share each key.

One entry a peer, signed by its node key; of two the higher ``seq`` is kept. A key has 64 places. Where they are taken,
the network group that has most of them gives one up, its oldest, to a newcomer of a group that has at least two fewer:
whoever floods a key crowds out itself and nobody of another network. An entry that its own provider brought counts for
the network it came from. One that somebody else brought (a holder hands over what it holds) proves no address; it
counts for whoever brought it, and makes room for any that a provider brings itself.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import node_id
from p2pcpn.protocol.effects import Effect, Write
from p2pcpn.protocol.holding import OURS, Holding, Judged, Row, answer, one_less
from p2pcpn.protocol.items import ProvidersItem, expires_s, page, timely
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import PutProviders, StoreCode
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import ProviderRecord, Signed, opened, read

# How bad each answer is: of several entries put together the worst is told.
_WORST = (StoreCode.KEPT, StoreCode.OLDER, StoreCode.FULL, StoreCode.REFUSED)


def read_provider(signed: Signed, wall: float) -> ProviderRecord:
    """The provider record within, valid at ``wall`` but for its signature. Raises :class:`PeerError`."""
    if len(signed.body) > limits.PROVIDER_BODY_BYTES_MAX:
        raise PeerError("a provider record has more bytes than leave room for others")
    record = read(signed, ProviderRecord)
    timely(record, wall)
    if node_id(signed.key) != record.contact.id:
        raise PeerError("a provider record names another peer than the one that signed it")
    return record


def check_provider(signed: Signed, wall: float) -> ProviderRecord:
    """The provider record within, valid at ``wall``. Raises :class:`PeerError`."""
    record = read_provider(signed, wall)
    opened(signed, ProviderRecord)  # last, because it costs a hundred times the rest
    return record


@dataclass(slots=True)
class _Entry:
    signed: Signed
    seq: int
    created_s: float
    expires_s: float
    group: Hashable
    first_hand: bool  # its provider brought it


class Providers(Holding):
    """The provider records this peer holds for others, at most ``limits.PROVIDERS_MAX``. ``len`` counts entries."""

    def __init__(self, rng: random.Random, *, storage: bool = True) -> None:
        super().__init__(rng, storage=storage)
        self._held: dict[bytes, dict[bytes, _Entry]] = {}  # by key, then by the key of who signed
        self._count = 0
        self._owners: dict[bytes, int] = {}
        self._groups: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: bytes) -> bool:
        return key in self._held

    def held(self) -> list[bytes]:
        return list(self._held)

    def get(self, key: bytes, skip: int, room_bytes: int, wall: float) -> tuple[list[Signed], int]:
        """A page of the entries under ``key`` after the first ``skip``, and how many come behind it.

        The newest of each network group come first, then the second newest of each: a reader that wants a few hears of
        as many networks as there are.
        """
        live = [entry for entry in self._held.get(key, {}).values() if entry.expires_s > wall]
        live.sort(key=lambda entry: (not entry.first_hand, -entry.created_s, entry.signed.key))
        ranks: dict[tuple[bool, Hashable], int] = {}
        order: list[tuple[bool, int, int]] = []
        for number, entry in enumerate(live):
            of = (entry.first_hand, entry.group)
            order.append((not entry.first_hand, ranks.get(of, 0), number))
            ranks[of] = ranks.get(of, 0) + 1
        left = [live[number].signed for _, _, number in sorted(order)][skip:]
        count = page(left, room_bytes)
        return left[:count], len(left) - count

    def item(self, key: bytes, wall: float) -> ProvidersItem | None:
        live = tuple(entry.signed for entry in self._held.get(key, {}).values() if entry.expires_s > wall)
        return ProvidersItem(key, live) if live else None

    def put(self, sender: Contact, group: Hashable, message: PutProviders, now: float, wall: float) -> list[Effect]:
        """Answer ``message``: ``Stored(KEPT)`` is said when all its entries are kept and durable."""
        return answer(sender, message.nonce, self.keep(message.entries, sender.id, group, now, wall))

    def keep(self, entries: Sequence[Signed], sender: bytes, group: Hashable, now: float, wall: float) -> Judged:
        """Judge ``entries``, brought by the peer ``sender``, and hold what is right: the worst answer among them, the
        highest ``seq`` now held of their owners, and what to write."""
        worst, highest = StoreCode.KEPT, 0
        writes: list[Write] = []
        for signed in entries:
            code, seq, written = self._keep(signed, sender, group, now, wall)
            worst, highest = max(worst, code, key=_WORST.index), max(highest, seq)
            writes += written
        return worst, highest, tuple(writes)

    def _keep(self, signed: Signed, sender: bytes, group: Hashable, now: float, wall: float) -> Judged:
        if not self.storage:
            return StoreCode.REFUSED, 0, ()
        try:
            record = read_provider(signed, wall)
        except PeerError:
            return StoreCode.REFUSED, 0, ()
        first_hand = group == OURS or sender == record.contact.id
        held = self._held.get(record.key, {}).get(signed.key)
        if held is not None:
            if record.seq < held.seq or (record.seq == held.seq and signed.body != held.signed.body):
                return StoreCode.OLDER, held.seq, ()
            first_hand = first_hand or held.first_hand
            if held.first_hand or not first_hand:
                group = held.group
        moves = held is None or (held.first_hand, held.group) != (first_hand, group)
        gone: bytes | None = None
        if moves:
            try:
                gone = self._room(record.key, signed.key, first_hand, group, fresh=held is None)
            except PeerError:
                return StoreCode.FULL, held.seq if held is not None else 0, ()
        if held is None or held.signed.body != signed.body:
            try:
                opened(signed, ProviderRecord)
            except PeerError:
                return StoreCode.REFUSED, held.seq if held is not None else 0, ()
        writes: list[Write] = []
        if gone is not None:
            writes.append(self._remove(record.key, gone))
        entry = _Entry(signed, record.seq, record.created_s, expires_s(record), group, first_hand)
        self._hold(record.key, entry, now)
        self.put_off(record.key, now)
        return StoreCode.KEPT, record.seq, (*writes, self._row(record.key, entry))

    def restore(self, rows: Iterable[Row], now: float, wall: float) -> int:
        """Hold again what this peer's disk held, until its providers say it anew. Returns how many entries came."""
        before = self._count
        for name, _, _, _, packed in rows:
            try:
                signed = SIGNED.decode(packed)
                record = read_provider(signed, wall)
            except PeerError:
                continue
            under = self._held.get(record.key, {})
            fits = len(under) < limits.PROVIDERS_PER_KEY_MAX and self._count < limits.PROVIDERS_MAX
            if fits and signed.key not in under and name == record.key + record.contact.id:
                entry = _Entry(signed, record.seq, record.created_s, expires_s(record), OURS, False)
                self._hold(record.key, entry, now)
                self._restored(record.key, now)
        return self._count - before

    def drop(self, key: bytes) -> tuple[Write, ...]:
        return tuple(self._remove(key, owner) for owner in list(self._held[key]))

    def statistics(self) -> dict[str, int]:
        """How many entries are held, under how many keys."""
        return {"providers": self._count, "provided": len(self._held)}

    def _drop_expired(self, wall: float) -> tuple[Write, ...]:
        gone = [
            (key, owner)
            for key, entries in self._held.items()
            for owner, entry in entries.items()
            if entry.expires_s <= wall
        ]
        return tuple(self._remove(key, owner) for key, owner in gone)

    def _room(self, key: bytes, owner: bytes, first_hand: bool, group: Hashable, *, fresh: bool) -> bytes | None:
        """Whose entry makes room for one of ``owner``, if one has to. Raises :class:`PeerError` where there is none.

        One that is not ``fresh`` has its place and moves from one group to another.
        """
        if fresh and (
            self._count >= limits.PROVIDERS_MAX or self._owners.get(owner, 0) >= limits.PROVIDERS_PER_OWNER_MAX
        ):
            raise PeerError("no room for another provider")
        entries = self._held.get(key, {})
        counts: dict[tuple[bool, Hashable], int] = {}
        for entry in entries.values():
            of = (entry.first_hand, entry.group)
            counts[of] = counts.get(of, 0) + 1
        mine = counts.get((first_hand, group), 0)
        most = limits.PROVIDERS_PER_KEY_AND_GROUP_MAX if first_hand else limits.PROVIDERS_HEARSAY_PER_GROUP_MAX
        if group != OURS and (mine >= most or self._groups.get(group, 0) >= limits.PROVIDERS_PER_GROUP_MAX):
            raise PeerError("no room for another provider of that network")
        if not fresh or len(entries) < limits.PROVIDERS_PER_KEY_MAX:
            return None
        hearsay = {of: count for of, count in counts.items() if not of[0]}
        if first_hand and hearsay:
            rivals, fewest = hearsay, 1
        else:
            # What our own disk held came from honest providers once: hearsay does not push it out.
            rivals = {of: count for of, count in counts.items() if of[0] == first_hand and of[1] != OURS}
            fewest = mine + 2
        largest = max(rivals.values(), default=0)
        if largest < fewest:
            raise PeerError("no room for another provider of that key")
        crowds = [of for of, count in rivals.items() if count == largest]
        return min(
            (entry.created_s, name) for name, entry in entries.items() if (entry.first_hand, entry.group) in crowds
        )[1]

    def _hold(self, key: bytes, entry: _Entry, now: float) -> None:
        entries = self._held.setdefault(key, {})
        before = entries.get(entry.signed.key)
        if before is None:
            self._count += 1
            self._owners[entry.signed.key] = self._owners.get(entry.signed.key, 0) + 1
        else:
            one_less(self._groups, before.group)
        self._groups[entry.group] = self._groups.get(entry.group, 0) + 1
        entries[entry.signed.key] = entry
        self._began(now)

    def _remove(self, key: bytes, owner: bytes) -> Write:
        entries = self._held[key]
        entry = entries.pop(owner)
        if not entries:
            del self._held[key]
            self._turns.drop(key)
        self._count -= 1
        one_less(self._owners, owner)
        one_less(self._groups, entry.group)
        return Write("records", (key + node_id(owner),), None)

    @staticmethod
    def _row(key: bytes, entry: _Entry) -> Write:
        owner = entry.signed.key
        row = (owner, entry.seq, entry.expires_s, SIGNED.encode(entry.signed))
        return Write("records", (key + node_id(owner),), row)
