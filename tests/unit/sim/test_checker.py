"""The checker: each thing that must never happen is seen when it happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pcpn import limits
from p2pcpn.protocol import events
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.ledger import LEASED, SETTLED, WAITING
from p2pcpn.sim.checker import SWEEP_EVENTS, Violation
from p2pcpn.sim.program import Program
from p2pcpn.sim.runtime import Deed, value_of
from p2pcpn.sim.world import World
from p2pcpn.wire import messages as m
from p2pcpn.wire.sealing import digest, seal
from p2pcpn.wire.statements import BlobRef, Outcome, Receipt, signed
from tests.unit.sim.swarms import submitting

DEEDS = [Deed(0, 30.0), Deed(1, 30.0, "raises"), Deed(2, 30.0, "poison"), Deed(3, 30.0)]


def leased() -> tuple[World, Program, Grantor]:
    """A job whose tasks all run for long."""
    world, program = submitting(deeds=DEEDS)
    world.run(world.clock.now + 2.0)
    assert program.host.peer is not None
    grantor = program.host.peer.grantors[program.job]
    assert grantor.ledger.leased == 4
    return world, program, grantor


def deliver(world: World, program: Program, index: int, value: bytes | BlobRef, outcome: int = Outcome.OK) -> None:
    event = events.Delivered(program.job, [index], bytes([outcome]), [value], world.hosts[0].id, [])
    world.checker.notified(program.host, event)


def right(program: Program, index: int) -> bytes:
    return value_of(program.arguments[index])


def test_right_results_may_be_delivered_once_each() -> None:
    world, program, _ = leased()
    deliver(world, program, 0, right(program, 0))
    deliver(world, program, 1, right(program, 1), Outcome.RAISED)
    deliver(world, program, 2, b"any", Outcome.DIED)
    with pytest.raises(Violation, match="twice"):
        deliver(world, program, 0, right(program, 0))


@pytest.mark.parametrize(("index", "value", "outcome"), [(0, b"wrong", 0), (0, None, 1), (1, None, 0), (2, None, 0)])
def test_a_wrong_value_or_outcome_is_seen(index: int, value: bytes | None, outcome: int) -> None:
    world, program, _ = leased()
    with pytest.raises(Violation, match=f"task {index}"):
        deliver(world, program, index, value or right(program, index), outcome)


def test_a_large_result_is_opened_when_it_is_there() -> None:
    world, program, _ = leased()
    shelf = program.host.shelf
    assert shelf is not None
    key, sealed = bytes(32), seal(bytes(32), 0, b"wrong")
    ref = BlobRef(digest(sealed), len(sealed), key)
    deliver(world, program, 0, ref)
    shelf.keep(ref.digest, sealed)
    with pytest.raises(Violation, match="wrong value"):
        world.checker.arrived(program, 0, ref)


def test_results_under_a_fenced_token_are_seen() -> None:
    world, program, grantor = leased()
    newest = max(grantor.leases)
    index = grantor.leases[newest].open[0][0]
    receipt = Receipt(
        program.job, 0, program.host.id, newest - 1, 0, [(index, 1)], b"\0", bytes(16), bytes(32), 0.1, b""
    )
    results = m.Results(signed(receipt, world.hosts[0].keypair), b"", True)
    world.checker.hears(program.host, results)
    how = {"raises": Outcome.RAISED, "poison": Outcome.DIED}.get(DEEDS[index].how, Outcome.OK)
    with pytest.raises(Violation, match="fenced"):
        deliver(world, program, index, right(program, index), how)


def _unsettle(grantor: Grantor) -> None:
    grantor.ledger.states[0] = WAITING


def _miscount(grantor: Grantor) -> None:
    grantor.ledger.waiting += 1


def _lease_twice(grantor: Grantor) -> None:
    lease = next(iter(grantor.leases.values()))
    grantor.book.leases.grant(lease.peer, lease.open, lease.until)


def _lose_lease(grantor: Grantor) -> None:
    grantor.book.leases.live.popitem()


def _settle_leased(grantor: Grantor) -> None:
    lease = next(iter(grantor.leases.values()))
    grantor.ledger.states[lease.open[0][0]] = SETTLED
    grantor.ledger.leased -= 1


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_unsettle, "open again"),
        (_miscount, "the ledger counts"),
        (_lease_twice, "two live leases"),
        (_lose_lease, "are leased, and"),
        (_settle_leased, "is not leased"),
    ],
)
def test_a_book_that_does_not_add_up_is_seen(harm: Callable[[Grantor], None], words: str) -> None:
    world, program, grantor = leased()
    if harm is _unsettle:
        world.checker._watched[program.host.number][program.job].states = bytes([SETTLED, LEASED, LEASED, LEASED])
    harm(grantor)
    with pytest.raises(Violation, match=words):
        world.checker.after(program.host)


def test_a_book_of_many_leases_is_walked_now_and_then_and_its_counts_after_each_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2pcpn.sim.checker.LEASES_EACH_EVENT", 1)
    monkeypatch.setattr("p2pcpn.sim.checker.LEASES_AN_EVENT", 1)
    world, program, grantor = leased()
    while world.checker._watched[program.host.number][program.job].unseen:
        world.checker.after(program.host)
    grantor.book.leases.live.popitem()
    with pytest.raises(Violation, match="are leased, and"):
        for event in range(len(grantor.leases)):
            seen = event
            world.checker.after(program.host)
    assert seen == len(grantor.leases) - 1
    _miscount(grantor)
    with pytest.raises(Violation, match="the ledger counts"):
        world.checker.after(program.host)


def test_memory_above_its_bound_is_seen_when_the_host_has_its_turn() -> None:
    world, _program, _ = leased()
    world.hosts[1].slots = 0
    peer = world.hosts[1].peer
    assert peer is not None
    peer.neighbourhood._chosen.update({bytes([n]) * 20: peer.contact for n in range(limits.NEIGHBOURHOOD_MAX + 1)})
    with pytest.raises(Violation, match="peer-1 holds"):
        for _ in range(SWEEP_EVENTS * len(world.hosts)):
            world.checker.after(world.hosts[2])
    world.hosts[1].crash()
    world.checker.bounded(world.hosts[1])


def test_a_task_that_is_named_under_a_lease_was_sent_out_under_its_token() -> None:
    world, program, grantor = leased()
    watched = world.checker._watched[program.host.number][program.job]
    assert sorted(watched.newest) == [0, 1, 2, 3]
    slices = [m.PageSlice(1, 4, 0, 2, bytes(32))]
    world.checker.says(program.host, m.Further(program.job, 0, grantor.book.leases.granted + 1, slices))
    assert watched.newest[4] == watched.newest[5] == grantor.book.leases.granted + 1


def test_what_a_host_granted_is_gone_with_it() -> None:
    world, program, _ = leased()
    program.host.crash()
    world.checker.says(program.host, m.ListJobs(1, bytes(32)))
    assert program.host.number not in world.checker._watched
