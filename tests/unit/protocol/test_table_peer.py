"""A peer of the hash table alone: greeted, asked and answered over datagrams, by peers of its kind."""

from __future__ import annotations

import math
import random

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.dht import Joined
from p2pcpn.protocol.effects import Commit, Effect, Heard, Notify, Send, SendBytes
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.operations import GetDone, PutDone
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.protocol.setup import Setup
from p2pcpn.protocol.table_peer import TablePeer
from p2pcpn.wire.addresses import Address, Contact, contact
from p2pcpn.wire.datagrams import Compound, Find, Get, Leave, Nodes, Ping, Put
from p2pcpn.wire.statements import Record, Role, signed

WALL = 1_700_000_000.0
KEY = bytes(range(32))


class Wire:
    """Two or more peers, whose datagrams arrive at once unless they are lost."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.events: list[object] = []
        self.peers: dict[Address, TablePeer] = {}
        for number in range(1, count + 1):
            keypair, address = Keypair(bytes(31) + bytes([number])), ("10.0.0.1", 4000 + number)
            setup = Setup(
                keypair=keypair, boot=1, contact=contact(keypair.id, address), rules=Rules((), "", 0, KEY), slots=0,
                roles=Role.STORAGE, network_group=lambda at: at,
            )  # fmt: skip
            self.peers[address] = TablePeer(setup, rng=random.Random(number), now=0.0, wall=lambda: WALL + self.now)

    def perform(self, address: Address, effects: list[Effect]) -> None:
        for effect in self.peers[address].perform(effects, self.now):
            if isinstance(effect, SendBytes):
                to = self.peers.get(effect.address)
                if to is not None:
                    self.perform(effect.address, to.datagram_received(effect.data, address, self.now))
            elif isinstance(effect, Commit):
                self.perform(address, list(effect.then))
            else:
                assert isinstance(effect, Notify)
                self.events.append(effect.event)

    def wait(self, until_s: float) -> None:
        while True:
            due = [(due_s, at) for at, peer in self.peers.items() if (due_s := peer.deadline()) is not None]
            due_s, address = min(due, default=(math.inf, ("", 0)))
            if due_s > until_s:
                self.now = until_s
                return
            self.now = max(self.now, due_s)
            self.perform(address, self.peers[address].expire(self.now))


def test_peers_join_by_a_bare_address_and_find_each_others_records() -> None:
    wire = Wire(3)
    first, second, third = wire.peers
    for address in (second, third):
        wire.perform(address, wire.peers[address].dht.bootstrap([contact(ANYBODY, first)], wire.now))
    wire.wait(5.0)
    assert sum(isinstance(event, Joined) for event in wire.events) >= 2
    owner = Keypair(bytes(32))
    item = signed(Record(b"salt", 1, WALL, 1e6, b"value"), owner)
    wire.perform(second, wire.peers[second].dht.put(item, 1, wire.now, WALL))
    wire.perform(third, wire.peers[third].dht.get(record_key(owner.public, b"salt"), 2, wire.now, WALL))
    put, got = wire.events[-2:]
    assert isinstance(put, PutDone) and put.copies == 3
    assert isinstance(got, GetDone) and got.signed == item


def test_a_probe_is_answered_and_what_is_none_of_its_business_is_not() -> None:
    wire = Wire(2)
    (_, one), (second, other) = wire.peers.items()
    wire.perform(second, [Send(one.contact, Ping(7, 0))])
    assert other.pairs.established(one.contact.id)
    [sent] = one.perform([Heard(Ping(7, 0), other.contact)], 0.0)
    assert isinstance(sent, SendBytes) and sent.address == second
    assert one.perform([Heard(Leave(0), other.contact)], 0.0) == []
    assert len(one.perform([Heard(Compound(Ping(7, 0), [], []), other.contact)], 0.0)) == 1, "rumors may ride with it"


def test_a_liar_answers_questions_in_the_tables_place_and_nothing_else() -> None:
    wire = Wire(2)
    (_, one), (second, other) = wire.peers.items()
    wire.perform(second, [Send(one.contact, Ping(7, 0))])
    asked: list[Find | Get | Put] = []

    def lie(asker: Contact, question: Find | Get | Put) -> list[Effect]:
        asked.append(question)
        return [Send(asker, Nodes(question.nonce, []))]

    one.liar = lie
    [sent, *_] = one.perform([Heard(Find(8, KEY[:20]), other.contact)], 0.0)
    assert isinstance(sent, SendBytes) and sent.address == second and asked == [Find(8, KEY[:20])]
    one.perform([Heard(Nodes(9, []), other.contact)], 0.0)
    assert len(asked) == 1


def test_a_peer_that_cannot_be_greeted_is_dead() -> None:
    wire = Wire(1)
    [(address, peer)] = wire.peers.items()
    gone = contact(b"g" * 20, ("10.0.0.9", 4000))
    wire.perform(address, [Send(gone, Ping(1, 0))])
    wire.wait(10.0)
    assert peer.dht.table.dead.is_dead(gone, wire.now)
