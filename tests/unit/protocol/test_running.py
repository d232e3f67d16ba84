"""Running: what a worker says of a lease that lives counts and renews it; of any other nothing follows."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol import events
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Print
from p2pcpn.wire.sealing import output_key, seal
from tests.unit.protocol.granting import KEYS, ME, Table, Worker


def table_of(tasks: int) -> tuple[Table, Worker]:
    table = Table()
    table.extend(tasks)
    return table, table.worker(1)


def progress(table: Table, worker: Worker, *started: int) -> m.Progress:
    return m.Progress(table.job, worker.last.token, list(started))


def test_what_has_started_is_told_and_its_lease_renewed() -> None:
    table, worker = table_of(2)
    table.pass_time(1.0)
    token, index = worker.last.token, worker.last.spans[0][0]
    table.act(lambda grantor, now: grantor.running.progress(worker.contact, progress(table, worker, index, 77), now))
    assert [event.indices for event in table.seen(events.Started)] == [[index]], "a task that is not its own is not"
    assert table.grantor.leases[token].until == table.now + limits.LEASE_S
    assert list(table.grantor.participants[worker.node].started) == [index]
    other = table.worker(2)
    table.act(lambda grantor, now: grantor.running.progress(other.contact, progress(table, worker, index), now))
    assert len(table.seen(events.Started)) == 1


def test_what_has_ended_does_not_run_any_more() -> None:
    table, worker = table_of(2)
    peer = table.grantor.participants[worker.node]
    peer.started[1] = table.now
    table.grantor.ledger.settle([(1, 1)])
    assert table.grantor.running.progress(worker.contact, progress(table, worker), table.now) == []
    assert not peer.started


def test_who_let_a_lease_end_and_speaks_is_counted_on_again() -> None:
    table, worker = table_of(2)
    peer = table.grantor.participants[worker.node]
    table.grantor.book.participants.crowd(peer, math.inf)
    table.grantor.running.progress(worker.contact, progress(table, worker), table.now)
    assert peer.crowded_until < 0


def test_lines_are_shown_of_tasks_that_were_leased_alone() -> None:
    table, worker = table_of(1)
    token = worker.last.token
    key = output_key(KEYS.results(0, ME.id, token))

    def said(number: int, index: int) -> m.Output:
        return m.Output(table.job, token, number, seal(key, number, pages.PRINT.encode(Print(index, 1, b"hello\n"))))

    table.act(lambda grantor, now: grantor.running.output(worker.contact, said(0, 0), now))
    assert [(line.index, line.data) for line in table.seen(events.Printed)] == [(0, b"hello\n")]
    with pytest.raises(PeerError, match="not leased"):
        table.grantor.running.output(worker.contact, said(1, 5), table.now)
    table.grantor.leases[token].hedge = True
    assert table.grantor.running.output(worker.contact, said(2, 0), table.now) == [], "of two runs one is heard"


def test_a_state_is_kept_for_the_next_run() -> None:
    table, worker = table_of(1)
    token = worker.last.token
    kept: list[int] = []
    running = table.grantor.running
    running._checkpoints = SimpleNamespace(take=lambda *said: None)  # type: ignore[assignment]
    running._safekeeping = SimpleNamespace(left=lambda index, now: kept.append(index))  # type: ignore[assignment]
    left = m.Checkpoint(table.job, token, 0, 0, b"sealed")
    assert table.grantor.running.checkpoint(worker.contact, left, table.now) == [] and kept == [0]
    table.grantor.leases[token].hedge = True
    table.grantor.book.doubled[0] = (token, token + 1)
    table.grantor.running.checkpoint(worker.contact, left, table.now)
    assert kept == [0], "the older of two runs is ahead"
    table.grantor.book.doubled.clear()
