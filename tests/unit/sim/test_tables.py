"""Virtual peers of the hash table join, keep and find; one seed gives one trace."""

from __future__ import annotations

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.operations import GetDone, PutDone
from p2pcpn.sim.tables import Done, TableSwarm
from p2pcpn.wire.statements import Record, signed


def put_and_got(seed: int) -> tuple[TableSwarm, list[Done]]:
    swarm = TableSwarm(12, seed)
    swarm.join(3.0)
    clock, done = swarm.clock, list[Done]()
    item = signed(Record(b"salt", 1, clock.wall(), 1e6, b"value"), Keypair(bytes(32)))
    one, other = swarm.hosts[4], swarm.hosts[9]
    one.ask(lambda ticket: one.peer.dht.put(item, ticket, clock.now, clock.wall()), done.append)
    clock.run(clock.now + 10.0, lambda: bool(done))
    [put] = done
    assert isinstance(put, PutDone)
    other.ask(lambda ticket: other.peer.dht.get(put.key, ticket, clock.now, clock.wall()), done.append)
    clock.run(clock.now + 10.0, lambda: len(done) == 2)
    return swarm, done


def test_what_one_puts_another_gets_and_one_seed_gives_one_trace() -> None:
    swarm, (put, got) = put_and_got(1)
    assert isinstance(put, PutDone) and put.copies == 8
    assert isinstance(got, GetDone) and got.record is not None and got.record.value == b"value"
    assert put_and_got(1)[0].trace.hash == swarm.trace.hash != put_and_got(2)[0].trace.hash


def test_who_has_stopped_hears_and_says_nothing() -> None:
    swarm = TableSwarm(5, 1)
    swarm.join(2.0)
    host = swarm.hosts[2]
    host.stop()
    assert not host.runs
    sent = host.peer.pairs.statistics().get("sent", 0)
    swarm.clock.run(swarm.clock.now + 4000.0)  # past everybody's refresh
    assert host.peer.pairs.statistics().get("sent", 0) == sent
