"""What tests of the DHT share: peers on a virtual network, records and provider records."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.dht import Dht
from p2pcpn.protocol.effects import Commit, Effect, Notify, Send
from p2pcpn.protocol.gathering import ProvidersDone
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.operations import GetDone, PutDone
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.wire.addresses import Address, Contact, contact
from p2pcpn.wire.datagrams import CODEC
from p2pcpn.wire.statements import ProviderRecord, Record, Signed, signed

WALL = 1_700_000_000.0
OWNER = Keypair(bytes(31) + b"\x01")


def by_address(address: Address) -> Address:
    return address


@dataclass
class Network:
    """Peers by address; datagrams take 5 to 25 ms, and a share of them is lost."""

    seed: int = 1
    loss: float = 0.0
    now: float = 0.0
    peers: dict[Address, Dht] = field(default_factory=dict)
    events: dict[Address, list[object]] = field(default_factory=dict)
    sent: int = 0
    disk_works: bool = True

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._queue: list[tuple[float, int, Contact, Contact, bytes]] = []
        self._number = 0

    def add(self, storage: bool = True) -> Contact:
        it = contact(self.rng.randbytes(20), ("10.0.0.1", 1000 + len(self.events)))
        rng = random.Random(self.rng.random())
        self.peers[it.address] = Dht(it.id, rng, by_address, RoundTrips(), self.now, storage=storage)
        self.events[it.address] = []
        return it

    def wall(self) -> float:
        return WALL + self.now

    def perform(self, it: Contact, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.sent += 1
                body = CODEC.encode(effect.message)
                if self.rng.random() >= self.loss:
                    self._number += 1
                    due_s = self.now + self.rng.uniform(0.005, 0.025)
                    heapq.heappush(self._queue, (due_s, self._number, it, effect.to, body))
            elif isinstance(effect, Commit):
                self.perform(it, list(effect.then if self.disk_works else effect.otherwise))
            elif isinstance(effect, Notify):
                self.events[it.address].append(effect.event)
            else:
                raise AssertionError(effect)

    def run(self, until_s: float, enough: Callable[[], bool] = lambda: False) -> None:
        while not enough():
            timers = [(due_s, address) for address, it in self.peers.items() if (due_s := it.deadline()) is not None]
            due_s, address = min(timers, default=(until_s, ("", 0)))
            if self._queue and self._queue[0][0] <= due_s:
                at, _, sender, to, body = heapq.heappop(self._queue)
                if at > until_s:
                    break
                self.now = max(self.now, at)
                it = self.peers.get(to.address)
                if it is not None and to.id in (it.own, ANYBODY):
                    me = contact(it.own, to.address)
                    message = CODEC.decode(body)
                    self.perform(me, it.receive(sender, message, self.now, self.wall()))  # type: ignore[arg-type]
            elif due_s >= until_s:
                break
            else:
                self.now = max(self.now, due_s)
                it = self.peers[address]
                self.perform(contact(it.own, address), it.expire(self.now, self.wall()))
        else:
            return
        self.now = until_s

    def wait(self, it: Contact, kind: type, within_s: float = 60.0) -> object:
        """The next event of ``kind`` at ``it``, which is taken away."""
        events = self.events[it.address]
        self.run(self.now + within_s, lambda: any(isinstance(event, kind) for event in events))
        found = next(event for event in events if isinstance(event, kind))
        events.remove(found)
        return found

    def put(self, it: Contact, item: Signed, **options: int) -> PutDone:
        self.perform(it, self.peers[it.address].put(item, 1, self.now, self.wall(), **options))
        done = self.wait(it, PutDone)
        assert isinstance(done, PutDone)
        return done

    def get(self, it: Contact, key: bytes) -> GetDone:
        self.perform(it, self.peers[it.address].get(key, 2, self.now, self.wall()))
        done = self.wait(it, GetDone)
        assert isinstance(done, GetDone)
        return done

    def holders(self, key: bytes) -> list[Contact]:
        return [contact(it.own, address) for address, it in self.peers.items() if key in it.records]


def swarm(count: int, seed: int = 1, loss: float = 0.0) -> tuple[Network, list[Contact]]:
    net = Network(seed)
    contacts = [net.add() for _ in range(count)]
    bootstrap = contact(ANYBODY, contacts[0].address)
    for it in contacts[1:]:
        net.perform(it, net.peers[it.address].bootstrap([bootstrap], net.now))
        net.run(net.now + 0.1)
    net.run(net.now + 5.0)
    net.loss = loss
    return net, contacts


def record(seq: int = 1, salt: bytes = b"salt", value: bytes = b"value", retention_s: float = 1e6) -> Signed:
    return signed(Record(salt, seq, WALL, retention_s, value), OWNER)


KEY = record_key(OWNER.public, b"salt")


def provider(number: int, key: bytes = KEY, seq: int = 1, retention_s: float = 7200.0) -> Signed:
    keys = Keypair(number.to_bytes(32, "big"))
    where = contact(keys.id, (f"10.9.{number >> 8}.{number & 255}", 4000))
    return signed(ProviderRecord(key, seq, WALL + number, retention_s, where), keys)


def provide(net: Network, it: Contact, item: Signed) -> PutDone:
    net.perform(it, net.peers[it.address].provide(item, 3, net.now, net.wall()))
    done = net.wait(it, PutDone)
    assert isinstance(done, PutDone)
    return done


def providers(net: Network, it: Contact, wanted: int = 16) -> ProvidersDone:
    net.perform(it, net.peers[it.address].get_providers(KEY, 4, net.now, net.wall(), wanted))
    done = net.wait(it, ProvidersDone)
    assert isinstance(done, ProvidersDone)
    return done
