"""The virtual network: ways through a graph, weather, cuts."""

from __future__ import annotations

import networkx
import pytest

from p2pcpn.sim.clock import Clock
from p2pcpn.sim.dice import Dice
from p2pcpn.sim.network import ACCESS_S_MAX, Network, Port, Weather, sites

A, B = ("10.0.0.1", 4000), ("10.0.0.2", 4000)


class Line:
    """Two hosts, three sites apart."""

    def __init__(self, **weather: float) -> None:
        graph = networkx.path_graph(3)
        networkx.set_edge_attributes(graph, 0.1, "latency_s")
        self.clock = Clock()
        self.network = Network(self.clock, graph, Weather(**weather))
        self.a: Port = self.network.attach(A, 1, 0, Dice(1).stream("a"))
        self.b: Port = self.network.attach(B, 2, 2, Dice(1).stream("b"))
        self.heard: list[tuple[float, bytes]] = []
        self.b.receive = lambda data, sender, source: self.heard.append((self.clock.now, data))

    def send(self, data: bytes = b"data") -> None:
        self.network.send(self.a, A, B, data)


def test_a_datagram_takes_the_shortest_way() -> None:
    line = Line(jitter_s=0.0)
    line.send()
    line.clock.run(1.0)
    [(when, data)] = line.heard
    assert data == b"data" and 0.2 < when < 0.2 + 2 * ACCESS_S_MAX
    assert when == pytest.approx(line.network.delay_s(line.a, line.b))


def test_a_slow_host_is_slow_to_hear() -> None:
    line = Line(jitter_s=0.0)
    line.b.lag_s = 0.5
    line.send()
    line.clock.run(1.0)
    assert line.heard[0][0] > 0.7


def test_bad_weather_loses_doubles_and_reorders() -> None:
    line = Line(loss=1.0)
    line.send()
    line.clock.run(1.0)
    assert not line.heard and line.network.lost == line.network.sent == 1
    line = Line(doubled=1.0, jitter_s=0.0)
    line.send()
    line.clock.run(1.0)
    assert len(line.heard) == 2
    line = Line(jitter_s=0.5)
    for number in range(20):
        line.send(bytes([number]))
    line.clock.run(1.0)
    order = [data for _, data in line.heard]
    assert len(order) == 20 and order != sorted(order)


def test_nothing_crosses_a_cut_until_it_heals() -> None:
    line = Line()
    line.network.cut([[2]])
    assert not line.network.reachable(1, 2) and line.network.reachable(1, 3)
    line.send()
    line.clock.run(1.0)
    assert not line.heard
    line.network.heal()
    line.send()
    line.clock.run(2.0)
    assert len(line.heard) == 1


def test_nobody_hears_where_nobody_listens() -> None:
    line = Line()
    line.network.send(line.a, A, ("10.9.9.9", 1), b"data")
    line.b.receive = None
    line.send()
    line.clock.run(1.0)
    assert line.network.lost == 2


@pytest.mark.parametrize("peers", [2, 10, 300])
def test_the_sites_of_a_world_are_one_connected_graph(peers: int) -> None:
    graph = sites(peers, Dice(3))
    assert networkx.is_connected(graph)
    assert all(0.0 < latency_s < 0.1 for _, _, latency_s in graph.edges(data="latency_s"))
    assert sorted(graph.edges) == sorted(sites(peers, Dice(3)).edges)
