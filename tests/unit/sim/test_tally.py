"""The tally: what is said to keep up what is held is told apart from all else."""

from __future__ import annotations

from functools import partial

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.deadlines import ALL
from p2pcpn.protocol.items import record_key
from p2pcpn.sim.host import Host
from p2pcpn.sim.tally import Counts, Tally
from p2pcpn.sim.world import World
from p2pcpn.wire.statements import Record, signed

OWNER = Keypair(bytes(range(32)))
PEERS = 8
KEY = record_key(OWNER.public, b"salt")


def _swarm(tally: Tally) -> World:
    world = World(3, PEERS, record_copies=2)

    def start(host: Host) -> None:
        world.start(host)
        assert host.peer is not None
        tally.watch(host.peer)

    for number in range(PEERS):
        host = world.host(f"peer-{number}", slots=1)
        if not world.seeds:
            world.seeds.append(host.address)
        world.clock.at(0.2 * number, partial(start, host))
    world.run(30.0)
    return world


def _put(world: World) -> None:
    host = world.hosts[3]
    assert host.peer is not None
    envelope = signed(Record(b"salt", 1, host.wall(), 86_400.0, b"value"), OWNER)
    host.follow(host.peer.dht.put(envelope, 7, world.clock.now, host.wall()))
    host.peer.dht.published._items.clear()  # whoever put it forgets it
    host.peer.dht.published._turns._due_s.clear()
    host.peer.deadlines.touched = ALL


def test_without_anything_held_nothing_is_said_to_keep_it_up() -> None:
    tally = Tally()
    world = _swarm(tally)
    world.run(2400.0)  # adverts are put again, and none of their holders has a turn before 0.8 hours
    counts = tally.counts
    assert counts.datagrams > 1000 and counts.bytes > 60 * counts.datagrams
    assert (counts.upkeep, counts.upkeep_bytes) == (0, 0)


def test_the_hourly_turn_of_a_record_is_counted_both_ways_and_the_put_is_not() -> None:
    tally = Tally()
    world = _swarm(tally)
    _put(world)
    world.run(60.0)
    assert tally.counts.upkeep == 0, "the program's own put is no repair"
    world.run(2 * 3600.0)
    counts = tally.counts
    assert 0 < counts.upkeep < counts.datagrams / 10
    assert not counts.upkeep % 2, "each question has an answer where nothing is lost"
    assert 80 * counts.upkeep < counts.upkeep_bytes < counts.bytes / 5


def test_the_death_of_a_holder_costs_repair_at_once() -> None:
    tally = Tally()
    world = _swarm(tally)
    _put(world)
    world.run(60.0)
    holders = [host for host in world.alive if host.peer is not None and KEY in host.peer.dht.records]
    assert len(holders) == 2
    before = tally.counts
    holders[0].crash(power=True)
    world.run(600.0)
    said = tally.counts.since(before)
    assert 0 < said.upkeep < said.datagrams
    assert len([host for host in world.alive if host.peer is not None and KEY in host.peer.dht.records]) >= 2


def test_counts_since_are_differences() -> None:
    assert Counts(5, 500, 2, 300).since(Counts(1, 100, 1, 100)) == Counts(4, 400, 1, 200)
