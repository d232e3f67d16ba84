"""The bequest: what a node keeps of jobs reaches as many others as are short of it, and what does not is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from p2pcpn.errors import Unreachable
from p2pcpn.node.bequest import Bequest
from p2pcpn.protocol.legacies import Legacy
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.statements import Receipt, Signed, signed
from tests.unit.protocol.granting import at, keypair
from tests.unit.protocol.leased import GRANTOR, ME, Bench, Made, told
from tests.unit.protocol.test_steward import log

MADE = Made()


class Others:
    """Storage peers, by what they have; ``None`` is silent."""

    def __init__(self, *held: int | None, full: bool = False, segments: int = 3, known: bool = True) -> None:
        self.contacts = [at(keypair(number), 5000 + number) for number in range(len(held))]
        self.held = dict(zip(self.contacts, held, strict=True))
        self.told: list[tuple[Contact, m.Message]] = []
        self.full = full
        self.handovers: list[Signed] = []
        rows = [
            ((MADE.job, GRANTOR.id, 0, number), (pages.SIGNED.encode(header), body))
            for number, (header, body) in enumerate(log(MADE, segments))
        ]
        entrust: Any = (lambda number, wall: m.Entrust(number, MADE.spec, [], 0.0)) if known else None
        near = [SimpleNamespace(advert=SimpleNamespace(contact=contact)) for contact in self.contacts]
        self.counters: Counter[str] = Counter()
        self.overlay: Any = SimpleNamespace(
            peer=SimpleNamespace(
                steward=SimpleNamespace(legacies=lambda: [Legacy(MADE.job, 2, entrust)]),
                stewards_near=lambda job, now: near,
            ),
            loop=SimpleNamespace(time=lambda: 0.0),
            database=SimpleNamespace(scan=lambda table, prefix: rows, get=lambda table, key: dict(rows).get(key)),
            request=self.request, counters=self.counters,
        )  # fmt: skip

    async def request(self, to: Contact, make: Callable[[int], m.Message], wait_s: float) -> m.Message:
        message = make(7)
        held = self.held[to]
        if held is None:
            raise Unreachable("silent")
        if isinstance(message, m.Ask):
            logs = [(bytes(GRANTOR.id), 0, held)]
            if held < 0:
                return m.Answer(7, m.AnswerCode.UNKNOWN, "keeps no such job")
            state = m.JobState(7, MADE.spec, None, None, 0, 0, logs, 0, 0, 0, False)
            return msgspec.structs.replace(state, handovers=self.handovers)
        self.told.append((to, message))
        if self.full:
            return m.Answer(7, m.AnswerCode.FULL, "full")
        self.held[to] = max(held, 0) + isinstance(message, m.Append)
        return m.Answer(7, m.AnswerCode.DONE, "")


@pytest.mark.asyncio
async def test_a_job_that_enough_others_have_stays_where_it_is() -> None:
    others = Others(3, 3, -1)
    bequest = Bequest(others.overlay)
    await bequest.hand_over()
    assert others.told == [] and (bequest.left, bequest.short) == (0, 0)


@pytest.mark.asyncio
async def test_who_lacks_some_is_brought_that_and_who_knows_nothing_all_of_it() -> None:
    others = Others(None, -1, 1)
    bequest = Bequest(others.overlay)
    await bequest.hand_over()
    assert [type(message).__name__ for to, message in others.told if to is others.contacts[2]] == ["Append", "Append"]
    assert [type(message).__name__ for to, message in others.told if to is others.contacts[1]] == [
        "Entrust", "Append", "Append", "Append",
    ]  # fmt: skip
    assert (bequest.short, others.counters["jobs handed over"]) == (0, 2)


@pytest.mark.asyncio
async def test_what_nobody_takes_is_counted() -> None:
    for others in (Others(), Others(None), Others(-1, 1, full=True), Others(-1, known=False)):
        bequest = Bequest(others.overlay)
        await bequest.hand_over()
        assert (bequest.left, bequest.short, bequest.alone) == (0, 1, 1)


@pytest.mark.asyncio
async def test_a_copy_less_than_wanted_is_short_and_not_the_last() -> None:
    bequest = Bequest(Others(3, None).overlay)
    await bequest.hand_over()
    assert (bequest.short, bequest.alone) == (1, 0)


@pytest.mark.asyncio
async def test_a_job_of_which_nothing_is_settled_is_its_stewards_to_keep() -> None:
    others = Others(segments=0)
    bequest = Bequest(others.overlay)
    await bequest.hand_over()
    assert bequest.short == 0


@pytest.mark.asyncio
async def test_a_log_without_its_job_is_told_of_by_who_knows_it() -> None:
    others = Others(0, -1, known=False)
    bequest = Bequest(others.overlay)
    await bequest.hand_over()
    assert bequest.short == 0 and others.held[others.contacts[1]] == 3


@pytest.mark.asyncio
async def test_every_handover_that_another_knows_of_is_told_along() -> None:
    others = Others(0, -1, known=False)
    others.handovers = [MADE.handover(1, 3), MADE.handover(0, 6)]
    await Bequest(others.overlay).hand_over()
    (entrust,) = [message for _, message in others.told if isinstance(message, m.Entrust)]
    assert entrust.words == others.handovers


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
