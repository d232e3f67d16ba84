"""A warm start: a swarm that came together long ago, made without a single datagram of its coming together.

Each peer's real machines are given, through their own inputs and as of the past, what they would know by now: the pairs
they made, whom their tables heard, round trips, neighbours, adverts, and the adverts that lie at their holders in the
DHT. Who knows whom follows from all ids (:mod:`p2pcpn.sim.circles`). Timers stand anywhere in their periods, as they do
after hours, and everybody is calm: nobody was doubted for long. Far buckets are full, each of their peers spoke within
the hours in which all of them are asked, and another choice of neighbours finds the same ones. So the swarm is
statistically like one that joined, and goes on like it; only what a greeting would have shown (that both ends agree on
a key) and a lookup would have found (the nearest) is known here and not said. There is one thing it lacks: rumors of
the last minutes. Nothing was said in them.

Peers that come later join by the way of all.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.announcement import ADVERT_SALT, PUBLISH_S, again_s
from p2pcpn.protocol.gossip import COMPARE_RARER_MAX
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.membership import CALM_RARER_MAX
from p2pcpn.protocol.neighbourhood import RARER_MAX_S
from p2pcpn.protocol.peer import Peer
from p2pcpn.protocol.published import BELIEVED_S
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.protocol.reunion import REUNION_S, REUNION_S_MAX
from p2pcpn.protocol.roundtrip import FIRST_EXCHANGE_TRIPS
from p2pcpn.protocol.table import ASKED_OF_FAR, ID_BITS, distance
from p2pcpn.sim.circles import Circles
from p2pcpn.sim.host import Host
from p2pcpn.sim.world import World
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.datagrams import Find, Nodes, Put, StoreCode, Stored
from p2pcpn.wire.envelope import TRAFFIC, VERSION, Header
from p2pcpn.wire.statements import Advert, Record, Signed, read

# So old are the peers when all stand there: each has said several times what it is.
AGED_S = 4.0 * limits.REFRESH_S
# They have joined by then, so long before.
JOINED_S = 60.0
# Who has a role and is well is asked so often that three samples of it were taken.
SAMPLES = 3


def together(world: World, hosts: Sequence[Host]) -> None:
    """Start the peers of ``hosts``, off so far, as members of a swarm that came together long ago: ``AGED_S`` from now.

    ``world.seeds`` are whom each knows from its configuration.
    """
    world.run(world.clock.now + AGED_S)
    world.clock.at(world.clock.now, _Swarm(world, hosts).make)
    world.run(world.clock.now)


class _Swarm:
    """The making: in the order in which each machine's past went."""

    def __init__(self, world: World, hosts: Sequence[Host]) -> None:
        self._world = world
        self._hosts = hosts
        self._now = world.clock.now
        self._chance = [world.dice.stream("warm", host.name) for host in hosts]
        ports, delay_s = [host.port for host in hosts], world.network.delay_s
        self._circles = Circles(
            [host.id for host in hosts],
            lambda one, other: delay_s(ports[one], ports[other]),
            self._chance,
            [number for number, host in enumerate(hosts) if host.address in world.seeds],
        )
        self._peers: list[Peer] = []

    def make(self) -> None:
        """All of it."""
        self._peers = [host.begin(self._now - AGED_S) for host in self._hosts]
        published_s = self._say_adverts()
        for number in range(len(self._hosts)):
            self._grow_old(number)
            self._join(number)
            self._choose_neighbours(number)
        self._greet(published_s)
        for number, at_s in enumerate(published_s):
            self._hold(number, at_s)
        for host in self._hosts:
            host.follow([])

    # --- what was said ----------------------------------------------------------------------------------------------

    def _say_adverts(self) -> list[float]:
        """Each said what it is, and said it again; others heard both. Returns when each was put into the DHT last."""
        heard: list[list[int]] = [[] for _ in self._hosts]  # whose adverts each heard
        for number, hearers in enumerate(self._circles.hears):
            for hearer in hearers:
                heard[hearer].append(number)
        said_s: list[float] = []
        published_s: list[float] = []
        firsts_s: list[float] = []
        # Nothing of it is a rumor any more when comparisons begin.
        quiet_s = limits.RUMOR_S + COMPARE_RARER_MAX * self._world.pulse.compare_s
        for number, host in enumerate(self._hosts):
            dice, wait_s = self._chance[number], again_s(self._world.pulse.advert_s, 1 + len(heard[number]))
            turns = math.ceil(max(self._world.pulse.advert_s, PUBLISH_S) / wait_s)
            turn = dice.randint(1, turns)
            said_s.append(self._now - quiet_s - dice.random() * (wait_s - quiet_s))
            first_s = said_s[-1] - turn * wait_s
            published_s.append(said_s[-1] if turn == turns else first_s)
            firsts_s.append(first_s)
            self._perform(host, self._peers[number].advertise(host.advert(), first_s, changed=True))
        self._hear_adverts(heard, firsts_s)
        for number, host in enumerate(self._hosts):
            self._perform(host, self._peers[number].announced(said_s[number]), said_s[number])
        self._hear_adverts(heard, said_s)
        return published_s

    def _hear_adverts(self, heard: list[list[int]], said_s: Sequence[float]) -> None:
        """One hearer after the other: its memory is at hand then."""
        said: list[tuple[Advert, Signed, float]] = []
        for host, peer, at_s in zip(self._hosts, self._peers, said_s, strict=True):
            listed = peer.directory.get(host.id)
            assert listed is not None
            said.append((listed.advert, listed.signed, at_s))
        for peer, numbers in zip(self._peers, heard, strict=True):
            hear = peer.directory.heard
            for number in numbers:
                hear(*said[number])

    def _perform(self, host: Host, effects: Iterable[fx.Effect], at_s: float | None = None) -> None:
        assert host.peer is not None
        done = list(effects) if at_s is None else host.peer.perform(effects, at_s)
        assert not any(isinstance(effect, fx.SendBytes) for effect in done), "who knows nobody spoke to somebody"
        host.perform(done)

    # --- what passed ------------------------------------------------------------------------------------------------

    def _grow_old(self, number: int) -> None:
        """Nothing happened for long: who slows down where all is well has done so."""
        peer, dice, pulse, now = self._peers[number], self._chance[number], self._world.pulse, self._now
        calm_s = CALM_RARER_MAX * pulse.probe_s
        peer.membership.expire(now - dice.random() * calm_s)
        pause_s = COMPARE_RARER_MAX * pulse.compare_s
        last_s = now - dice.random() * pause_s
        for before in (2.0, 1.0, 0.0):
            peer.gossip.expire(last_s - before * 1.5 * pause_s)
        last_s = now - dice.random() * REUNION_S_MAX
        for before in range(math.ceil(math.log2(REUNION_S_MAX / REUNION_S)), -1, -1):
            peer.reunion.expire(last_s - before * 1.5 * REUNION_S_MAX)

    def _join(self, number: int) -> None:
        """Whoever was asked first named nobody; then all were heard who are known."""
        peer, host, dice = self._peers[number], self._hosts[number], self._chance[number]
        friend = self._hosts[self._circles.met[number][0]].contact
        at_s, wall = self._now - JOINED_S, host.wall() - JOINED_S
        effects = peer.dht.heard(friend, at_s)
        for wait_s in (0.0, 5.0):  # it looks around once more
            at_s += wait_s
            effects += peer.dht.expire(at_s, wall + wait_s) if wait_s else []
            while asked := [effect.message for effect in effects if isinstance(effect, fx.Send)]:
                effects = []
                for question in asked:
                    effects += peer.dht.receive(friend, _answer(question), at_s, wall + wait_s)
        met = list(self._circles.met[number])
        dice.shuffle(met)
        met.sort(key=lambda other: self._hosts[other].address not in self._world.seeds)  # met first, they stay
        for place, other in enumerate(met):
            at_s = self._now - JOINED_S / 2 * (1.0 - place / len(met))
            peer.dht.table.heard(self._hosts[other].contact, at_s)
        own = int.from_bytes(peer.id, "big")
        for bit in range(
            1, len(self._hosts).bit_length() + 1
        ):  # each bucket was looked into some time in the last hour
            aim = own ^ 1 << (ID_BITS - bit)
            peer.dht.table.looked_up(aim.to_bytes(ID_BITS // 8, "big"), self._now - dice.random() * limits.REFRESH_S)
        bootstraps = [contact(ANYBODY, address) for address in self._world.seeds if address != host.address]
        assert not peer.dht.bootstrap(bootstraps, self._now)

    def _choose_neighbours(self, number: int) -> None:
        """From all it met and heard of, several times: the choice is steady."""
        peer, host = self._peers[number], self._hosts[number]
        # Four choices: the waits between them come to as much as the last one.
        first_s = self._now - (1.0 + self._chance[number].random()) * RARER_MAX_S
        for other in self._circles.asked[number]:
            way_s = self._there_and_back_s(host, self._hosts[other])
            peer.roundtrips.observe(self._hosts[other].id, FIRST_EXCHANGE_TRIPS * way_s)  # greeted first
        for listed in peer.directory.contacts(self._now):
            if listed.id != peer.id:
                peer.neighbourhood.heard(listed, first_s, direct=False)
        for other in self._circles.met[number]:  # since then, so of too many candidates these are not dropped
            peer.neighbourhood.heard(self._hosts[other].contact, first_s)
        sampled: set[bytes] = set()
        while (due_s := peer.neighbourhood.deadline()) is not None and due_s <= self._now:
            peer.neighbourhood.expire(due_s)
            for neighbour in peer.neighbourhood.contacts():  # who was asked seems nearer than who was only greeted
                if neighbour.id not in sampled:
                    sampled.add(neighbour.id)
                    way_s = self._there_and_back_s(host, self._world.at[neighbour.address])
                    for _ in range(SAMPLES):
                        peer.roundtrips.observe(neighbour.id, way_s)

    def _there_and_back_s(self, one: Host, other: Host) -> float:
        return 2.0 * self._world.network.delay_s(one.port, other.port)

    # --- between two ------------------------------------------------------------------------------------------------

    def _greet(self, published_s: Sequence[float]) -> None:
        """Everybody has a pair with whom it met, put its advert to its holders, and spoke to its neighbours in their
        last round."""
        numbers = {host.id: number for number, host in enumerate(self._hosts)}
        spoke_s: dict[tuple[int, int], float] = {}
        pause_s = CALM_RARER_MAX * self._world.pulse.probe_s
        for peer, dice in zip(self._peers, self._chance, strict=True):
            peer.membership.rounds.turn(_neighbours(peer), pause_s, self._now - dice.random() * pause_s)
        for number, peer in enumerate(self._peers):
            dice = self._chance[number]
            for other in self._circles.met[number]:
                ends = min(number, other), max(number, other)
                spoke_s.setdefault(ends, self._now - dice.random() * self._silent_s(*ends))
            for other in self._holders(number):
                if other != number:
                    ends = min(number, other), max(number, other)
                    spoke_s[ends] = max(spoke_s.get(ends, 0.0), published_s[number])
            neighbours = _neighbours(peer)
            for node in neighbours:
                at_s = self._now - dice.random() * pause_s * len(neighbours)
                other = numbers[NodeId(node)]
                spoke_s[min(number, other), max(number, other)] = at_s
                peer.neighbourhood.heard(self._hosts[other].contact, at_s)
                peer.membership.rounds.asked(node, at_s)
                self._peers[other].membership.rounds.met(peer.id, at_s)
        self._make_pairs(sorted((at_s, one, other) for (one, other), at_s in spoke_s.items()))

    def _make_pairs(self, spoke: Iterable[tuple[float, int, int]]) -> None:
        """What a hello and its welcome would have made at those times, sequences included, between those two.

        One peer after the other, each in its order of time: the memory of a peer is at hand then, as it is not where
        two of ten thousand are touched with each pair.
        """
        last: list[list[tuple[float, int, int]]] = [[] for _ in self._hosts]  # when, with whom, our place in its list
        for at_s, one, other in spoke:
            ones, others = last[one], last[other]
            place = len(ones)
            ones.append((at_s, other, len(others)))
            others.append((at_s, one, place))
        said: list[array[int]] = []
        for peer, mine in zip(self._peers, last, strict=True):
            greet = peer.pairs.table.signed_sequence
            # All spoke so lately that the pairs live: a full bucket's within 12,000 s, all others within 4,200.
            assert not mine or mine[0][0] > self._now - limits.PAIR_SILENT_S
            said.append(array("Q", [greet(self._hosts[other].id) for _, other, _ in mine]))
        for number, (host, peer) in enumerate(zip(self._hosts, self._peers, strict=True)):
            pairs, met, know = peer.pairs.table, peer.membership.heard, peer.dht.table
            for at_s, other, place in last[number]:
                its = self._hosts[other]
                if its.id in know:
                    know.heard(its.contact, at_s)
                greeting = Header(VERSION, TRAFFIC, its.id, host.id, its.boot, said[other][place])
                pairs.establish(greeting, its.keypair.public, its.contact, VERSION, its.roles, at_s)
                if other < number:  # it said hello
                    pairs.pairs[its.id].port = its.contact.port
                met(its.contact, at_s)

    def _silent_s(self, one: int, other: int) -> float:
        """How long two who met may have been silent: each asks some of a full bucket in an hour, and some ask it."""
        shared_bits = ID_BITS - distance(self._hosts[one].id, self._hosts[other].id).bit_length()
        if len(self._hosts) >> (shared_bits + 1) <= limits.BUCKET_PEERS:
            return limits.REFRESH_S
        return limits.BUCKET_PEERS / (2 * ASKED_OF_FAR) * limits.REFRESH_S

    def _hold(self, number: int, at_s: float) -> None:
        """The advert of a peer was put at ``at_s``: those nearest to its key hold it, in memory and on disk, and it
        knows them since it looked for them last."""
        owner = self._hosts[number]
        assert owner.peer is not None
        key = record_key(owner.keypair.public, ADVERT_SALT)
        record = owner.peer.dht.records.get(key, owner.wall())
        assert record is not None, "whoever starts alone keeps what it puts"
        holders = [self._hosts[number] for number in self._holders(number)]
        until_s = self._now + self._chance[number].random() * BELIEVED_S
        owner.peer.dht.published.believe(key, [holder.contact for holder in holders if holder is not owner], until_s)
        for holder in holders:
            if holder is not owner:
                assert holder.peer is not None
                storage, put = holder.peer.dht.storage, Put(0, record, None)
                for effect in storage.put(owner.contact, owner.address, put, at_s, holder.wall()):
                    assert isinstance(effect, fx.Commit)
                    holder.disk.commit(effect.writes, _kept)
        if owner not in holders:
            owner.disk.commit(owner.peer.dht.storage.drop(key), _kept)

    def _holders(self, number: int) -> list[int]:
        """Those nearest to the key of a peer's advert."""
        key = record_key(self._hosts[number].keypair.public, ADVERT_SALT)
        return self._circles.by_id.nearest(key, self._world.record_copies)


def _neighbours(peer: Peer) -> list[bytes]:
    return [contact.id for contact in peer.neighbourhood.contacts()]


def _answer(question: object) -> Nodes | Stored:
    """Of one who knows nobody, and keeps what is given to it."""
    if isinstance(question, Put):
        return Stored(question.nonce, StoreCode.KEPT, read(question.record, Record).seq)
    assert isinstance(question, Find), "whoever joins asks for nothing else"
    return Nodes(question.nonce, [])


def _kept(durable: bool) -> None:
    assert durable, "a disk that is new is not full"
