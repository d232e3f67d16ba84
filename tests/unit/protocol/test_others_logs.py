"""What another's log settles of tasks that are open here counts where its receipts prove it, and only there."""

from __future__ import annotations

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.granted import Granted
from p2pcpn.protocol.others_logs import OthersLogs
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader, Receipt, read
from tests.unit.protocol.granting import ME, Table, Worker, keypair

OTHER = keypair(50)


class Logs:
    """Who grants four tasks, all of them leased to one worker; and what logs of others say of those."""

    def __init__(self) -> None:
        self.table = Table()
        self.table.extend(4)
        self.worker: Worker = self.table.worker(10, slots=4)
        granted = Granted()
        granted.add(self.table.grantor)
        self.logs = OthersLogs(granted)

    def message(self, *, signature: bool = True) -> m.Results:
        made = self.worker.message(self.worker.last)
        receipt = made.receipt if signature else msgspec.structs.replace(made.receipt, signature=bytes(64))
        return m.Results(receipt, made.page, False)

    def segment(self, results: m.Results, number: int = 0, grantor: bytes = OTHER.id) -> tuple[LogHeader, bytes]:
        body = pages.LOG_BODY.encode([pages.Entry(results.receipt, results.page, None)])
        spans = [(first, count) for first, count in read(results.receipt, Receipt).spans]
        return LogHeader(self.table.job, 0, grantor, number, bytes(32), digest(body), 4, spans), body

    def settled(self, said: LogHeader) -> list[list[tuple[int, int]]]:
        return [spans for _, spans in self.logs.on_disk(said)]


def test_receipts_that_open_end_tasks_that_are_open_here_once_they_are_on_disk() -> None:
    here = Logs()
    said, body = here.segment(here.message())
    here.logs.appended(said, body)
    assert here.settled(said) == [said.spans]
    assert here.settled(said) == [], "who says so of another segment has to prove that one"


def test_receipts_that_nobody_signed_end_nothing_that_is_open_here() -> None:
    here = Logs()
    said, body = here.segment(here.message(signature=False))
    with pytest.raises(PeerError):
        here.logs.appended(said, body)
    assert here.settled(said) == []


def test_what_is_not_open_here_is_not_opened_and_counts() -> None:
    here = Logs()
    here.table.grantor.ledger.settle([(0, 4)])
    said, body = here.segment(here.message(signature=False))
    here.logs.appended(said, body)
    assert here.settled(said) == [said.spans]


def test_tasks_that_came_while_a_segment_was_written_are_open_all_the_same() -> None:
    here = Logs()
    said, body = here.segment(here.message(signature=False))
    here.table.grantor.ledger.settle([(0, 4)])
    here.logs.appended(said, body)
    here.table.extend(4)
    assert here.settled(msgspec.structs.replace(said, spans=[(0, 8)])) == []


def test_a_log_of_this_node_and_one_of_a_job_that_is_not_granted_here_are_nobodys() -> None:
    here = Logs()
    for said, body in (here.segment(here.message(signature=False), grantor=ME.id),):
        here.logs.appended(said, body)
        assert here.settled(said) == []
    said, body = here.segment(here.message(signature=False))
    elsewhere = msgspec.structs.replace(said, job=bytes(20))
    here.logs.appended(elsewhere, body)
    assert here.settled(elsewhere) == []


def test_segments_that_never_reach_the_disk_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_AHEAD_MAX", 2)
    here = Logs()
    segments = [here.segment(here.message(), number) for number in range(3)]
    for said, body in segments:
        here.logs.appended(said, body)
    assert [here.settled(said) for said, _ in segments] == [[], [segments[1][0].spans], [segments[2][0].spans]]
