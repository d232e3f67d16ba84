"""Operations on the DHT: to find the nearest peers, to put an item on them, to get the newest version of a record.

Each is a :class:`~p2pcpn.protocol.lookup.Lookup` and what it is for. None of them sends: ``asks`` says who is to be
asked what, and the outcomes are told to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.effects import Write
from p2pcpn.protocol.items import Item, ProvidersItem, content_key, record_key
from p2pcpn.protocol.lookup import Lookup
from p2pcpn.protocol.records import check
from p2pcpn.protocol.requests import Reply, Request
from p2pcpn.protocol.roll import Roll
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Content, Find, Get, GetContent, Nodes, StoreCode, Stored, Value
from p2pcpn.wire.statements import Record, Signed

Ask = tuple[Contact, Callable[[int], Request]]
# Three tries of a put, of which all fail in 1 of 140 at 10 % loss each way; then another is asked beside it.
LATE_MAX = 3


@dataclass(frozen=True, slots=True)
class LookupDone:
    """``contacts`` are the nearest to ``target`` that answered, nearest first, at most twenty."""

    ticket: int
    target: bytes
    contacts: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class PutDone:
    """``holders`` keep the item, this peer perhaps among them (``own_copy``).

    ``code`` is ``KEPT`` when somebody keeps it and nobody objected; ``OLDER`` or ``CAS`` when one did, with the highest
    ``seq`` it named; otherwise why nobody keeps it (``REFUSED`` too when nobody answered).
    """

    ticket: int
    key: bytes
    holders: tuple[Contact, ...]
    own_copy: bool
    code: int
    seq: int

    @property
    def copies(self) -> int:
        return len(self.holders) + self.own_copy


@dataclass(frozen=True, slots=True)
class GetDone:
    """``signed`` is the newest valid version found and ``record`` its statement; both ``None`` when there is none."""

    ticket: int
    key: bytes
    signed: Signed | None
    record: Record | None


@dataclass(frozen=True, slots=True)
class ContentDone:
    """``content`` is what ``key`` is the hash of, or ``None`` when it was not found."""

    ticket: int
    key: bytes
    content: bytes | None


class Finding:
    """A lookup of the ``k`` peers nearest to ``target``, on so many disjoint paths.

    ``ticket`` is the caller's, or ``None`` for our own housekeeping.
    """

    patience = 2

    def __init__(
        self, target: bytes, ticket: int | None = None, k: int = limits.BUCKET_PEERS, paths: int = limits.LOOKUP_PATHS
    ) -> None:
        self.target = target
        self.ticket = ticket
        self.k = k
        self.paths = paths
        self.lookup: Lookup | Roll

    def reads(self, own: bytes, nearest: Sequence[Contact]) -> int:
        """How many of ``nearest`` have to answer once a value is known, where the peer ``own`` stores as well."""
        return limits.READ_PEERS

    def begin(self, lookup: Lookup | Roll) -> None:
        """Start with ``lookup``, an unused one of ``target``."""
        self.lookup = lookup

    def asks(self) -> list[Ask]:
        """Who is to be asked what now."""
        return [(contact, self._query) for contact in self.lookup.queries()]

    def answered(self, asked: Contact, reply: Reply, wall: float) -> None:
        """``asked`` answered with ``reply``."""
        if isinstance(reply, Nodes):
            self.lookup.answered(asked, reply.contacts)

    def late(self, asked: Contact) -> None:
        """``asked`` let a timeout pass."""
        self.lookup.late(asked)

    def failed(self, asked: Contact) -> None:
        """``asked`` answered no try."""
        self.lookup.failed(asked)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to ask or to wait for."""
        return self.lookup.done

    def _query(self, nonce: int) -> Request:
        return Find(nonce, self.target)


class Getting(Finding):
    """A lookup of a record: the highest valid ``seq`` wins, and of two values under one the greater bytes."""

    def __init__(self, key: bytes, held: tuple[Signed, Record] | None, ticket: int | None = None) -> None:
        super().__init__(key, ticket)
        self.best = held
        self._held = held is not None
        self._own_copy = False
        self._asked = 0
        self._versions: dict[bytes, bytes] = {}  # by node: the body of its valid record, or nothing

    def reads(self, own: bytes, nearest: Sequence[Contact]) -> int:
        """One less where ``own`` is nearer than the last of them, for then it is one of those whose word is wanted."""
        last = nearest[limits.READ_PEERS - 1 : limits.READ_PEERS]
        among = not last or distance(own, self.target) < distance(last[0].id, self.target)
        self._own_copy = among and self._held
        return limits.READ_PEERS - among

    @property
    def knew_all(self) -> bool:
        """Whether nobody was asked for the way."""
        return isinstance(self.lookup, Roll)

    def answered(self, asked: Contact, reply: Reply, wall: float) -> None:
        """Take the record of ``reply``, if it is valid, and hear its contacts."""
        if not isinstance(reply, Value):
            return
        self._versions[asked.id] = b""
        if reply.record is not None:
            self._take(asked, reply.record, wall)
        self.lookup.answered(asked, reply.contacts)

    def behind(self, count: int) -> list[Contact]:
        """Those of the nearest ``count`` that are to be repaired by the reader: who answered with an older version, and
        where fewer than ``limits.RECORD_COPIES_MIN`` (or ``count``) hold the best one, who answered without any."""
        if self.best is None:
            return []
        body = self.best[0].body
        nearest = self.lookup.nearest(count)
        older = [contact for contact in nearest if self._versions.get(contact.id, b"") not in (b"", body)]
        without = [contact for contact in nearest if not self._versions.get(contact.id)]
        holders = len(nearest) - len(without) + self._own_copy
        return older if holders >= min(count, limits.RECORD_COPIES_MIN) else older + without

    def _take(self, asked: Contact, signed: Signed, wall: float) -> None:
        if self.best is None or signed.body != self.best[0].body or signed.key != self.best[0].key:
            try:
                record = check(signed, wall)
            except PeerError:
                return
            if record_key(signed.key, record.salt) != self.target:
                return
            if self.best is None or (record.seq, signed.body) > (self.best[1].seq, self.best[0].body):
                self.best = (signed, record)
        self._versions[asked.id] = signed.body
        self.lookup.impatient = True

    def asks(self) -> list[Ask]:
        asks: list[Ask] = []
        for contact in self.lookup.queries():
            # One is asked who else there is all the same, for that changes; and more where the nearest had nothing.
            alone = self.knew_all and 0 < self._asked < limits.READ_PEERS
            asks.append((contact, self._query_alone if alone else self._query))
            self._asked += 1
        return asks

    def _query(self, nonce: int) -> Request:
        return Get(nonce, self.target, 0)

    def _query_alone(self, nonce: int) -> Request:
        return Get(nonce, self.target, 0, 0)


class Fetching(Finding):
    """A lookup of a content, which is over with the first that its key is the hash of."""

    def __init__(self, key: bytes, held: bytes | None, ticket: int) -> None:
        super().__init__(key, ticket)
        self.content = held

    def answered(self, asked: Contact, reply: Reply, wall: float) -> None:
        if not isinstance(reply, Content):
            return
        if reply.content is not None and content_key(reply.content) == self.target:
            self.content = reply.content
        self.lookup.answered(asked, reply.contacts)

    @property
    def done(self) -> bool:
        return self.content is not None or self.lookup.done

    def result(self) -> ContentDone:
        """What came of it, for whoever asked."""
        assert self.ticket is not None
        return ContentDone(self.ticket, self.target, self.content)

    def _query(self, nonce: int) -> Request:
        return GetContent(nonce, self.target)


class Putting(Finding):
    """A lookup, then puts to the nearest until ``copies`` are kept; who refuses is replaced by the next nearest, and
    nobody waits for who is late again and again where others do it.

    An item of several datagrams is kept by who answered the last of them.
    """

    patience = 1  # whoever is late is replaced by the next nearest, and no worse for it

    def __init__(
        self, item: Item, copies: int, wall: float, ticket: int | None = None, k: int = limits.BUCKET_PEERS
    ) -> None:
        super().__init__(item.key, ticket, k)
        self.item = item
        self.holders: list[Contact] = []
        self.code = StoreCode.REFUSED
        self.seq = 0
        self.own_code: int | None = None
        self.own_writes: tuple[Write, ...] = ()
        self._copies = copies
        self._puts = item.puts(wall)
        self._objections = 0
        self._asked: dict[bytes, int] = {}  # by node: the number of the put under way
        self._late: dict[bytes, int] = {}  # by node: how often
        self._next: list[Contact] = []  # who is to be sent the next put
        self._candidates: list[Contact] | None = None
        self._known: list[Contact] | None = None

    def know(self, nearest: list[Contact]) -> None:
        """These are the nearest, nearest first: nobody need be asked for them."""
        self._known = nearest

    @property
    def knows(self) -> bool:
        """Whether nobody need be asked for the nearest."""
        return self._known is not None

    @property
    def is_kept(self) -> bool:
        """Whether as many keep it as should."""
        return len(self.holders) + (self.own_code == StoreCode.KEPT) >= self._copies

    @property
    def located(self) -> bool:
        """Whether the nearest are known."""
        return self._known is not None or self.lookup.done

    @property
    def storing(self) -> bool:
        """Whether puts are under way."""
        return self._candidates is not None

    @property
    def settled(self) -> int:
        """How many hold the item, or something newer, or all of the key that they may."""
        # They need no replacement: one more copy of the older version helps nobody.
        return len(self.holders) + (self.own_code == StoreCode.KEPT) + self._objections

    def is_near(self, own: bytes) -> bool:
        """Whether ``own`` is nearer to the key than the last of the nearest ``copies``: then it keeps one itself."""
        nearest = self._nearest(self._copies)
        return len(nearest) < self._copies or distance(own, self.target) < distance(nearest[-1].id, self.target)

    def store(self, own_code: int | None, own_seq: int, is_refuser: Callable[[bytes], bool]) -> None:
        """Begin to put. ``own_code`` is how our own holder judged the item, or ``None`` when it was not asked.

        ``is_refuser(node)``: it said lately that it stores nothing; it is asked after all others.
        """
        nearest = self._nearest(limits.BUCKET_PEERS)
        self._candidates = sorted(nearest, key=lambda contact: is_refuser(contact.id))
        self.own_code = own_code
        if own_code is not None:
            self._judge(own_code, own_seq)

    def asks(self) -> list[Ask]:
        if self._candidates is None:
            return super().asks()
        asks: list[Ask] = [(contact, self._puts[self._asked[contact.id]]) for contact in self._next]
        self._next = []
        while self._candidates and self.settled + self._awaited < self._copies:
            contact = self._candidates.pop(0)
            self._asked[contact.id] = 0
            asks.append((contact, self._puts[0]))
        return asks

    def answered(self, asked: Contact, reply: Reply, wall: float) -> None:
        if not isinstance(reply, Stored):
            super().answered(asked, reply, wall)
            return
        number = self._asked.pop(asked.id, None)
        self._late.pop(asked.id, None)
        if number is None:
            return
        if number + 1 < len(self._puts) and reply.code != StoreCode.REFUSED:
            self._asked[asked.id] = number + 1
            self._next.append(asked)
            return
        if reply.code == StoreCode.KEPT:
            self.holders.append(asked)
        self._judge(reply.code, reply.seq)

    def late(self, asked: Contact) -> None:
        if asked.id in self._asked:
            self._late[asked.id] = self._late.get(asked.id, 0) + 1
        else:
            super().late(asked)

    def failed(self, asked: Contact) -> None:
        self._late.pop(asked.id, None)
        if self._asked.pop(asked.id, None) is None:
            super().failed(asked)

    @property
    def done(self) -> bool:
        if self._candidates is None or self._awaited:
            return False
        return self.settled >= self._copies or not (self._candidates or self._asked)

    @property
    def _awaited(self) -> int:
        return sum(self._late.get(node, 0) < LATE_MAX for node in self._asked)

    def _nearest(self, count: int) -> list[Contact]:
        return self.lookup.nearest(count) if self._known is None else self._known[:count]

    def _judge(self, code: int, seq: int) -> None:
        if code in (StoreCode.OLDER, StoreCode.CAS):
            self._objections += 1
            if self.code not in (StoreCode.OLDER, StoreCode.CAS) or seq > self.seq:
                self.code, self.seq = code, seq
            return
        # A key that many share is full of others: to go on to farther peers would put it where nobody looks.
        self._objections += code == StoreCode.FULL and isinstance(self.item, ProvidersItem)
        if self.code not in (StoreCode.OLDER, StoreCode.CAS):
            if code == StoreCode.KEPT:
                self.code, self.seq = code, seq
            elif self.code != StoreCode.KEPT:
                self.code = code
