"""Attendance: claims, silence, loss and return of peers."""

from __future__ import annotations

import pytest

from p2pcpn.errors import PeerError
from p2pcpn.protocol import events
from p2pcpn.protocol.attendance import UNDIALLED_S
from p2pcpn.protocol.effects import Probe
from p2pcpn.protocol.grantor import STANDBY, TAKEN, UNWANTED
from p2pcpn.protocol.participants import SLOTS_MAX
from p2pcpn.wire import messages as m
from tests.unit.protocol.granting import Table, keypair


def test_a_claim_that_is_not_for_this_grantor_or_not_its_peers_is_refused() -> None:
    table = Table()
    worker = table.worker(10, claims=False)
    for wrong in ({"epoch": 1}, {"slots": 0}):
        with pytest.raises(PeerError):
            worker.claim(**wrong)
    worker.key = keypair(11)
    with pytest.raises(PeerError):
        worker.claim()
    assert not table.grantor.participants


def test_too_many_claims_are_unwanted_and_too_many_slots_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.limits.SESSIONS_MAX", 1)
    table = Table()
    worker = table.worker(10, slots=60_000)
    assert table.grantor.participants[worker.node].claimed_slots == SLOTS_MAX
    assert table.worker(11, claims=False).claim() == UNWANTED


def test_a_restart_is_seen_by_the_boot_of_the_next_claim() -> None:
    table = Table(retries=0)
    table.extend(1)
    worker = table.worker(10)
    worker.boot = 2
    assert worker.claim() == STANDBY
    assert "it restarted" in table.seen(events.GaveUp)[0].text


def test_an_older_boot_is_a_claim_that_came_late() -> None:
    table = Table()
    table.extend(1)
    worker = table.worker(10)
    worker.boot = 0
    assert worker.claim() == TAKEN
    assert len(worker.grants) == 1


def test_a_lost_session_is_doubted_then_probed_then_resumed() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    assert table.session_closed(worker.node) == [Probe(worker.contact)]
    assert table.session_closed(keypair(99).id) == table.peer_alive(keypair(99).id) == []
    table.peer_alive(worker.node)
    assert len(worker.grants) == 2
    table.peer_alive(worker.node)
    assert len(worker.grants) == 2
    table.session_opened(worker.node)
    worker.run()
    assert table.delivered == [0, 1]


def test_a_dead_peer_is_forgotten_where_its_session_is_lost_and_silent_where_it_is_not() -> None:
    table = Table()
    table.extend(4)
    one, two = table.worker(10), table.worker(11)
    table.session_closed(one.node)
    table.peer_dead(one.node)
    table.peer_dead(two.node)
    table.peer_dead(keypair(99).id)
    assert list(table.grantor.participants) == [two.node]
    assert table.grantor.ledger.waiting == 4
    table.session_opened(two.node)
    assert len(two.grants) == 2


def test_a_silent_peer_whose_session_closes_is_forgotten() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    worker.run(spans=[(0, 1)])
    table.pass_time(31.0)
    assert worker.node in table.grantor.participants
    table.session_closed(worker.node)
    assert worker.node not in table.grantor.participants


def test_a_peer_in_doubt_whose_lease_ends_is_forgotten() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    table.session_closed(worker.node)
    table.pass_time(31.0)
    assert not table.grantor.participants


def test_a_peer_that_cannot_be_dialled_rests_uncharged() -> None:
    table = Table(retries=0)
    table.extend(2)
    worker = table.worker(10)
    for _ in range(3):
        table.session_closed(worker.node)
        table.peer_alive(worker.node)
        table.session_closed(worker.node)
        assert not table.grantor.leases
        table.pass_time(4 * UNDIALLED_S + 5.0)
        assert table.grantor.leases
    assert not table.seen(events.GaveUp)


def test_a_standby_peer_outlasts_sessions_that_are_not_for_this_job() -> None:
    table = Table()
    worker = table.worker(10)
    table.session_closed(worker.node)
    table.extend(1)
    assert worker.indices == [0]


def test_what_a_dismissed_peer_held_waits_again_uncharged() -> None:
    table = Table(retries=0)
    table.extend(2)
    worker = table.worker(10)
    worker.give_back(worker.last, "leaving")
    assert table.grantor.ledger.waiting == 2
    assert not table.seen(events.GaveUp)
    assert not worker.of(m.Revoke)


def test_a_silent_peer_whose_last_task_was_cancelled_makes_room_for_another() -> None:
    table = Table(max_workers=2)
    table.extend(1)
    silent = table.worker(10, slots=2)
    table.pass_time(1.0)
    table.extend(1)
    assert [lease.spans for _, lease in silent.grants] == [[(0, 1)], [(1, 1)]]
    table.pass_time(29.5)  # the first lease ended unrenewed; the second has half a second left
    table.act(lambda grantor, now: grantor.cancel([(1, 1)], stop=True, now=now))
    other = table.worker(11, slots=2)
    assert other.indices == [0], "two slots are taken by a peer that says nothing and holds nothing"
    other.run()
    silent.run(silent.grants[0][1])
    table.extend(1)
    assert len(other.grants) + len(silent.grants) == 4
