"""The virtual network: a networkx graph of sites, and what befalls a datagram between two of them.

Nodes are sites; an edge carries ``latency_s``, and a datagram takes the shortest way. A host hangs on one site by an
access line of its own. Datagrams are lost, doubled and overtake each other as the :class:`Weather` of the moment has
it, and none crosses a partition. Each host throws its own dice.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import networkx

from p2pcpn.sim.clock import Clock
from p2pcpn.sim.dice import Dice
from p2pcpn.wire.addresses import Address

ACCESS_S_MIN = 0.0005
ACCESS_S_MAX = 0.008
PEERS_PER_SITE = 10
LOCAL_S_MIN = 0.0001
LOCAL_S_MAX = 0.0005


@dataclass(slots=True)
class Weather:
    """Shares of datagrams lost and doubled, and by how much a datagram may be late (which reorders them)."""

    loss: float = 0.0
    doubled: float = 0.0
    jitter_s: float = 0.0005


@dataclass(slots=True)
class Port:
    """Where a host's datagrams arrive. ``receive`` is ``None`` while nobody listens."""

    number: int
    site: int
    access_s: float
    dice: random.Random
    receive: Callable[[bytes, Address, int], None] | None = None
    lag_s: float = 0.0  # a slow host takes this much longer for everything


@dataclass(slots=True)
class Network:
    """See the module. ``islands`` maps host numbers to parts of a cut network; who is not in it is in part 0."""

    clock: Clock
    graph: networkx.Graph
    weather: Weather = field(default_factory=Weather)
    ports: dict[Address, Port] = field(default_factory=dict)
    islands: dict[int, int] = field(default_factory=dict)
    sent: int = 0
    lost: int = 0
    _ways_s: list[array[float]] = field(default_factory=list)  # by the numbers of two sites

    def __post_init__(self) -> None:
        # Doubles side by side: among a thousand sites a dictionary for each was a hundred megabytes.
        ways = dict(networkx.all_pairs_dijkstra_path_length(self.graph, weight="latency_s"))
        sites = range(len(self.graph))
        self._ways_s = [array("d", [ways[source][target] for target in sites]) for source in sites]

    def attach(self, address: Address, number: int, site: int, dice: random.Random) -> Port:
        """Hang a host on a site."""
        port = Port(number, site, dice.uniform(*self.graph.graph.get("access_s", (ACCESS_S_MIN, ACCESS_S_MAX))), dice)
        self.ports[address] = port
        return port

    def delay_s(self, source: Port, target: Port) -> float:
        """One way between two hosts, without jitter."""
        return source.access_s + self._ways_s[source.site][target.site] + target.access_s + source.lag_s + target.lag_s

    def reachable(self, source: int, target: int) -> bool:
        """Whether two hosts are on one side of every cut."""
        return not self.islands or self.islands.get(source, 0) == self.islands.get(target, 0)

    def cut(self, islands: Iterable[Iterable[int]]) -> None:
        """Part the network: each of ``islands`` is on its own, everybody else stays together."""
        self.islands = {number: part for part, hosts in enumerate(islands, 1) for number in hosts}

    def heal(self) -> None:
        """No cut is left."""
        self.islands = {}

    def send(self, source: Port, sender: Address, target: Address, data: bytes) -> None:
        """One datagram; whether it arrives is up to the weather."""
        self.sent += 1
        port = self.ports.get(target)
        weather, dice = self.weather, source.dice
        if port is None or dice.random() < weather.loss:
            self.lost += 1
            return
        copies = 2 if weather.doubled and dice.random() < weather.doubled else 1
        for _ in range(copies):
            late_s = dice.random() * weather.jitter_s
            self.clock.after(self.delay_s(source, port) + late_s, self._arrive, source.number, sender, port, data)

    def _arrive(self, source: int, sender: Address, port: Port, data: bytes) -> None:
        if port.receive is None or not self.reachable(source, port.number):
            self.lost += 1
            return
        port.receive(data, sender, source)


def sites(peers: int, dice: Dice) -> networkx.Graph:
    """A connected graph of about a tenth as many sites as peers: neighbours are near, a few long ways cross it."""
    rng = dice.stream("sites")
    count = max(2, peers // PEERS_PER_SITE)
    places = [(rng.random(), rng.random()) for _ in range(count)]
    graph = networkx.Graph()
    graph.add_nodes_from(range(count))
    for site in range(1, count):
        # To the nearest of those before it: connected by construction. A second way by chance keeps detours short.
        near = sorted(range(site), key=lambda other: (_apart(places[site], places[other]), other))
        for other in {near[0], rng.choice(near)}:
            graph.add_edge(site, other, latency_s=0.001 + 0.06 * _apart(places[site], places[other]))
    return graph


def one_site() -> networkx.Graph:
    """Everybody is in one local network: a millisecond or two there and back."""
    graph = networkx.Graph(access_s=(LOCAL_S_MIN, LOCAL_S_MAX))
    graph.add_node(0)
    return graph


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    return float(((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5)
