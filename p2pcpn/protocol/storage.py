"""Storage: all that one peer holds of the DHT for others (records, provider records, contents), as one thing."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable

from p2pcpn import limits
from p2pcpn.identity.keys import NODE_ID_BYTES
from p2pcpn.protocol.contents import Contents
from p2pcpn.protocol.effects import Effect, Send, Write
from p2pcpn.protocol.holding import OURS, Holding, Judged, Row
from p2pcpn.protocol.items import ENTRIES_BYTES, SIGNED_BYTES, Item, ProvidersItem, RecordItem
from p2pcpn.protocol.providers import Providers
from p2pcpn.protocol.records import Records
from p2pcpn.wire import datagrams as d
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.statements import Record, read

Question = d.Get | d.GetProviders | d.GetContent
PutMessage = d.Put | d.PutProviders | d.PutContent
# A contact takes 28 bytes and its host's; a reply without any takes 24.
CONTACT_BYTES = 28
REPLY_BYTES = 24


class Storage:
    """What the peer ``own`` holds for others, each in ``copies``; with ``storing`` off it holds nothing, and while
    ``clearing`` gives away what it held."""

    def __init__(
        self, own: bytes, rng: random.Random, *, storing: bool = True, copies: int = limits.RECORD_COPIES
    ) -> None:
        self.copies = copies
        self.storing = storing
        self.clearing = False
        self.records = Records(rng, storage=storing)
        self.providers = Providers(rng, storage=storing)
        self.contents = Contents(rng, storage=storing)
        self._own = own
        self._sorts: tuple[Holding, ...] = (self.records, self.providers, self.contents)

    def __len__(self) -> int:
        return sum(len(sort) for sort in self._sorts)

    def put(self, sender: Contact, group: Hashable, message: PutMessage, now: float, wall: float) -> list[Effect]:
        """Answer a put of ``sender``, whose network group is ``group``."""
        if isinstance(message, d.Put):
            return self.records.put(sender, group, message, now, wall)
        if isinstance(message, d.PutProviders):
            return self.providers.put(sender, group, message, now, wall)
        return self.contents.put(sender, group, message, now, wall)

    def tell(self, sender: Contact, message: Question, contacts: list[Contact], wall: float) -> list[Effect]:
        """Answer with what is held and asked for; ``contacts``, as many as fit beside it, are nearest to its key."""
        room = limits.BODY_BYTES_MAX - REPLY_BYTES
        if isinstance(message, d.GetProviders):
            return [Send(sender, self._providers(message, contacts, room, wall))]
        if isinstance(message, d.GetContent):
            content = self.contents.get(message.key, wall)
            return [Send(sender, d.Content(message.nonce, content, fitting(contacts, room - len(content or b""))))]
        signed = self.records.get(message.key, wall)
        if signed is None or (message.seq and read(signed, Record).seq < message.seq):
            return [Send(sender, d.Value(message.nonce, None, contacts))]
        room -= SIGNED_BYTES + len(signed.body)
        # With the record in hand only those who hold it, too, are of interest.
        return [Send(sender, d.Value(message.nonce, signed, fitting(contacts[: self.copies], room)))]

    def _providers(self, message: d.GetProviders, contacts: list[Contact], room: int, wall: float) -> d.Providers:
        named = contacts[: limits.CONTACTS_WITH_PROVIDERS_MAX] if message.skip == 0 else []
        room -= ENTRIES_BYTES + sum(CONTACT_BYTES + len(contact.host) for contact in named)
        entries, left = self.providers.get(message.key, message.skip, room, wall)
        return d.Providers(message.nonce, entries, left, named if entries or message.skip else contacts)

    def keep(self, item: Item, now: float, wall: float) -> Judged:
        """Hold ``item``, which our own program or our own lookup brought."""
        if isinstance(item, RecordItem):
            return self.records.keep(item.signed, item.cas, OURS, now, wall)
        if isinstance(item, ProvidersItem):
            return self.providers.keep(item.entries, self._own, OURS, now, wall)
        left_s = min(item.expires_s - wall, limits.CONTENT_RETENTION_S_MAX)
        return self.contents.keep(item.content, left_s, self._own, OURS, now, wall)

    def close(self) -> None:
        """Take nothing more: this peer leaves."""
        self._open(False)

    def stores(self, storing: bool, now: float) -> None:
        """Hold for others from now on; or no more, and give what is held to those nearest to it, item after item."""
        self._open(storing)
        self.clearing = not storing
        for number, key in enumerate(self.held() if self.clearing else ()):
            self.hasten(key, now + number / limits.MOVES_PER_S)

    def _open(self, storing: bool) -> None:
        for sort in self._sorts:
            sort.storage = storing
        self.storing = storing

    def restore(self, rows: Iterable[Row], now: float, wall: float) -> int:
        """Hold again what the disk held, each row where it belongs. Returns how many came."""
        came = 0
        for row in rows:
            if len(row[0]) > NODE_ID_BYTES:
                came += self.providers.restore((row,), now, wall)
            else:
                came += (self.records if row[1] else self.contents).restore((row,), now, wall)
        return came

    def held(self) -> list[bytes]:
        """Every key under which something is held, in a steady order."""
        return [key for sort in self._sorts for key in sort.held()]

    def item(self, key: bytes, wall: float) -> Item | None:
        """What is held under ``key``, if it has not expired."""
        sort = self._sort_of(key)
        return sort.item(key, wall) if sort is not None else None

    def __contains__(self, key: bytes) -> bool:
        return self._sort_of(key) is not None

    def turn(self, now: float, wall: float) -> Item | None:
        """An item whose turn to be passed on has come, or ``None``."""
        for sort in self._sorts:
            if (item := sort.turn(now, wall)) is not None:
                return item
        return None

    def rest(self, key: bytes, now: float, times: float) -> None:
        """Others, nearer to ``key``, hold it: its next turn is in ``times`` hours."""
        if (sort := self._sort_of(key)) is not None:
            sort.put_off(key, now, times)

    def hasten(self, key: bytes, due_s: float) -> None:
        """``key`` has its turn at ``due_s``, if not before."""
        if (sort := self._sort_of(key)) is not None:
            sort.hasten(key, due_s)

    def drop(self, key: bytes) -> tuple[Write, ...]:
        """Hold nothing under ``key`` any more; what is to be written for that."""
        sort = self._sort_of(key)
        return sort.drop(key) if sort is not None else ()

    def deadline(self) -> float | None:
        """When something is to be passed on, or what has expired is to be dropped."""
        earliest = None
        for sort in self._sorts:
            due_s = sort.deadline()
            if due_s is not None and (earliest is None or due_s < earliest):
                earliest = due_s
        return earliest

    def expire(self, now: float, wall: float) -> list[Effect]:
        """Drop what has expired, here and on the disk."""
        return [effect for sort in self._sorts for effect in sort.expire(now, wall)]

    def statistics(self) -> dict[str, int]:
        """Counts of what is held."""
        return {**self.records.statistics(), **self.providers.statistics(), **self.contents.statistics()}

    def _sort_of(self, key: bytes) -> Holding | None:
        return next((sort for sort in self._sorts if key in sort), None)


def fitting(contacts: list[Contact], room_bytes: int) -> list[Contact]:
    """As many of ``contacts`` as fit."""
    found = []
    for contact in contacts:
        room_bytes -= CONTACT_BYTES + len(contact.host)
        if room_bytes < 0:
            break
        found.append(contact)
    return found
