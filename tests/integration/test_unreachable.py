"""A peer behind a firewall, among three that are public: real processes, each in a network namespace of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2pcpn import limits
from p2pcpn.wire.statements import Role
from tests.integration.namespaces import Internet, Program, why_not

PROGRAM = str(Path(__file__).with_name("peer_program.py"))
# Asked at once, three seconds for a connection that does not come about, and once more where too few were known yet.
FOUND_S = limits.REACH_FIRST_S + limits.REACH_ROUND_S + limits.REACH_FEW_S + 20.0


@pytest.fixture
def internet() -> Iterator[Internet]:
    if why := why_not():
        pytest.skip(why)
    with Internet() as internet:
        yield internet


def wait(what: Callable[[], bool], wait_s: float = FOUND_S) -> None:
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < wait_s
        time.sleep(0.25)


def test_a_peer_behind_a_firewall_computes_and_holds_no_keys_of_others(internet: Internet) -> None:
    first = f"{internet.computer(1)}:4000"

    def peer(number: int, address: str, roles: str) -> Program:
        return internet.program(number, PROGRAM, f"{address}:4000", "" if number == 1 else first, roles)

    public = [peer(1, "5.5.1.1", "storage")]
    public += [peer(number, internet.computer(number), "storage") for number in (2, 3)]
    wait(lambda: all(len(each.ask("status")["table"]) == 2 for each in public))
    home = peer(4, internet.computer(4, firewall=True), "compute,storage")
    wait(lambda: home.ask("status")["reach"] == "hidden")
    me = home.ask("status")["id"]
    assert home.ask("status")["roles"] == Role.COMPUTE | Role.HIDDEN
    wait(lambda: all(me not in each.ask("status")["table"] for each in public))
    wait(lambda: all(each.ask("status")["roles_of"][me] == Role.COMPUTE | Role.HIDDEN for each in public))
    wait(lambda: home.ask("status")["held"] == 0)

    keys = [each.ask("put", f"{number}", "theirs")[0] for number in range(10) for each in public]
    own, holders = home.ask("put", "own", "mine")
    assert holders == 3, "its own records are kept by others"
    assert [each.ask("get", own) for each in public] == ["mine"] * 3
    assert [home.ask("get", key) for key in keys] == ["theirs"] * len(keys)
    assert home.ask("status")["held"] == 0
    assert min(each.ask("status")["held"] for each in public) >= len(keys)
    assert public[0].ask("map", 20) == list(range(20, 0, -1)), "it is the only one that computes"

    other = peer(5, internet.computer(5), "storage")
    wait(lambda: other.ask("status")["reach"] != "assumed")
    assert (other.ask("status")["reach"], other.ask("status")["roles"]) == ("reachable", Role.STORAGE)
    assert {each.ask("status")["reach"] for each in public} <= {"assumed", "reachable"}
