"""The bequest on a disk: logs are counted there, and whoever waits for it to be over waits no longer than that."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from p2pcpn.node.bequest import Bequest
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.events import Advertised, Bequeathed
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.statements import LogHeader, Receipt, read, signed
from tests.unit.protocol.keepers import Job, Table
from tests.unit.protocol.leased import GRANTOR, ME, Bench, Made, told

MADE = Made()


class Node:
    """What a bequest asks of a node: the machine of a keeper at a table, and that keeper's disk."""

    def __init__(self, peers: int) -> None:
        self.table = Table(peers)
        self.keeper = self.table.keepers[0]
        self.counters: Counter[str] = Counter()
        self.watchers: list[Any] = []
        self.overlay: Any = SimpleNamespace(
            peer=SimpleNamespace(aftercare=self.keeper.care), loop=SimpleNamespace(time=lambda: 0.0),
            follow=self.follow, watchers=self.watchers, counters=self.counters,
            database=SimpleNamespace(scan=lambda table, prefix=(): sorted(
                (key, row) for key, row in self.keeper.disk[table].items() if key[: len(prefix)] == prefix
            )),
        )  # fmt: skip
        self.bequest = Bequest(self.overlay)

    def follow(self, effects: list[fx.Effect]) -> None:
        self.keeper.do(effects)
        for event in self.keeper.news:
            for watch in self.watchers:
                watch(event)


@pytest.mark.asyncio
async def test_jobs_are_with_others_when_it_is_over() -> None:
    node = Node(4)
    job = Job(node.table, [node.keeper], replicas=2, left_open=True)
    await asyncio.wait_for(node.bequest.hand_over(), 5)
    assert len(job.at) == 3 and node.counters["jobs handed over"] == 2
    machine = node.bequest.machine
    assert (machine.left, machine.short, machine.alone) == (0, 0, 0) and node.watchers == []
    assert node.keeper.news == [Bequeathed()]


@pytest.mark.asyncio
async def test_blobs_that_tasks_may_name_go_along_and_those_of_logs_go_with_these() -> None:
    node = Node(2)
    job = Job(node.table, node.table.keepers, left_open=True)
    key, (header, body) = next(iter(node.keeper.disk["logs"].items()))
    large = msgspec.structs.replace(read(pages.SIGNED.decode(header), LogHeader), blobs=[b"r" * 32])
    node.keeper.disk["logs"][key] = pages.SIGNED.encode(signed(large, GRANTOR)), body
    for name in (b"a" * 32, b"r" * 32):
        node.keeper.disk["blobs"][(name,)] = (1, job.job, 9.0)
    node.keeper.disk["blobs"][(b"o" * 32,)] = (1, b"another job", 9.0)
    node.keeper.disk["blobs"][(b"d" * 32,)] = (1, None, 9.0)
    await asyncio.wait_for(node.bequest.hand_over(), 5)
    assert list(node.table.keepers[1].disk["blobs"]) == [(b"a" * 32,)] and node.bequest.machine.short == 0


@pytest.mark.asyncio
async def test_a_gap_in_a_log_on_the_disk_ends_what_is_there_of_it() -> None:
    node = Node(2)
    job = Job(node.table, [node.keeper])
    del node.keeper.disk["logs"][job.job, bytes(GRANTOR.id), 0, 1]
    await asyncio.wait_for(node.bequest.hand_over(), 5)
    assert node.table.keepers[1].keeps(job.job) == 1


@pytest.mark.asyncio
async def test_it_may_be_cancelled_at_any_time_and_counts_what_is_left() -> None:
    node = Node(2)
    Job(node.table, [node.keeper])
    node.table.keepers[1].lies = lambda message: None
    task = asyncio.ensure_future(node.bequest.hand_over())
    await asyncio.sleep(0)
    node.watchers[0](Advertised.__new__(Advertised))
    assert node.bequest.machine.left == 1 and not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    machine = node.bequest.machine
    assert (machine.left, machine.short, machine.alone) == (0, 1, 1) and node.watchers == []


def test_results_that_a_log_here_settles_need_no_other_word() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 2)
    bench.take(made, (0, 2))
    results = told(bench.run_all(), m.Results)
    keys = list(bench.worker.works[made.job].unsettled)
    assert keys
    entries = [pages.Entry(message.receipt, message.page, None) for message in results]
    rows = [((made.job, GRANTOR.id, 0, 0), (b"", pages.LOG_BODY.encode(entries)))]
    done: list[Any] = []
    overlay: Any = SimpleNamespace(
        peer=SimpleNamespace(worker=bench.worker), follow=done.extend,
        database=SimpleNamespace(scan=lambda table, prefix: rows),
    )  # fmt: skip
    Bequest(overlay).acknowledge()
    assert bench.worker.unsettled == 0 and len(done) == 1


def test_an_inherited_result_is_acknowledged_by_its_own_epoch_and_a_damaged_log_stops_nothing() -> None:
    receipt = signed(Receipt(MADE.job, 0, GRANTOR.id, 5, 0, [(0, 1)], b"\0", bytes(16), bytes(32), 0.1, b""), ME)
    later = pages.LOG_BODY.encode([pages.Entry(receipt, b"", None)])
    rows = [((MADE.job, GRANTOR.id, 1, number), (b"", body)) for number, body in enumerate((b"garbage", later))]
    said: list[Any] = []
    works = {MADE.job: SimpleNamespace(unsettled={1: 1})}
    worker = SimpleNamespace(works=works, me=ME, logged=lambda job, keys: [(job, keys)])
    overlay: Any = SimpleNamespace(
        peer=SimpleNamespace(worker=worker), follow=said.extend, database=SimpleNamespace(scan=lambda table, key: rows)
    )
    Bequest(overlay).acknowledge()
    assert said == [(MADE.job, [(0, 5, 0)])]
