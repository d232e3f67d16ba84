"""The DHT of one peer: it joins, answers others, finds peers, puts and gets records, and keeps all of it alive.

Ties the table, lookups and records together. Whoever is heard enters the table; when the first one does, this peer
joins: it looks up its own id and then one id in each bucket. With nobody in the table it asks its bootstraps again,
ever more rarely, so that a peer that started alone finds the swarm when it appears.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from p2pcpn import limits
from p2pcpn.errors import UsageError
from p2pcpn.protocol.acquaintance import Acquaintance
from p2pcpn.protocol.effects import Commit, Effect, Heard, Notify, Send
from p2pcpn.protocol.gathering import Gathering
from p2pcpn.protocol.glancing import Glance, strangers
from p2pcpn.protocol.handing_over import Handed, HandingOver
from p2pcpn.protocol.holding import Row
from p2pcpn.protocol.items import ContentItem, Item, ProvidersItem, RecordItem
from p2pcpn.protocol.lookup import Lookup
from p2pcpn.protocol.operations import Fetching, Finding, GetDone, Getting, LookupDone, PutDone, Putting
from p2pcpn.protocol.providers import check_provider
from p2pcpn.protocol.published import Published
from p2pcpn.protocol.records import check, ours
from p2pcpn.protocol.refusers import Refusers
from p2pcpn.protocol.repair import Given, Repair
from p2pcpn.protocol.requests import ANYBODY, Answered, Failed, Late, Request, Requests
from p2pcpn.protocol.roll import Roll
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.protocol.storage import Storage
from p2pcpn.protocol.table import RoutingTable
from p2pcpn.wire import datagrams as d
from p2pcpn.wire.addresses import Address, Contact
from p2pcpn.wire.datagrams import Find, Get, Nodes, Put, StoreCode, Stored, Value
from p2pcpn.wire.statements import Record, Signed, read

Question = Find | Get | d.GetProviders | d.GetContent | Put | d.PutProviders | d.PutContent
DhtMessage = Question | Nodes | Value | d.Providers | d.Content | Stored
# Twice those who keep what lies near it: so many of its neighbours a peer that joins greets.
NEIGHBOURS = 2 * limits.RECORD_COPIES
# Two that join at once and are neighbours do not hear of each other. Who joins looks again so soon.
NEIGHBOURS_AGAIN_S = 2.0
BOOTSTRAP_S = 2.0
BOOTSTRAP_S_MAX = 60.0
# Of what others, nearer to its key, hold as well, we speak more rarely.
REST_HOURS = 8.0

# Purposes of requests that belong to no operation (those have their number).
_BOOTSTRAP, _VERIFY, _REPAIR = "bootstrap", "verify", "repair"


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
        copies: int = limits.RECORD_COPIES,
        k: int = limits.BUCKET_PEERS,
    ) -> None:
        self.own = own
        self.table = RoutingTable(own, network_group, rng, now, k)
        self.storage = Storage(own, rng, storing=storage, copies=copies)
        self.records = self.storage.records
        self.requests = Requests(roundtrips, rng, stall_s=limits.STALL_S)
        self._rng = rng
        self._network_group = network_group
        self._k = k
        self._now = now
        self._wall = 0.0  # said by everything that begins to handle records
        self._running: dict[int, Finding] = {}
        self._waiting: deque[Finding] = deque()
        self._number = 0
        self._republishing = 0
        self.published = Published(rng)
        self._repair = Repair(
            own, self.table, self.storage, rng, now, self._is_refuser, lambda it: network_group(it.address)
        )
        self._handing_over: HandingOver | None = None
        self._acquaintance = Acquaintance(own, self.table, k, now)
        self._refusers = Refusers()
        self._liars = 0
        self.bootstraps: tuple[Contact, ...] = ()  # whom to ask for the way into the swarm; ids may be zero
        self._bootstraps_asked = 0
        self._bootstrap_due_s: float | None = None
        self._bootstrap_wait_s = BOOTSTRAP_S
        self._joining: Finding | None = None
        self._joined = False
        self._again_due_s: float | None = None  # when to look at our neighbourhood once more

    # --- what others ask ---------------------------------------------------------------------------------------

    def heard(self, sender: Contact, now: float) -> list[Effect]:
        """``sender`` sent a datagram of any kind over its pair. ``receive`` says so itself."""
        self._tick(now)
        effects: list[Effect] = []
        if self.table.heard_lately(sender, now):
            return effects
        known = sender.id in self.table
        silent = self.table.heard(sender, now)
        self._acquaintance.heard(sender, now)
        if not known and sender.id in self.table:
            self._repair.joined(sender.id, now)
        if silent is not None:
            effects += self._ask_whom_it_knows(silent)
        if not self._joined and self._joining is None and len(self.table):
            self._joining = Finding(self.own, k=NEIGHBOURS)
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
        if isinstance(message, Question):
            return self._answer(sender, message, now, wall) + effects
        return effects + self._settle(self.requests.receive(sender, message, now))

    def _answer(self, sender: Contact, message: Question, now: float, wall: float) -> list[Effect]:
        if isinstance(message, Find):
            return [Send(sender, Nodes(message.nonce, self._nearest(message.target, sender)))]
        if isinstance(message, Get | d.GetProviders | d.GetContent):
            count = min(message.named_max, limits.CONTACTS_MAX) if isinstance(message, Get) else limits.CONTACTS_MAX
            return self.storage.tell(sender, message, self._nearest(message.key, sender, count), wall)
        return self.storage.put(sender, self._network_group(sender.address), message, now, wall)

    def _tick(self, now: float, wall: float | None = None) -> None:
        self._wall = self._wall + now - self._now if wall is None else wall
        self._now = now

    def _nearest(self, target: bytes, sender: Contact, count: int = limits.CONTACTS_MAX) -> list[Contact]:
        return self.table.nearest(target, count, (sender.id,)) if count else []

    # --- what our program asks ---------------------------------------------------------------------------------

    def bootstrap(self, contacts: Sequence[Contact], now: float) -> list[Effect]:
        """Ask ``contacts`` (ids may be zero) for the way into the swarm, again and again until somebody is known.

        ``Notify(Joined)`` follows once our own neighbours are known, ``Notify(BootstrapFailed)`` after each vain round.
        """
        self._tick(now)
        self.bootstraps = tuple(contacts)[: limits.OPERATIONS_MAX]
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
        copies: int | None = None,
        cas: int | None = None,
        *,
        again: bool = False,
    ) -> list[Effect]:
        """Have ``signed`` kept by the nearest ``copies`` peers, and again each hour; ``Notify(PutDone)`` follows.

        ``again``: a version of what was put lately goes to those who kept it then, who hand it to whoever is nearer.
        Raises :class:`UsageError` where no peer would accept it.
        """
        self._tick(now, wall)
        ours(check, signed, wall)
        return self._put(RecordItem(signed, cas), copies, ticket, again)

    def put_content(
        self, content: bytes, retention_s: float, ticket: int, now: float, wall: float, copies: int | None = None
    ) -> list[Effect]:
        """Have ``content`` kept under its hash (:func:`~p2pcpn.protocol.items.content_key`) for ``retention_s``, by the
        nearest ``copies`` peers, and again each hour; ``Notify(PutDone)`` follows.

        Raises :class:`UsageError` where no peer would accept it.
        """
        self._tick(now, wall)
        if not 0 < len(content) <= limits.CONTENT_BYTES_MAX:
            raise UsageError(f"a content of {len(content)} bytes; there may be 1 to {limits.CONTENT_BYTES_MAX}")
        if not 0 < retention_s <= limits.CONTENT_RETENTION_S_MAX:
            raise UsageError(f"a content is kept for at most {limits.CONTENT_RETENTION_S_MAX} s, not {retention_s:g}")
        return self._put(ContentItem(content, wall + retention_s), copies, ticket)

    def get_content(self, key: bytes, ticket: int, now: float, wall: float) -> list[Effect]:
        """Look up the content whose hash is ``key``; ``Notify(ContentDone)`` follows."""
        self._tick(now, wall)
        return self._begin(Fetching(key, self.storage.contents.get(key, wall), ticket))

    def provide(
        self, signed: Signed, ticket: int | None, now: float, wall: float, copies: int | None = None
    ) -> list[Effect]:
        """Have the provider record ``signed`` kept by the peers nearest to its key; ``Notify(PutDone)`` follows where
        ``ticket`` is a number. Once: whoever provides for long signs it anew each hour.

        Raises :class:`UsageError` where no peer would accept it.
        """
        self._tick(now, wall)
        record = ours(check_provider, signed, wall)
        return self._begin(Putting(ProvidersItem(record.key, (signed,)), copies or self.storage.copies, wall, ticket))

    def get_providers(
        self, key: bytes, ticket: int, now: float, wall: float, wanted: int = limits.PROVIDERS_WANTED
    ) -> list[Effect]:
        """Look up who provides what ``key`` stands for, ``wanted`` of them; ``Notify(ProvidersDone)`` follows."""
        self._tick(now, wall)
        held, _ = self.storage.providers.get(key, 0, limits.DATAGRAM_BYTES_MAX * limits.PROVIDERS_PER_KEY_MAX, wall)
        wanted = max(1, min(wanted, limits.PROVIDERS_WANTED_MAX))
        return self._begin(Gathering(key, held, wanted, wall, ticket, self._network_group))

    def _put(self, item: Item, copies: int | None, ticket: int, again: bool = False) -> list[Effect]:
        copies = copies or self.storage.copies
        k = copies + limits.READ_PEERS if again else limits.BUCKET_PEERS  # nobody waits for what is put again and again
        operation = Putting(item, copies, self._wall, ticket, k)
        if again:
            self.published.direct(operation, self._now)
        effects = self._begin(operation)
        self.published.add(operation.target, item, copies, self._now)
        if operation.done:  # at once: there is nobody to ask
            self._put_again_soon(operation)
        return effects

    def restore(self, rows: Iterable[Row], now: float, wall: float) -> int:
        """Hold again what the disk held. Returns how many records came."""
        return self.storage.restore(rows, now, wall)

    def failed(self, contact: Contact, now: float, *, certain: bool = False) -> list[Effect]:
        """``contact`` is gone, or we are cut off, unless ``certain``: membership found it dead, or it said goodbye."""
        self._tick(now)
        self._failed(contact)
        if certain and contact.id in self.table:
            self.table.remove(contact.id)
            self._repair.died(contact.id, now)
        return self._rejoin()

    def hand_over(self, now: float, wall: float, then: Sequence[Effect] = ()) -> list[Effect]:
        """Give each item held to one more peer, and take none any more, because this peer leaves.

        The effects ``then`` and ``Notify(HandedOver)`` follow within :data:`p2pcpn.limits.HANDOVER_S`.
        """
        self._tick(now, wall)
        puts: list[Handed] = []
        for key, heirs in self._repair.heirs():
            item = self.storage.item(key, wall)
            puts += [Handed(make, list(heirs)) for make in item.puts(wall)] if item is not None else []
        self.storage.close()
        self._handing_over = HandingOver(puts, tuple(then), now)
        return self._hand_over()

    # --- time --------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``expire`` has something to do."""
        times = [self.requests.deadline(), self._bootstrap_due_s, self._again_due_s, self._repair.deadline()]
        if self._republishing < limits.REPUBLISHES_MAX:
            times += [self.storage.deadline(), self.published.deadline()]
        if self._handing_over is not None:
            times.append(self._handing_over.deadline())
        times.append(self.table.deadline() if len(self.table) else None)
        return min([due_s for due_s in times if due_s is not None], default=None)

    def expire(self, now: float, wall: float) -> list[Effect]:
        """Do what is due: repeats, refreshes, republishing, the bootstraps."""
        self._tick(now, wall)
        effects = self._settle(self.requests.expire(now))
        effects += self.storage.expire(now, wall)
        effects += self._republish()
        effects += [said for key, newcomer in self._repair.expire(now) for said in self._give(key, newcomer)]
        if self._handing_over is not None and (ended := self._handing_over.expire(now)):
            effects += ended
            self._handing_over = None
        if self._bootstrap_due_s is not None and now >= self._bootstrap_due_s:
            effects += self._ask_bootstraps()
        if self._again_due_s is not None and now >= self._again_due_s:
            self._again_due_s = None
            effects += self._begin(Finding(self.own, k=NEIGHBOURS * 3 // 4, paths=1))
        if len(self.table):
            targets, asked = self.table.refresh(now, near=NEIGHBOURS)
            for target in targets:
                effects += self._begin(Finding(target, k=limits.READ_PEERS, paths=1))
            for contact, target in asked:
                effects += self._ask_aside(contact, (glance := Glance(target)).question, glance)
        return effects + self._rejoin()

    def keeps_up(self, nonce: int) -> bool:
        """Whether that request passes on what is held: each hour, as a repair, or because this peer leaves."""
        purpose = self.requests.purpose_of(nonce)
        if isinstance(purpose, int):
            return isinstance(operation := self._running.get(purpose), Putting) and operation.ticket is None
        return purpose == _REPAIR or isinstance(purpose, Given | Handed)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is looked up, and nothing is about to be but what is refreshed now and then."""
        return not self._running and not self._waiting and self._again_due_s is None

    def statistics(self) -> dict[str, int]:
        """Counts of what is held and under way."""
        parts = self.table.statistics() | self.storage.statistics() | self._repair.statistics()
        under_way = {"operations": len(self._running) + len(self._waiting), "requests": len(self.requests)}
        return parts | under_way | {"false_replies": self._liars}

    # --- joining and republishing ------------------------------------------------------------------------------

    def _ask_bootstraps(self) -> list[Effect]:
        self._bootstrap_due_s = None
        if len(self.table) or not self.bootstraps:
            return []
        self.requests.cancel(_BOOTSTRAP)
        self._bootstraps_asked = len(self.bootstraps)
        return [said for contact in self.bootstraps for said in self._ask_whom_it_knows(contact, _BOOTSTRAP)]

    def _bootstrap_was_vain(self) -> list[Effect]:
        self._bootstraps_asked -= 1
        if self._bootstraps_asked or len(self.table):
            return []
        again_s = self._bootstrap_wait_s
        self._bootstrap_due_s = self._now + again_s
        self._bootstrap_wait_s = min(BOOTSTRAP_S_MAX, again_s * 2)
        return [Notify(BootstrapFailed(self.bootstraps, again_s))]

    def _rejoin(self) -> list[Effect]:
        if len(self.table) or not self._joined:
            return []
        self._joined = False
        return self._ask_bootstraps()

    def _republish(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._republishing < limits.REPUBLISHES_MAX:
            held = self.storage.turn(self._now, self._wall)
            due = (held, self.storage.copies) if held is not None else self.published.turn(self._now, self._wall)
            if due is None:
                break
            item, copies = due
            self._republishing += 1
            # Again each hour: its holders, and as many behind them as a reader asks, are enough to find who is new.
            effects += self._begin(Putting(item, copies, self._wall, k=copies + limits.READ_PEERS))
        return effects

    def _failed(self, contact: Contact) -> None:
        known = contact.id in self.table
        self.table.failed(contact, self._now)
        self._acquaintance.failed(contact)
        if known and contact.id not in self.table:
            self._repair.died(contact.id, self._now)

    def _give(self, key: bytes, newcomer: Contact) -> list[Effect]:
        """Hand what is held under ``key`` to one peer that should hold it."""
        puts = item.puts(self._wall) if (item := self.storage.item(key, self._wall)) is not None else ()
        return [said for make in puts for said in self._ask_aside(newcomer, make, Given(key))]

    def _hand_over(self) -> list[Effect]:
        assert self._handing_over is not None
        effects: list[Effect] = []
        while asks := self._handing_over.asks():
            for heir, put in asks:
                for effect in self.requests.ask(heir, put.make, put, self._now):
                    if isinstance(effect, Heard):  # more is asked already than may be
                        self._handing_over.settled(put, None, self._now)
                    else:
                        effects.append(effect)
        if ended := self._handing_over.done:
            effects += ended
            self._handing_over = None
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
        operation.begin(self._way(operation, self.table.nearest(operation.target, self._k)))
        return self._advance(self._number)

    def _way(self, operation: Finding, start: list[Contact]) -> Lookup | Roll:
        """How those are found whom an operation of our program asks: where all are known, by looking at the table."""
        reads = operation.reads(self.own, start) if self.storage.storing else limits.READ_PEERS
        dead = self.table.dead
        if isinstance(operation, Putting) and operation.knows:
            return Roll(self.own, operation.target, (), 0)
        if operation.ticket is not None and self._acquaintance.is_complete(self._now):
            silent = [it for it in start if dead.is_silent(it, self._now)]
            known = [it for it in start if it not in silent] if silent else start
            if isinstance(operation, Putting):
                operation.know(known)
                return Roll(self.own, operation.target, (), 0)
            if isinstance(operation, Getting):
                return Roll(self.own, operation.target, known + silent, reads)
        return Lookup(
            self.own, operation.target, start, k=min(self._k, operation.k), paths=operation.paths,
            patience=operation.patience, is_dead=lambda it: dead.is_dead(it, self._now),
            is_silent=lambda it: dead.is_silent(it, self._now), group=lambda it: self._network_group(it.address),
        )  # fmt: skip

    def _advance(self, number: int) -> list[Effect]:
        """Send what the operation asks now; finish it when it is done."""
        operation = self._running[number]
        effects: list[Effect] = []
        while not operation.done:
            if isinstance(operation, Putting) and not operation.storing and operation.located:
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

    def _ask_whom_it_knows(self, contact: Contact, purpose: str = _VERIFY) -> list[Effect]:
        return self._ask_aside(contact, lambda nonce: Find(nonce, self.own), purpose)

    def _ask_aside(self, contact: Contact, make: Callable[[int], Request], purpose: object) -> list[Effect]:
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
                self._failed(outcome.asked)
            if isinstance(outcome, Late) and outcome.asked.id != ANYBODY:
                self.table.dead.late(outcome.asked, self._now)
            if isinstance(outcome, Answered):
                refused = self._refusers.heard(outcome.peer, said := outcome.reply, self._now)
                if refused and isinstance(outcome.purpose, Given):
                    self.storage.hasten(outcome.purpose.key, self._now)
                self._acquaintance.named(getattr(said, "contacts", ()), self._now, asked=isinstance(said, Nodes))
                for stranger in strangers(outcome, self.own, self.table, self._now):
                    effects += self._ask_whom_it_knows(stranger)
            if isinstance(outcome.purpose, Handed) and self._handing_over is not None:
                self._handing_over.settled(outcome.purpose, outcome, self._now)
                effects += self._hand_over()
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

    def _is_refuser(self, node: bytes) -> bool:
        return self._refusers.is_one(node, self._now)

    def _held(self, key: bytes) -> tuple[Signed, Record] | None:
        signed = self.records.get(key, self._wall)
        return (signed, read(signed, Record)) if signed is not None else None

    def _store(self, operation: Putting) -> None:
        code, seq = None, 0
        if self.storage.storing and operation.is_near(self.own):
            code, seq, operation.own_writes = self.storage.keep(operation.item, self._now, self._wall)
        operation.store(code, seq, self._is_refuser)

    def _finish(self, operation: Finding) -> list[Effect]:
        self.table.looked_up(operation.target, self._now)
        if isinstance(operation, Putting):
            return self._finish_republish(operation) if operation.ticket is None else self._finish_put(operation)
        if isinstance(operation, Getting):
            return self._finish_get(operation)
        if isinstance(operation, Gathering | Fetching):
            return [Notify(operation.result())]
        if operation is self._joining:
            self._joining, self._joined = None, True
            self._again_due_s = self._now + NEIGHBOURS_AGAIN_S * self._rng.uniform(0.5, 1.0)
            effects: list[Effect] = [Notify(Joined(len(self.table)))]
            # Whoever joins later greets us as we greet others: a few in each bucket are a beginning.
            for target in self.table.refresh(self._now, thinner_than=limits.LOOKUP_PATHS + 1)[0]:
                effects += self._begin(Finding(target, k=limits.LOOKUP_PATHS, paths=1))
            return effects
        if operation.ticket is None:
            return []
        return [Notify(LookupDone(operation.ticket, operation.target, tuple(operation.lookup.nearest(self._k))))]

    def _finish_put(self, operation: Putting) -> list[Effect]:
        assert operation.ticket is not None
        self._put_again_soon(operation)
        self.published.kept(operation, self._now)
        done = PutDone(
            operation.ticket, operation.target, tuple(operation.holders), False, operation.code, operation.seq
        )
        if not operation.own_writes:
            return [Notify(done)]
        # Our own copy counts once it is durable, like anybody's.
        return [Commit(operation.own_writes, then=(Notify(replace(done, own_copy=True)),), otherwise=(Notify(done),))]

    def _put_again_soon(self, operation: Putting) -> None:
        """Do not wait for an hour where nobody took what our program wrote last, and nobody objected to it."""
        taken = operation.holders or operation.own_code == StoreCode.KEPT
        objected = operation.code in (StoreCode.OLDER, StoreCode.CAS)
        if not (taken or objected):
            self.published.again_soon(operation.target, operation.item, self._now)

    def _finish_republish(self, operation: Putting) -> list[Effect]:
        self._republishing -= 1
        self._put_again_soon(operation)
        key = operation.target
        effects: list[Effect] = [Commit(operation.own_writes)] if operation.own_writes else []
        if operation.own_code is not None:
            self._repair.is_needed(key)
        elif operation.settled >= (1 if self.storage.clearing else self.storage.copies) and key in self.storage:
            effects += self._rest_or_drop(operation)
        held = self._held(key)
        if operation.code == StoreCode.OLDER and held is not None and operation.seq > held[1].seq:
            effects += self._begin(Getting(key, held))  # others know a newer version: hold that one
        return effects

    def _rest_or_drop(self, operation: Putting) -> list[Effect]:
        """Nearer peers hold what we hold: pass it on more rarely, and no more at all when that stays so."""
        key = operation.target
        if self.storage.clearing or self._repair.is_surplus(key, operation.holders, self._now):
            return [Commit(self.storage.drop(key))]
        hours = limits.SURPLUS_S / limits.REFRESH_S * 1.25 if self._repair.watches(key) else REST_HOURS
        self.storage.rest(key, self._now, hours)
        return []

    def _finish_get(self, operation: Getting) -> list[Effect]:
        effects: list[Effect] = []
        key = operation.target
        if operation.best is None and operation.knew_all and not self._acquaintance.is_complete(self._now):
            return self._begin(Getting(key, None, operation.ticket))  # somebody named peers that we did not know
        signed, record = operation.best if operation.best is not None else (None, None)
        if (best := signed) is not None:
            for contact in operation.behind(self.storage.copies):
                if not self._is_refuser(contact.id):
                    effects += self._ask_aside(contact, lambda nonce: Put(nonce, best, None), _REPAIR)
            if key in self.records and self.records.get(key, self._wall) is not best:
                _, _, writes = self.storage.keep(RecordItem(best), self._now, self._wall)
                effects += [Commit(writes)] if writes else []
        if operation.ticket is not None:
            effects.append(Notify(GetDone(operation.ticket, key, signed, record)))
        return effects
