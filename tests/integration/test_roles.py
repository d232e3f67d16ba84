"""Roles: who stores holds keys for others, who only computes holds none, who cannot be reached is not looked for."""

from __future__ import annotations

from p2pcpn.protocol.items import record_key
from p2pcpn.sim.convergence import Search
from p2pcpn.sim.host import Host
from p2pcpn.sim.world import World
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.statements import Role

COMPUTES, STORES = int(Role.COMPUTE), int(Role.STORAGE)


def formed(hosts: list[Host]) -> None:
    world = hosts[0].world
    world.seeds = [hosts[0].address]
    for host in hosts:
        world.start(host)
    world.run(10.0)


def put(hosts: list[Host], count: int) -> list[bytes]:
    """Each of the hosts puts ``count`` records; their keys."""
    keys = []
    for host in hosts:
        assert host.peer is not None
        for number in range(count):
            salt = b"%d" % number
            host.follow(host.peer.put_record(salt, b"value", 3600.0, host.keypair, 0, host.clock.now))
            keys.append(record_key(host.keypair.public, salt))
    world = hosts[0].world
    world.run(world.clock.now + 20.0)
    return keys


def found(hosts: list[Host], keys: list[bytes]) -> str:
    search = Search(hosts, keys)
    world = hosts[0].world
    world.run(world.clock.now + 60.0, lambda: search.over)
    return search.wrong()


def held(host: Host) -> int:
    assert host.peer is not None
    return len(host.peer.dht.records)


def test_only_those_who_store_hold_keys_and_everybody_finds_them() -> None:
    world = World(1, 16)
    storing = [world.host(f"stores-{n}", roles=STORES, slots=0) for n in range(5)]
    computing = [world.host(f"computes-{n}", roles=COMPUTES) for n in range(11)]
    formed([*storing, *computing])
    keys = put([*storing, *computing], 2)
    assert [held(host) for host in computing] == [0] * 11
    assert min(held(host) for host in storing) > 0
    assert found([*storing, *computing], keys) == ""


def test_nobody_looks_for_keys_at_a_peer_behind_a_nat() -> None:
    world = World(1, 12)
    open_ = [world.host(f"open-{n}") for n in range(9)]
    hidden = [world.host(f"hidden-{n}", roles=COMPUTES) for n in range(3)]
    for host in hidden:  # it says that it listens at 4999, and is seen at another port
        host.contact = contact(host.id, (host.address[0], 4999))
    formed([*open_, *hidden])
    keys = put([*open_, *hidden], 2)
    ids = {host.id for host in hidden}
    for host in (*open_, *hidden):
        assert host.peer is not None
        assert not ids & {known.id for known in host.peer.dht.table.contacts()}
    assert [held(host) for host in hidden] == [0, 0, 0]
    assert found([*open_, *hidden], keys) == "", "those behind a NAT put and get like anybody"
