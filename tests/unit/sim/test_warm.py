"""A warm start is like a swarm that joined: what its peers know, what they say, and what is found in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from statistics import mean

from p2pcpn import limits
from p2pcpn.protocol.announcement import ADVERT_SALT, again_s
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.rounds import LOOK
from p2pcpn.sim.convergence import Search, neighbours_wrong
from p2pcpn.sim.host import Host
from p2pcpn.sim.warm import AGED_S, together
from p2pcpn.sim.world import World
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Ping

PEERS = 150
# What joining stirs up is over by then.
CALM_S = 600.0
# Calm neighbours are pinged once in so long.
ROUND_S = 640.0


def made(peers: int = PEERS, seed: int = 3) -> World:
    world = World(seed, peers, noted=False)
    hosts = [world.host(f"peer-{number}") for number in range(peers)]
    world.seeds = [host.address for host in hosts[:3]]
    together(world, hosts)
    return world


@cache
def warm() -> World:
    """One for all tests that do not hurt it."""
    return made()


@cache
def joined() -> World:
    world = World(3, PEERS, noted=False)
    hosts = [world.host(f"peer-{number}") for number in range(PEERS)]
    world.seeds = [host.address for host in hosts[:3]]
    for number, host in enumerate(hosts):
        world.clock.at(0.01 * number, lambda host=host: world.start(host))
    world.run(CALM_S)
    return world


# Who joined ten minutes ago still puts and looks for as much again as it says otherwise.
SETTLED_S = 600.0


def of_all(world: World, look: Callable[[Host], float]) -> float:
    return mean(look(host) for host in world.alive)


def peer_of(host: Host):  # type: ignore[no-untyped-def]
    assert host.peer is not None
    return host.peer


LOOKS: dict[str, Callable[[Host], float]] = {
    "pairs": lambda host: peer_of(host).pairs.statistics()["pairs"],
    "table": lambda host: peer_of(host).dht.statistics()["peers"],
    "buckets": lambda host: peer_of(host).dht.statistics()["buckets"],
    "neighbours": lambda host: len(peer_of(host).neighbourhood),
    "adverts": lambda host: len(peer_of(host).directory),
    "round trips": lambda host: len(peer_of(host).roundtrips),
}


def test_peers_know_as_much_as_those_that_joined() -> None:
    for word, look in LOOKS.items():
        found, expected = of_all(warm(), look), of_all(joined(), look)
        assert 0.75 * expected <= found <= 1.33 * expected, f"{word}: {found}, and {expected} after joining"
    assert of_all(warm(), LOOKS["neighbours"]) == limits.NEIGHBOURHOOD_MAX


def test_the_round_trips_to_neighbours_are_as_short_as_those_of_peers_that_joined() -> None:
    def trips_s(host: Host) -> float:
        peer = peer_of(host)
        known = [peer.roundtrips.srtt_s(contact.id) for contact in peer.neighbourhood.contacts()]
        return mean(trip_s for trip_s in known if trip_s is not None)

    assert 0.7 <= of_all(warm(), trips_s) / of_all(joined(), trips_s) <= 1.4


def test_far_buckets_are_full_of_pairs_as_after_hours() -> None:
    def far(host: Host) -> list[Contact]:
        return [it for it in peer_of(host).dht.table.contacts() if (it.id[0] ^ host.id[0]) & 0x80]

    assert of_all(warm(), lambda host: len(far(host))) >= 0.93 * limits.BUCKET_PEERS
    for host in warm().alive:
        assert all(peer_of(host).pairs.say(it, Ping(1, 0)) is not None for it in far(host))


def test_the_first_choices_find_the_same_neighbours() -> None:
    def near(host: Host) -> set[bytes]:
        return {it.id for it in peer_of(host).neighbourhood.contacts()}

    world = made(seed=8)
    before = {host.id: near(host) for host in world.alive}
    world.run(world.clock.now + 600.0)
    assert of_all(world, lambda host: len(near(host) - before[host.id])) < 2.0


def test_afterwards_they_say_as_much_and_suspect_nobody() -> None:
    rates = []
    for world in (made(seed=4), joined()):
        world.run(world.clock.now + SETTLED_S)
        before, began = world.network.sent, world.clock.now
        world.run(began + 120.0)
        rates.append((world.network.sent - before) / 120.0 / PEERS)
        assert not neighbours_wrong(world)
        assert all(not peer_of(host).membership.statistics()["dead"] for host in world.alive)
    assert rates[0] <= 2.5 * rates[1] and rates[1] <= 2.5 * rates[0], rates


def test_every_advert_lies_at_its_holders_and_is_found() -> None:
    world = made(seed=5)
    world.run(world.clock.now + 1.0)
    keys = [record_key(host.keypair.public, ADVERT_SALT) for host in world.alive]
    for key in keys:
        assert sum(key in peer_of(host).dht.records for host in world.alive) == limits.RECORD_COPIES
        assert sum(host.disk.get("records", (key,)) is not None for host in world.alive) == limits.RECORD_COPIES
    search = Search(world.alive[10:14], keys[50:80])
    assert world.run(world.clock.now + 30.0, lambda: search.over)
    assert not search.wrong()


def test_what_repeats_stands_anywhere_in_its_period() -> None:
    world = made(60, seed=6)
    now = world.clock.now
    assert now == AGED_S
    advert_s = again_s(limits.ADVERT_AGAIN_S, len(world.alive))
    for due_s, most_s in (
        ([peer_of(host).membership.deadline() - now for host in world.alive], LOOK * 4 * limits.PROBE_IDLE_S),
        ([peer_of(host).announcement.deadline() - now for host in world.alive], advert_s),
    ):
        assert all(0.0 <= one <= most_s for one in due_s)
        assert max(due_s) - min(due_s) > most_s / 3


def watched_death(seed: int) -> tuple[World, Host, list[Host]]:
    """A swarm that a newcomer joined and where a peer has just died; that peer, and who watched it."""
    world = made(60, seed=seed)
    world.run(world.clock.now + 1.0)
    newcomer = world.host("newcomer")
    world.start(newcomer)
    world.run(world.clock.now + 10.0)
    # Sixteen are greeted by whoever joins; whom they name comes with the next looks around.
    assert len(peer_of(newcomer).dht.table) >= 16 and len(peer_of(newcomer).neighbourhood) >= 16
    dead = world.hosts[20]
    watchers = [host for host in world.alive if dead.id in peer_of(host).neighbourhood]
    assert len(watchers) > 10
    dead.crash(power=True)
    return world, dead, watchers


@cache
def known_after(seed: int) -> tuple[list[float], int]:
    """So many seconds after a death those who watched knew of it first; and how many do not know two minutes after."""
    world, dead, watchers = watched_death(seed)
    died_at, unaware, known_s = world.clock.now, watchers, list[float]()
    while world.clock.now < died_at + 120.0:
        world.run(world.clock.now + 1.0)
        knew = [host for host in unaware if dead.id not in peer_of(host).neighbourhood]
        known_s += [world.clock.now - died_at] * len(knew)
        unaware = [host for host in unaware if host not in knew]
    return known_s + [math.inf] * len(unaware), sum(dead.id in peer_of(host).neighbourhood for host in watchers)


def test_newcomers_join_it_and_most_deaths_are_known_after_two_minutes() -> None:
    # When the first watcher's turn comes is chance, half a minute in the mean. *Measured* in swarms 1 to 96: in two (9
    # and 54) it came so late that nobody knew after two minutes, in the others all did.
    counts = [(len(known_s), unaware) for known_s, unaware in map(known_after, range(1, 9))]
    assert sum(unaware <= watchers / 10 for watchers, unaware in counts) >= 6, counts
    assert sum(unaware for _, unaware in counts) <= 0.15 * sum(watchers for watchers, _ in counts), counts


def test_once_one_knows_of_a_death_all_who_watched_know_soon() -> None:
    # What is left is no chance of turns: a word, a probe that lasts up to four times as long, so that few speak for
    # all, and at most a suspicion. *Measured* in swarms 1 to 48: 9 s in the mean, 23 at the most.
    seen = [known_s for known_s, _ in map(known_after, range(1, 9)) if min(known_s) <= 90.0]
    assert len(seen) >= 6
    assert all(max(known_s) - min(known_s) <= 30.0 for known_s in seen), seen


def test_a_death_is_known_to_all_who_watched_after_a_round_and_a_suspicion() -> None:
    world, dead, unaware = watched_death(9)
    died_at = world.clock.now
    while world.clock.now < died_at + ROUND_S + 60.0:  # who knew it may be told of the dead by somebody who does not
        world.run(world.clock.now + 10.0)
        unaware = [host for host in unaware if dead.id in peer_of(host).neighbourhood]
    assert not unaware


def test_one_seed_makes_one_swarm() -> None:
    hashes = set()
    for _ in range(2):
        world = made(20, seed=8)
        world.run(world.clock.now + 60.0)
        hashes.add(world.trace.hash)
    assert len(hashes) == 1
