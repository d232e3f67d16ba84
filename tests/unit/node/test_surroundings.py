"""Surroundings: what a node knows of where it stands, and which addresses count as one network group."""

from __future__ import annotations

import ipaddress
import platform
import socket
import sys
from typing import Any

import pytest

from p2pcpn.node import surroundings
from p2pcpn.node.surroundings import by_port, by_prefix, own_host, platform_words, python_version


def test_the_python_version_is_major_and_minor_alone() -> None:
    assert platform.python_version().startswith(python_version() + ".")
    assert python_version().count(".") == 1


def test_the_platform_words_are_short_enough_for_an_advert(monkeypatch: pytest.MonkeyPatch) -> None:
    assert platform_words() == (sys.implementation.name, f"{sys.platform}-{platform.machine()}")
    monkeypatch.setattr(platform, "machine", lambda: "m" * 100)
    assert [len(word) <= most for word, most in zip(platform_words(), (16, 32), strict=True)] == [True, True]


@pytest.mark.parametrize("host", ["203.12.2.7", "127.0.0.1", "2a01:4f8::1"])
def test_an_address_that_was_chosen_is_the_own_one(host: str) -> None:
    assert own_host(host, local=False) == host
    assert own_host(host, local=True) == host


@pytest.mark.parametrize("host", surroundings.EVERYWHERE)
def test_a_local_peer_that_listens_everywhere_is_at_the_loopback(host: str) -> None:
    assert own_host(host, local=True) == "127.0.0.1"


def test_a_peer_that_listens_everywhere_is_where_its_routes_leave_from() -> None:
    found = ipaddress.ip_address(own_host("0.0.0.0", local=False))
    assert not found.is_unspecified
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((str(found), 0))  # it is an address of this machine


def test_a_machine_without_a_route_is_at_its_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unconnected(socket.socket):
        def connect(self, address: Any) -> None:
            raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "socket", Unconnected)
    assert own_host("0.0.0.0", local=False) == "127.0.0.1"


def test_peers_of_one_machine_are_told_apart_by_port() -> None:
    assert by_port(("127.0.0.1", 1)) != by_port(("127.0.0.1", 2))
    assert by_port(("127.0.0.1", 1)) == by_port(("127.0.0.1", 1))


def test_elsewhere_a_network_is_a_group_whatever_the_port() -> None:
    assert by_prefix(("203.12.2.7", 1)) == by_prefix(("203.12.2.200", 2))
    assert by_prefix(("203.12.2.7", 1)) != by_prefix(("203.12.3.7", 1))
    assert by_prefix(("2a01:4f8:1:2::1", 1)) == by_prefix(("2a01:4f8:1:3::1", 1))
    assert by_prefix(("2a01:4f8:1::1", 1)) != by_prefix(("2a01:4f8:2::1", 1))
    assert by_prefix(("::ffff:203.12.2.7", 1)) == by_prefix(("203.12.2.9", 1))


def test_in_a_private_network_each_host_is_a_group_of_its_own() -> None:
    assert by_prefix(("192.168.1.7", 1)) == by_prefix(("192.168.1.7", 2))
    assert by_prefix(("192.168.1.7", 1)) != by_prefix(("192.168.1.8", 1))
    assert by_prefix(("fd00::1", 1)) != by_prefix(("fd00::2", 1))
