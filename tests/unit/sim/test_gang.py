"""A gang lies in every way there is, and each lie is one that a strict reader of replies cannot tell from the truth."""

from __future__ import annotations

import random

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.effects import Heard, Send
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.replies import believed
from p2pcpn.sim.gang import Gang, turn_hostile
from p2pcpn.sim.tables import TableSwarm
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import CODEC, Find, Get, Nodes, Put, StoreCode, Stored, Value
from p2pcpn.wire.statements import Record, Signed, signed

OWNER = Keypair(bytes(32))
WALL = 1_750_000_000.0


def record(salt: bytes, seq: int = 1) -> Signed:
    return signed(Record(salt, seq, WALL, 1e6, b"value"), OWNER)


def gang_of(count: int) -> tuple[TableSwarm, Gang]:
    swarm = TableSwarm(count, 1)
    gang = Gang([host.contact for host in swarm.hosts[1:]], random.Random(1))
    for salt in (b"a", b"b"):
        gang.seen[record_key(OWNER.public, salt)] = record(salt)
    return swarm, gang


def test_whom_a_gang_names_is_itself_or_invented_and_always_believable() -> None:
    swarm, gang = gang_of(30)
    asker, liar, target = swarm.hosts[0].contact, gang.members[0], b"\x42" * 20
    named: list[Contact] = []
    for _ in range(20):
        reply = gang.named(target, asker.id, liar.id)
        assert believed(liar, target, reply, asker.id) == reply
        named += reply
    real = {it.id for it in gang.members}
    assert {it.id in real for it in named} == {True, False}
    assert {(it.host, it.port) for it in named} <= {(it.host, it.port) for it in gang.members}


def test_a_gang_gives_old_forged_foreign_values_or_none() -> None:
    _, gang = gang_of(5)
    key = record_key(OWNER.public, b"a")
    given = [gang.value(key) for _ in range(60)]
    oldest = gang.seen[key]
    assert oldest in given and None in given and record(b"b") in given
    assert any(it is not None and it.body != oldest.body and it.signature == oldest.signature for it in given)
    assert set(map(type, (gang.value(b"x" * 20) for _ in range(20)))) <= {Signed, type(None)}


def test_a_hostile_peer_lies_to_every_question_or_is_deaf_and_refuses_or_drops_what_it_is_to_keep() -> None:
    swarm, gang = gang_of(30)
    asker, codes = swarm.hosts[0].contact, set()
    deaf = 0
    for host in swarm.hosts[1:]:
        liar = turn_hostile(host.peer, gang)
        for question, answer in (
            (Find(1, b"t" * 20), Nodes),
            (Get(2, record_key(OWNER.public, b"a"), 0), Value),
            (Put(3, record(b"c"), None), Stored),
        ):
            host.peer.perform([Heard(question, asker)], 0.0)
            sent = liar.answer(asker, question)
            replies = [e.message for e in sent if isinstance(e, Send) and isinstance(e.message, answer)]
            assert len(replies) == len(sent) == (not liar.deaf)
            for reply in replies:
                CODEC.encode(reply)  # it fits a datagram
                if isinstance(reply, Stored):
                    codes.add(reply.code)
        deaf += liar.deaf
        assert record_key(OWNER.public, b"c") not in host.peer.dht.records
        assert host.peer.perform([Heard(Nodes(9, []), asker)], 0.0) == [], "its own lookups are those of all"
    assert 0 < deaf < len(gang.members)
    assert codes == {StoreCode.KEPT, StoreCode.REFUSED}
