"""Records among whole peers in the simulator: no old value comes back, and deaths and goodbyes lose nothing."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol.items import RecordItem, record_key
from p2pcpn.protocol.operations import GetDone, PutDone
from p2pcpn.sim.host import Host
from p2pcpn.sim.world import World
from p2pcpn.wire.statements import Record, Signed, read, signed

PEERS = 20
SALT = b"salt"
TICKET = 77
# Each of 20 neighbours is probed once in two rounds of 5 s a probe, and suspected for some seconds; then survivors put.
NOTICED_S = 2 * PEERS * limits.PROBE_IDLE_S + 100.0


class Swarm:
    """Twenty peers that found each other, and an owner whose record they hold."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed, PEERS)
        self.hosts = [self.world.host(f"peer-{number}") for number in range(PEERS)]
        self.world.seeds = [self.hosts[0].address]
        for number, host in enumerate(self.hosts):
            self.world.clock.at(number * 0.05, lambda host=host: self.world.start(host))  # type: ignore[misc]
        self.owner = self.hosts[1].keypair
        self.key = record_key(self.owner.public, SALT)
        self.events: list[object] = []
        self.world.run(60.0)

    def run(self, seconds: float) -> None:
        self.world.run(self.world.clock.now + seconds)

    def signed(self, seq: int) -> Signed:
        return signed(Record(SALT, seq, self.world.clock.wall(), 7 * 86400.0, b"value %d" % seq), self.owner)

    def put(self, host: Host, item: Signed) -> PutDone:
        assert host.peer is not None
        host.follow(host.peer.dht.put(item, TICKET, self.world.clock.now, host.wall()))
        done = self._wait(host, PutDone)
        assert isinstance(done, PutDone)
        return done

    def get(self, host: Host) -> int | None:
        """The version that a peer finds."""
        assert host.peer is not None
        host.follow(host.peer.dht.get(self.key, TICKET, self.world.clock.now, host.wall()))
        done = self._wait(host, GetDone)
        assert isinstance(done, GetDone)
        return None if done.record is None else done.record.seq

    def _wait(self, host: Host, kind: type) -> object:
        heard: list[object] = []
        host.listeners.append(lambda event: heard.append(event) if getattr(event, "ticket", 0) == TICKET else None)
        self.run(10.0)
        host.listeners.pop()
        return next(event for event in heard if isinstance(event, kind))

    def held(self) -> dict[str, int]:
        """By holder the version that it holds."""
        found = {}
        for host in self.world.alive:
            assert host.peer is not None
            item = host.peer.dht.records.get(self.key, host.wall())
            if item is not None:
                found[host.name] = read(item, Record).seq
        return found


@pytest.mark.parametrize("seed", [1, 2])
def test_a_stale_replica_that_republishes_an_old_value_is_put_right_within_one_round(seed: int) -> None:
    swarm = Swarm(seed)
    old, new = swarm.signed(1), swarm.signed(2)
    assert swarm.put(swarm.hosts[1], old).copies == limits.RECORD_COPIES
    holder = next(host for host in swarm.hosts[2:] if host.name in swarm.held())
    holder.crash(power=True)
    swarm.run(60.0)
    assert swarm.put(swarm.hosts[1], new).copies >= limits.RECORD_COPIES - 1
    swarm.world.start(holder)
    swarm.run(1.0)
    assert holder.peer is not None
    stale = holder.peer.dht
    assert read(stale.records.get(swarm.key, holder.wall()) or new, Record).seq in (1, 2)
    # It republishes what it has, as it would within the hour, and says so as loudly as it can.
    holder.follow(stale.put(old, TICKET, swarm.world.clock.now, holder.wall()))
    swarm.run(1.3 * limits.REFRESH_S)
    held = swarm.held()
    assert len(held) >= limits.RECORD_COPIES
    assert set(held.values()) == {2}
    assert {swarm.get(host) for host in (swarm.hosts[3], holder, swarm.hosts[19])} == {2}


def test_copies_are_restored_when_holders_die_and_when_one_leaves_politely() -> None:
    swarm = Swarm(4)
    swarm.put(swarm.hosts[1], swarm.signed(1))
    dying = [host for host in swarm.hosts[2:] if host.name in swarm.held()][:3]
    for host in dying[:2]:
        host.crash(power=True)
    swarm.run(NOTICED_S)
    assert len(swarm.held()) >= limits.RECORD_COPIES
    leaver = dying[2]
    assert leaver.peer is not None
    before = set(swarm.held()) - {leaver.name}
    leaver.follow(leaver.peer.leave(swarm.world.clock.now))
    swarm.run(limits.HANDOVER_S)
    leaver.crash(power=True)
    assert len(set(swarm.held())) >= limits.RECORD_COPIES
    assert set(swarm.held()) > before
    assert swarm.get(swarm.hosts[19]) == 1
    assert isinstance(leaver.disk.get("records", (swarm.key,)), tuple)
    assert RecordItem(swarm.signed(1)).key == swarm.key
