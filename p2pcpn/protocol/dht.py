"""The DHT of one peer: it joins, answers others, finds peers, puts and gets records, and keeps all of it alive.

Ties the table, lookups and records together. Whoever is heard enters the table; when the first one does, this peer
joins: it looks up its own id and then one id in each bucket. With nobody in the table it asks its bootstraps again,
ever more rarely, so that a peer that started alone finds the swarm when it appears.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from p2pcpn import limits
from p2pcpn.errors import PeerError, UsageError
from p2pcpn.protocol.effects import Commit, Effect, Heard, Notify, Send
from p2pcpn.protocol.lookup import Lookup
from p2pcpn.protocol.operations import Finding, GetDone, Getting, LookupDone, PutDone, Putting
from p2pcpn.protocol.records import OURS, Records, Row, Timetable, check, expires_s, record_key
from p2pcpn.protocol.requests import ANYBODY, Answered, Failed, Late, Reply, Request, Requests
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.protocol.table import RoutingTable
from p2pcpn.wire.addresses import Address, Contact
from p2pcpn.wire.datagrams import Find, Get, Nodes, Put, StoreCode, Stored, Value
from p2pcpn.wire.statements import Record, Signed, read

DhtMessage = Find | Get | Put | Nodes | Value | Stored
BOOTSTRAP_S = 2.0
BOOTSTRAP_S_MAX = 60.0
# Who said that it stores nothing is asked last for so long.
REFUSAL_S = 600.0
# What our program wrote and no peer took (perhaps we knew none yet) is put again so soon.
PUBLISH_AGAIN_S = 30.0
# What a reply's framing and a signed statement's take beside the body; a contact takes 28 bytes and its host's.
VALUE_BYTES = 24
SIGNED_BYTES = 110
CONTACT_BYTES = 28

# Purposes of requests that belong to no operation (those have their number).
_BOOTSTRAP = "bootstrap"
_VERIFY = "verify"
_REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Joined:
    """This peer's own neighbours are known; ``peers`` are in its table."""

    peers: int


@dataclass(frozen=True, slots=True)
class BootstrapFailed:
    """None of ``contacts`` answered; they are asked again in ``again_s``."""

    contacts: tuple[Contact, ...]
    again_s: float


class Dht:
    """See the module. ``own`` is this peer's id; tickets are the caller's numbers, echoed when an operation is done."""

    def __init__(
        self,
        own: bytes,
        rng: random.Random,
        network_group: Callable[[Address], Hashable],
        roundtrips: RoundTrips,
        now: float,
        *,
        storage: bool = True,
        k: int = limits.BUCKET_PEERS,
    ) -> None:
        self.own = own
        self.table = RoutingTable(own, network_group, rng, now, k)
        self.records = Records(rng, storage=storage)
        self.requests = Requests(roundtrips, rng)
        self._rng = rng
        self._network_group = network_group
        self._k = k
        self._now = now
        self._wall = 0.0  # said by everything that begins to handle records
        self._running: dict[int, Finding] = {}
        self._waiting: deque[Finding] = deque()
        self._number = 0
        self._republishing = 0
        self._published: OrderedDict[bytes, tuple[Signed, int]] = OrderedDict()  # what this peer's program wrote
        self._publish = Timetable()
        self._refusers: OrderedDict[bytes, float] = OrderedDict()
        self._liars = 0
        self._bootstraps: tuple[Contact, ...] = ()
        self._bootstraps_asked = 0
        self._bootstrap_due_s: float | None = None
        self._bootstrap_wait_s = BOOTSTRAP_S
        self._joining: Finding | None = None
        self._joined = False

    # --- what others ask ---------------------------------------------------------------------------------------

    def heard(self, sender: Contact, now: float) -> list[Effect]:
        """``sender`` sent a datagram of any kind over its pair. ``receive`` says so itself."""
        self._tick(now)
        effects: list[Effect] = []
        silent = self.table.heard(sender, now)
        if silent is not None:
            effects += self._ask_aside(silent, lambda nonce: Find(nonce, self.own), _VERIFY)
        if not self._joined and self._joining is None and len(self.table):
            self._joining = Finding(self.own)
            effects += self._begin(self._joining)
        return effects

    def receive(
        self, sender: Contact, message: DhtMessage, now: float, wall: float, *, routable: bool = True
    ) -> list[Effect]:
        """Answer a question, or take an answer. Replies to nothing we asked are ignored.

        Who is not ``routable`` (a client: it holds nothing and soon leaves) is answered and not taken into the table.
        """
        self._tick(now, wall)
        effects = self.heard(sender, now) if routable else []
        if isinstance(message, Find):
            return [Send(sender, Nodes(message.nonce, self._nearest(message.target, sender))), *effects]
        if isinstance(message, Get):
            return [Send(sender, self._value(message, sender, wall)), *effects]
        if isinstance(message, Put):
            group = self._network_group(sender.address)
            return self.records.put(sender, group, message, now, wall) + effects
        return effects + self._settle(self.requests.receive(sender, message, now))

    def _tick(self, now: float, wall: float | None = None) -> None:
        self._wall = self._wall + now - self._now if wall is None else wall
        self._now = now

    def _nearest(self, target: bytes, sender: Contact) -> list[Contact]:
        return self.table.nearest(target, limits.CONTACTS_MAX, (sender.id,))

    def _value(self, message: Get, sender: Contact, wall: float) -> Value:
        contacts = self._nearest(message.key, sender)
        signed = self.records.get(message.key, wall)
        if signed is None or read(signed, Record).seq < message.seq:
            return Value(message.nonce, None, contacts)
        room = limits.BODY_BYTES_MAX - VALUE_BYTES - SIGNED_BYTES - len(signed.body)
        fitting = []
        for contact in contacts:
            room -= CONTACT_BYTES + len(contact.host)
            if room < 0:
                break
            fitting.append(contact)
        return Value(message.nonce, signed, fitting)

    # --- what our program asks ---------------------------------------------------------------------------------

    def bootstrap(self, contacts: Sequence[Contact], now: float) -> list[Effect]:
        """Ask ``contacts`` (ids may be zero) for the way into the swarm, again and again until somebody is known.

        ``Notify(Joined)`` follows once our own neighbours are known, ``Notify(BootstrapFailed)`` after each vain round.
        """
        self._tick(now)
        self._bootstraps = tuple(contacts)[: limits.OPERATIONS_MAX]
        self._bootstrap_wait_s = BOOTSTRAP_S
        return self._ask_bootstraps()

    def find(self, target: bytes, ticket: int, now: float) -> list[Effect]:
        """Look up the peers nearest to ``target``; ``Notify(LookupDone)`` follows."""
        self._tick(now)
        return self._begin(Finding(target, ticket))

    def get(self, key: bytes, ticket: int, now: float, wall: float) -> list[Effect]:
        """Look up the newest record under ``key``; ``Notify(GetDone)`` follows. Holders of older ones are repaired."""
        self._tick(now, wall)
        return self._begin(Getting(key, self._held(key), ticket))

    def put(
        self,
        signed: Signed,
        ticket: int,
        now: float,
        wall: float,
        copies: int = limits.RECORD_COPIES,
        cas: int | None = None,
    ) -> list[Effect]:
        """Have ``signed`` kept by the nearest ``copies`` peers, and again each hour; ``Notify(PutDone)`` follows.

        Raises :class:`UsageError` where no peer would accept it.
        """
        self._tick(now, wall)
        try:
            record = check(signed, wall)
        except PeerError as error:
            raise UsageError(f"no peer would keep this record: {error}") from error
        key = record_key(signed.key, record.salt)
        operation = Putting(key, signed, copies, cas, ticket)
        effects = self._begin(operation)
        self._published.pop(key, None)
        self._published[key] = (signed, copies)
        self._publish.set(key, now + limits.REFRESH_S * self._rng.uniform(0.8, 1.2))
        if len(self._published) > limits.PUBLISHED_RECORDS_MAX:
            forgotten, _ = self._published.popitem(last=False)
            self._publish.drop(forgotten)
        if operation.done:  # at once: there is nobody to ask
            self._put_again_soon(operation)
        return effects

    def restore(self, rows: Iterable[Row], now: float, wall: float) -> int:
        """Hold again what the disk held. Returns how many records came."""
        return self.records.restore(rows, now, wall)

    def failed(self, contact: Contact, now: float) -> list[Effect]:
        """Somebody else found ``contact`` to be gone (membership, or its pair could not be made)."""
        self._tick(now)
        self.table.failed(contact, now)
        return self._rejoin()

    # --- time --------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``expire`` has something to do."""
        times = [
            self.requests.deadline(),
            self.records.deadline() if self._republishing < limits.REPUBLISHES_MAX else None,
            self._publish.deadline() if self._republishing < limits.REPUBLISHES_MAX else None,
            self._bootstrap_due_s,
            self.table.deadline() if len(self.table) else None,
        ]
        return min((due_s for due_s in times if due_s is not None), default=None)

    def expire(self, now: float, wall: float) -> list[Effect]:
        """Do what is due: repeats, refreshes, republishing, the bootstraps."""
        self._tick(now, wall)
        effects = self._settle(self.requests.expire(now))
        effects += self.records.expire(now, wall)
        effects += self._republish()
        if self._bootstrap_due_s is not None and now >= self._bootstrap_due_s:
            effects += self._ask_bootstraps()
        if len(self.table):
            for target in self.table.refresh(now):
                effects += self._begin(Finding(target))
        return effects + self._rejoin()

    def statistics(self) -> dict[str, int]:
        """Counts of what is held and under way."""
        return {
            **self.table.statistics(),
            **self.records.statistics(),
            "operations": len(self._running) + len(self._waiting),
            "requests": len(self.requests),
            "false_replies": self._liars,
        }

    # --- joining and republishing ------------------------------------------------------------------------------

    def _ask_bootstraps(self) -> list[Effect]:
        self._bootstrap_due_s = None
        if len(self.table) or not self._bootstraps:
            return []
        self.requests.cancel(_BOOTSTRAP)
        self._bootstraps_asked = len(self._bootstraps)
        effects: list[Effect] = []
        for contact in self._bootstraps:
            effects += self._ask_aside(contact, lambda nonce: Find(nonce, self.own), _BOOTSTRAP)
        return effects

    def _bootstrap_was_vain(self) -> list[Effect]:
        self._bootstraps_asked -= 1
        if self._bootstraps_asked or len(self.table):
            return []
        again_s = self._bootstrap_wait_s
        self._bootstrap_due_s = self._now + again_s
        self._bootstrap_wait_s = min(BOOTSTRAP_S_MAX, again_s * 2)
        return [Notify(BootstrapFailed(self._bootstraps, again_s))]

    def _rejoin(self) -> list[Effect]:
        if len(self.table) or not self._joined:
            return []
        self._joined = False
        return self._ask_bootstraps()

    def _republish(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._republishing < limits.REPUBLISHES_MAX:
            signed, copies = self.records.republish(self._now, self._wall), limits.RECORD_COPIES
            if signed is None:
                key = self._publish.take(self._now)
                if key is None:
                    break
                signed, copies = self._published[key]
                if expires_s(read(signed, Record)) <= self._wall:
                    del self._published[key]
                    continue
                self._publish.set(key, self._now + limits.REFRESH_S * self._rng.uniform(0.8, 1.2))
            self._republishing += 1
            effects += self._begin(Putting(record_key(signed.key, read(signed, Record).salt), signed, copies))
        return effects

    # --- operations --------------------------------------------------------------------------------------------

    def _begin(self, operation: Finding) -> list[Effect]:
        if len(self._running) >= limits.OPERATIONS_MAX:
            if operation.ticket is not None and len(self._waiting) >= limits.OPERATIONS_WAITING_MAX:
                raise UsageError(f"{limits.OPERATIONS_WAITING_MAX} DHT operations wait already; wait for some of them")
            self._waiting.append(operation)
            return []
        self._number += 1
        self._running[self._number] = operation
        start = self.table.nearest(operation.target, self._k)
        operation.begin(
            Lookup(
                self.own,
                operation.target,
                start,
                k=self._k,
                is_dead=lambda it: self.table.dead.is_dead(it, self._now),
                is_silent=lambda it: self.table.dead.is_silent(it, self._now),
                group=lambda it: self._network_group(it.address),
            )
        )
        return self._advance(self._number)

    def _advance(self, number: int) -> list[Effect]:
        """Send what the operation asks now; finish it when it is done."""
        operation = self._running[number]
        effects: list[Effect] = []
        while not operation.done:
            if isinstance(operation, Putting) and not operation.storing and operation.lookup.done:
                self._store(operation)
            asks = operation.asks()
            if not asks and not operation.done:
                return effects
            for contact, make in asks:
                for effect in self.requests.ask(contact, make, number, self._now):
                    if isinstance(effect, Heard):  # more is asked already than may be
                        operation.failed(contact)
                    else:
                        effects.append(effect)
        del self._running[number]
        self.requests.abandon(number)
        for liar in operation.lookup.liars:
            self.table.remove(liar.id)
        self._liars += len(operation.lookup.liars)
        effects += self._finish(operation)
        while self._waiting and len(self._running) < limits.OPERATIONS_MAX:
            effects += self._begin(self._waiting.popleft())
        return effects

    def _ask_aside(self, contact: Contact, make: Callable[[int], Request], purpose: str) -> list[Effect]:
        """A request that belongs to no operation and is left out where half of all that may be asked is."""
        if len(self.requests) >= limits.REQUESTS_MAX // 2:
            return []
        return self.requests.ask(contact, make, purpose, self._now)

    def _settle(self, outcomes: list[Effect]) -> list[Effect]:
        """Tell each outcome of a request to the operation it was for; what is to be sent is passed on."""
        effects: list[Effect] = []
        for effect in outcomes:
            outcome = effect.value if isinstance(effect, Heard) else None
            if not isinstance(outcome, Answered | Late | Failed):
                effects.append(effect)
                continue
            if isinstance(outcome, Failed) and outcome.asked.id != ANYBODY:
                self.table.failed(outcome.asked, self._now)
            if isinstance(outcome, Late) and outcome.asked.id != ANYBODY:
                self.table.dead.late(outcome.asked, self._now)
            if isinstance(outcome, Answered):
                self._note_refusal(outcome.peer, outcome.reply)
            if outcome.purpose == _BOOTSTRAP and not isinstance(outcome, Late) and not len(self.table):
                effects += self._bootstrap_was_vain()
            if isinstance(outcome.purpose, int) and outcome.purpose in self._running:
                effects += self._tell(outcome.purpose, outcome)
        return effects

    def _tell(self, number: int, outcome: Answered | Late | Failed) -> list[Effect]:
        operation = self._running[number]
        if isinstance(outcome, Answered):
            operation.answered(outcome.asked, outcome.reply, self._wall)
        elif isinstance(outcome, Late):
            operation.late(outcome.asked)
        else:
            operation.failed(outcome.asked)
        return self._advance(number)

    def _note_refusal(self, peer: Contact, reply: Reply) -> None:
        if isinstance(reply, Stored):
            self._refusers.pop(peer.id, None)
            if reply.code == StoreCode.REFUSED:
                self._refusers[peer.id] = self._now + REFUSAL_S
                if len(self._refusers) > limits.DEAD_PEERS_MAX:
                    self._refusers.popitem(last=False)

    def _is_refuser(self, node: bytes) -> bool:
        return self._refusers.get(node, 0.0) > self._now

    def _held(self, key: bytes) -> tuple[Signed, Record] | None:
        signed = self.records.get(key, self._wall)
        return (signed, read(signed, Record)) if signed is not None else None

    def _store(self, operation: Putting) -> None:
        code, seq = None, 0
        if self.records.storage and operation.is_near(self.own):
            code, seq, operation.own_writes = self.records.keep(
                operation.signed, operation.cas, OURS, self._now, self._wall
            )
        operation.store(code, seq, self._is_refuser)

    def _finish(self, operation: Finding) -> list[Effect]:
        self.table.looked_up(operation.target, self._now)
        if isinstance(operation, Putting):
            return self._finish_republish(operation) if operation.ticket is None else self._finish_put(operation)
        if isinstance(operation, Getting):
            return self._finish_get(operation)
        if operation is self._joining:
            self._joining, self._joined = None, True
            effects: list[Effect] = [Notify(Joined(len(self.table)))]
            for target in self.table.refresh(self._now, everything=True):
                effects += self._begin(Finding(target))
            return effects
        if operation.ticket is None:
            return []
        return [Notify(LookupDone(operation.ticket, operation.target, tuple(operation.lookup.nearest(self._k))))]

    def _finish_put(self, operation: Putting) -> list[Effect]:
        assert operation.ticket is not None
        self._put_again_soon(operation)
        done = PutDone(
            operation.ticket, operation.target, tuple(operation.holders), False, operation.code, operation.seq
        )
        if not operation.own_writes:
            return [Notify(done)]
        # Our own copy counts once it is durable, like anybody's.
        return [Commit(operation.own_writes, then=(Notify(replace(done, own_copy=True)),), otherwise=(Notify(done),))]

    def _put_again_soon(self, operation: Putting) -> None:
        """Do not wait for an hour where nobody took what our program wrote last, and nobody objected to it."""
        published = self._published.get(operation.target)
        taken = operation.holders or operation.own_code == StoreCode.KEPT
        objected = operation.code in (StoreCode.OLDER, StoreCode.CAS)
        if published is not None and published[0] is operation.signed and not (taken or objected):
            self._publish.set(operation.target, self._now + PUBLISH_AGAIN_S * self._rng.uniform(0.8, 1.2))

    def _finish_republish(self, operation: Putting) -> list[Effect]:
        self._republishing -= 1
        self._put_again_soon(operation)
        key = operation.target
        effects: list[Effect] = [Commit(operation.own_writes)] if operation.own_writes else []
        if operation.own_code is None and len(operation.holders) >= limits.RECORD_COPIES:
            self.records.rest(key, self._now)
        held = self._held(key)
        if operation.code == StoreCode.OLDER and held is not None and operation.seq > held[1].seq:
            effects += self._begin(Getting(key, held))  # others know a newer version: hold that one
        return effects

    def _finish_get(self, operation: Getting) -> list[Effect]:
        effects: list[Effect] = []
        key = operation.target
        signed, record = operation.best if operation.best is not None else (None, None)
        if signed is not None:
            best = signed
            for contact in operation.behind(limits.RECORD_COPIES):
                if not self._is_refuser(contact.id):
                    effects += self._ask_aside(contact, lambda nonce: Put(nonce, best, None), _REPAIR)
            if key in self.records and self.records.get(key, self._wall) is not best:
                _, _, writes = self.records.keep(best, None, OURS, self._now, self._wall)
                effects += [Commit(writes)] if writes else []
        if operation.ticket is not None:
            effects.append(Notify(GetDone(operation.ticket, key, signed, record)))
        return effects
