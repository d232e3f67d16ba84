"""What the tests of pairs share: peers on a wire whose datagrams are delivered, lost, repeated or swapped by hand."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.effects import Effect, Heard, SendBytes
from p2pcpn.protocol.pairs import Pairs
from p2pcpn.wire.addresses import Address, Contact, contact
from p2pcpn.wire.datagrams import Datagram, Leave

MEETING = Leave(0)


@dataclass
class Wire:
    """``flying`` are the datagrams under way, as (from, to, bytes); ``heard`` what each address heard, in order."""

    now: float = 1000.0
    peers: dict[Address, Pairs] = field(default_factory=dict)
    flying: list[tuple[Address, Address, bytes]] = field(default_factory=list)
    heard: dict[Address, list[Heard]] = field(default_factory=lambda: defaultdict(list))

    def add(self, number: int, boot: int = 1, address: Address | None = None, **options: Any) -> Address:
        """A peer (or another boot of it) at ``192.0.2.<number>:4000`` or ``address``."""
        where = address or (f"192.0.2.{number}", 4000)
        options.setdefault("port", 4000)
        self.peers[where] = Pairs(Keypair(bytes([number]) * 32), boot, random.Random(number * 1000 + boot), **options)
        return where

    def contact(self, address: Address) -> Contact:
        """The contact of the peer that is at ``address``."""
        return contact(self.peers[address].id, address)

    def say(self, sender: Address, to: Address | Contact, message: Datagram) -> None:
        """``sender`` says ``message``; an address stands for its peer's contact."""
        target = to if isinstance(to, Contact) else self.contact(to)
        self.perform(sender, self.peers[sender].send(target, message, self.now))

    def perform(self, address: Address, effects: Iterable[Effect]) -> None:
        """What the peer at ``address`` wants done."""
        for effect in effects:
            if isinstance(effect, SendBytes):
                self.flying.append((address, effect.address, effect.data))
            else:
                assert isinstance(effect, Heard)
                self.heard[address].append(effect)

    def deliver(self, source: Address, target: Address, data: bytes) -> None:
        """One datagram reaches whoever is at ``target``."""
        if target in self.peers:
            self.perform(target, self.peers[target].receive(data, source, self.now))

    def step(self, at: int = 0) -> tuple[Address, Address, bytes]:
        """Deliver one datagram that is under way."""
        found = self.flying.pop(at)
        self.deliver(*found)
        return found

    def run(self) -> None:
        """Deliver in order until nothing is under way."""
        steps = 0
        while self.flying:
            self.step()
            steps += 1
            assert steps < 1000, "they never stop talking"

    def wait(self, seconds: float) -> None:
        """Let time pass, waking each peer when it asked to be woken."""
        self.run()
        end = self.now + seconds
        while True:
            due = [(at, where) for where, peer in self.peers.items() if (at := peer.deadline()) is not None]
            first = min(due, default=(end + 1, None))
            if first[1] is None or first[0] > end:
                break
            self.now = max(self.now, first[0])
            self.perform(first[1], self.peers[first[1]].expire(self.now))
            self.run()
        self.now = end

    def meet(self, one: Address, other: Address) -> None:
        """Make the two a pair, with nothing left to say."""
        self.say(one, other, MEETING)
        self.run()
        self.heard.clear()

    def said(self, address: Address, kind: type | None = None) -> list[Any]:
        """The values that ``address`` heard, of one kind if one is named."""
        return [heard.value for heard in self.heard[address] if kind is None or isinstance(heard.value, kind)]

    def count(self, address: Address, name: str) -> int:
        """One of the peer's counts."""
        return self.peers[address].statistics().get(name, 0)


@pytest.fixture
def wire() -> Wire:
    """An empty wire."""
    return Wire()


@pytest.fixture(scope="session")
def new_wire() -> Callable[[], Wire]:
    """Makes wires, for tests that need one an example."""
    return Wire
