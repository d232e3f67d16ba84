"""Journal: no result is forgotten before somebody keeps it, and none is kept in memory without bound."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.journal import ORPHANED_AFTER_S_MAX, rows_of
from p2pcpn.protocol.orphans import require_leased
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.statements import Receipt, read
from tests.unit.protocol.leased import (
    GRANTOR,
    GRANTOR_AT,
    ME,
    STEWARDS,
    STEWARDS_AT,
    STRANGER_AT,
    Bench,
    Made,
    rules,
    told,
    writes,
)  # fmt: skip

PEER = NodeId(GRANTOR.id)
LARGE = bytes(limits.INLINE_BYTES_MAX + 1)


def one_result(**options: object) -> tuple[Bench, Made, list[fx.Effect]]:
    bench = Bench(slots=1)
    made = bench.know(Made(**options), 4)
    bench.take(made, (0, 1), slots=1)
    return bench, made, bench.ran(1)


def to(effects: list[fx.Effect]) -> list[bytes]:
    return [effect.to.id for effect in effects if isinstance(effect, fx.Tell | fx.Dial)]


def test_a_result_is_on_disk_until_it_is_settled() -> None:
    bench, made, effects = one_result()
    (row,) = writes(effects, "journal")
    (result,) = told(effects, m.Results)
    assert row == fx.Write(
        "journal", (made.job, 1, 0),
        (0, GRANTOR.id, pages.SIGNED.encode(result.receipt), result.page, pages.SIGNED.encode(result.lease)),
    )  # fmt: skip
    assert [write.key for write in writes(effects, "meta")] == [(f"journal {made.job.hex()}",)]
    assert bench.do(bench.worker.settled(STRANGER_AT, m.Settled(made.job, [(1, 0)]))) == []
    effects = bench.do(bench.worker.settled(GRANTOR_AT, m.Settled(made.job, [(1, 0), (1, 0), (1, 1), (9, 9)])))
    assert [write.value for write in writes(effects, "journal") + writes(effects, "meta")] == [None, None]
    assert bench.do(bench.worker.settled(GRANTOR_AT, m.Settled(made.job, [(1, 0)]))) == []
    assert bench.worker.settled(GRANTOR_AT, m.Settled(bytes(20), [(1, 0)])) == []
    assert bench.worker.journal.held_bytes == 0


def test_a_grantor_that_comes_back_is_offered_everything_once() -> None:
    bench, made, _ = one_result()
    bench.worker.session_closed(PEER, bench.now)
    bench.take(made, (1, 1), slots=1)  # on a session that its message opened
    bench.worker.session_closed(PEER, bench.now)
    later = bench.ran(2)
    assert told(later, m.Results) == [] and len(writes(later, "journal")) == 1
    offered = bench.do(bench.worker.session_opened(PEER, bench.now))
    assert [made.open(message).indices for message in told(offered, m.Results)] == [[0], [1]]
    assert bench.wait(60.0) == []  # it will acknowledge them


def test_a_silent_grantor_is_dialled_and_the_stewards_get_their_turn_in_order() -> None:
    bench, made, _ = one_result()
    bench.worker.session_closed(PEER, bench.now)
    assert bench.wait(2.9) == []
    turns = [to(bench.wait(wait)) for wait in (0.2, 6.0, 9.0, 12.0)]
    assert turns == [[GRANTOR.id], [STEWARDS[0].id], [STEWARDS[1].id], [GRANTOR.id]]
    effects = bench.do(bench.worker.settled(STEWARDS_AT[0], m.Settled(made.job, [(1, 0)])))
    assert len(writes(effects, "journal")) == 1
    assert bench.wait(600.0) == []


def test_offers_become_rare_and_end_with_the_jobs_retention() -> None:
    bench, made, _ = one_result(retention_s=7200.0)
    bench.worker.session_closed(PEER, bench.now)
    bench.wait(3600.0)
    before = len(bench.effects)
    bench.wait(3500.0)
    assert 3500 / ORPHANED_AFTER_S_MAX <= len(bench.effects) - before <= 30
    effects = bench.wait(3600.0)
    assert [write.value for write in writes(effects, "journal")] == [None]
    assert made.job not in bench.worker.works and bench.worker.deadline() is None


def test_blobs_go_ahead_of_the_results_that_name_them_each_time() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 4)
    bench.take(made, (0, 1), slots=1)
    bench.ran(1, values=[LARGE])
    bench.worker.session_closed(PEER, bench.now)
    bench.wait(3.1)
    kinds = [(type(effect), effect.to.id) for effect in bench.wait(6.0) if isinstance(effect, fx.Tell | fx.TellBlob)]
    assert kinds == [(fx.TellBlob, STEWARDS[0].id), (fx.Tell, STEWARDS[0].id)]


def test_the_results_of_a_superseded_grantor_go_to_the_new_one_at_once() -> None:
    bench, made, _ = one_result()
    bench.worker.session_opened(STEWARDS[1].id, bench.now)
    effects = bench.do(bench.worker.taken(STEWARDS_AT[1], STEWARDS[1].public, made.handover(1), made.job, bench.now))
    assert to(effects) == [STEWARDS[1].id] and told(effects, m.Results)
    assert bench.wait(10.0) == [] or not told(bench.wait(10.0), m.Results)


def test_a_new_grantor_without_a_session_is_dialled_and_the_stewards_are_offered_the_results() -> None:
    bench, made, _ = one_result()
    bench.worker.taken(STEWARDS_AT[1], STEWARDS[1].public, made.handover(1), made.job, bench.now)
    effects = bench.wait(10.0)
    assert to(effects) == [STEWARDS[1].id, STEWARDS[0].id]
    assert [effect.to for effect in effects if isinstance(effect, fx.Dial)] == [STEWARDS_AT[1]]
    assert told(effects, m.Results)


def test_a_peer_that_is_a_steward_itself_asks_the_others() -> None:
    bench = Bench(me=STEWARDS[0], slots=1)
    made = bench.know(Made(), 1)
    bench.take(made, (0, 1), worker=STEWARDS[0].id, slots=1)
    bench.ran(1)
    bench.worker.session_closed(PEER, bench.now)
    assert {peer for wait in range(6) for peer in to(bench.wait(10.0))} == {GRANTOR.id, STEWARDS[1].id}


def test_memory_is_bounded_and_what_is_pushed_out_stays_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 8)
    bench.take(made, (0, 8), slots=1)
    bench.ran(1, ran_s=1.0)
    journal, work = bench.worker.journal, bench.worker.works[made.job]
    monkeypatch.setattr(limits, "UNSETTLED_BYTES_MAX", 3 * journal.held_bytes)
    for number in range(2, 7):
        effects = bench.ran(number, ran_s=1.0)
        assert all(write.value is not None for write in writes(effects, "journal"))
    assert journal.count == 6 and journal.spilled == 3 and journal.held_bytes <= limits.UNSETTLED_BYTES_MAX
    bench.worker.session_closed(PEER, bench.now)
    assert len(told(bench.do(bench.worker.session_opened(PEER, bench.now)), m.Results)) == 3
    bench.worker.session_closed(PEER, bench.now)
    assert len(told(bench.wait(9.5), m.Results)) == 3
    assert (
        len(writes(bench.do(bench.worker.settled(GRANTOR_AT, m.Settled(made.job, [(1, 0), (1, 5)]))), "journal")) == 2
    )
    monkeypatch.setattr(limits, "UNSETTLED_MAX", 2)
    bench.ran(7, ran_s=1.0)
    assert journal.count == 2 == len(work.unsettled)
    bench.do(bench.worker.settled(GRANTOR_AT, m.Settled(made.job, [(1, part) for part in range(9)])))
    assert (journal.count, journal.held_bytes) == (0, 0)


def test_after_a_restart_what_is_on_disk_is_offered_again() -> None:
    _, made, effects = one_result()
    jobs = [(write.key[0], write.value[0]) for write in writes(effects, "meta") if write.value]
    rows = [(write.key[0], *write.value[2:]) for write in writes(effects, "journal") if write.value]
    theirs = another_workers_result()
    foreign = [(write.key[0], *write.value[2:]) for write in writes(theirs, "journal") if write.value]
    restored = rows_of([*jobs, ("other", b"")], [*rows, *foreign])  # type: ignore[list-item]
    again = Bench(slots=1, rules=rules(swarm_key=bytes(32)))
    again.worker.restore([*restored, *restored], again.now)
    assert again.worker.journal.count == 1  # its own alone: what another worker signed is kept as a steward
    assert to(again.wait(0.1)) == [GRANTOR.id]
    offered = again.do(again.worker.session_opened(PEER, again.now))
    (result,) = told(offered, m.Results)
    assert made.open(result).worker == ME.public
    require_leased(result.lease, ME.public, read(result.receipt, Receipt))  # which whoever grants next asks for
    # What it remembers of the job is not more than it knew: rules are asked again, and no token comes twice.
    again.worker.extended(m.Extend(0, made.segments[0], made.sealed[0], False))
    assert again.take(made, (0, 1), token=1) == []
    assert [r.code for r in told(again.take(made, (0, 1), token=2), m.Return)] == ["declined"]


def another_workers_result() -> list[fx.Effect]:
    bench = Bench(me=STEWARDS[0], slots=1)
    made = bench.know(Made(), 4)
    bench.take(made, (1, 1), worker=STEWARDS[0].id, slots=1)
    return bench.ran(1)
