"""The worker: every lease it takes is checked, run, and accounted for, whatever its grantor or its processes do."""

from __future__ import annotations

import pickle
import types
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.steward import Steward
from p2pcpn.protocol.work import numbers_from
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.messages import PageSlice
from p2pcpn.wire.pages import TaskPage
from p2pcpn.wire.sealing import result_digest
from p2pcpn.wire.statements import (
    Cancel,
    Close,
    Handover,
    Lease,
    LogHeader,
    Receipt,
    Segment,
    Spec,
    read,
    signed,
)  # fmt: skip
from tests.unit.protocol.leased import (
    GRANTOR,
    GRANTOR_AT,
    ME,
    ME_AT,
    OWNER,
    STEWARDS,
    STEWARDS_AT,
    STRANGER,
    STRANGER_AT,
    Bench,
    Made,
    at,
    keypair,
    rules,
    told,
    writes,
)  # fmt: skip


def test_a_grant_is_run_and_its_receipts_open() -> None:
    bench = Bench()
    made = bench.know(Made(), 4, 4)
    assert bench.take(made, (2, 5)) == []
    effects = bench.run_all()
    found: dict[int, bytes | Any] = {}
    results = told(effects, m.Results)
    for message in results:
        opened = made.open(message)
        assert (opened.receipt.token, opened.receipt.grantor, opened.worker) == (1, GRANTOR.id, ME.public)
        found |= dict(zip(opened.indices, opened.values, strict=True))
    assert found == {i: b"result of " + pickle.dumps(i) for i in range(2, 7)}
    assert [message.last for message in results] == [False] * (len(results) - 1) + [True]
    assert bench.worker.works[made.job].leases == {} and bench.worker.queued == 0 and bench.worker.running == 0
    assert bench.worker.completed == 5


def test_what_is_run_carries_the_functions_keys_and_code_of_its_lease() -> None:
    bench = Bench()
    made = bench.know(Made(), 2)
    bench.take(made, (0, 1))
    (run,) = bench.runs.values()
    assert (run.owner, run.functions, run.arguments) == (OWNER.public, (b"function",), (pickle.dumps(0),))
    assert (run.digest_key, run.code_key, run.code, run.output) == (made.keys.digests, made.keys.code, None, True)


@pytest.mark.parametrize(
    "options",
    [
        {"by": STRANGER},
        {"by": STEWARDS[0]},
        {"by": STEWARDS[0], "epoch": 2},
        {"worker": STRANGER.id},
        {"token": 1 << 31},
        {"epoch": 7},
    ],
)
def test_a_lease_that_is_not_the_senders_to_grant_is_an_error(options: dict[str, Any]) -> None:
    bench = Bench()
    made = bench.know(Made(), 2)
    with pytest.raises(PeerError):
        bench.take(made, (0, 2), **options)
    assert bench.runs == {} and bench.worker.queued == 0


def test_a_lease_that_another_peer_passes_on_is_an_error() -> None:
    bench = Bench()
    made = bench.know(Made(), 2)
    with pytest.raises(PeerError):
        bench.worker.granted(STRANGER_AT, STRANGER.public, made.grant((0, 2)), bench.now)


def test_a_lease_whose_slices_do_not_cover_its_spans_is_an_error() -> None:
    bench = Bench()
    made = bench.know(Made(), 4)
    key = made.keys.page(0)
    for slices in ([PageSlice(0, 0, 1, 4, key)], [PageSlice(0, 0, 0, 3, key), PageSlice(0, 0, 1, 2, key)]):
        with pytest.raises(PeerError):
            bench.take(made, (0, 4), slices=slices)


def test_a_lease_that_names_a_task_beyond_its_page_is_an_error() -> None:
    bench = Bench()
    made = bench.know(Made(), 4)
    with pytest.raises(PeerError):
        bench.take(made, (0, 5), slices=[PageSlice(0, 0, 0, 5, made.keys.page(0))])


def test_a_lease_comes_once_however_often_it_is_said() -> None:
    bench = Bench()
    made = bench.know(Made(), 2)
    grant = made.grant((0, 2))
    bench.do(bench.worker.granted(GRANTOR_AT, GRANTOR.public, grant, bench.now))
    assert bench.worker.granted(GRANTOR_AT, GRANTOR.public, grant, bench.now) == []
    bench.run_all()
    assert bench.worker.granted(GRANTOR_AT, GRANTOR.public, grant, bench.now) == []
    assert bench.runs == {}


def test_a_lease_that_is_said_again_after_a_restart_uses_no_number_twice() -> None:
    made, numbers = Made(), []
    for boot in (1_700_000_000, 1_700_000_001):
        bench = Bench(boot=boot)
        bench.worker.introduced(GRANTOR_AT, GRANTOR.public, made.spec, bench.now)
        if not made.tasks:
            extend = made.segment(2)
        bench.worker.extended(extend)
        effects = bench.take(made, (0, 2), token=1) + bench.ran(1, 1)
        numbers += [made.open(results).receipt.part for results in told(effects, m.Results)]
        assert bench.worker.works[made.job].leases[0, 1].checkpoints == numbers_from(boot)
    assert len(numbers) == len(set(numbers)) == 2 and numbers[1] - numbers[0] == 4096


@pytest.mark.parametrize(
    ("job", "mine", "words"),
    [
        ({"python": "3.13"}, {}, "runs Python 3.11; the job needs Python 3.13"),
        ({"runtime": "wasm"}, {}, "does not run the runtime 'wasm', only function"),
        ({"memory_bytes": 2 << 30}, {}, "has 1024 MiB for a task; the job needs 2048 MiB"),
        ({"swarm_proof": bytes(16)}, {}, "does not hold this swarm's key"),
        ({}, {"swarm_key": bytes(32)}, "does not trust the job's owner"),
        ({"requires": ["numpy"]}, {"missing": lambda names: names}, "lacks the package numpy"),
    ],
)
def test_a_job_that_may_not_run_here_is_declined_with_the_reason(
    job: dict[str, Any], mine: dict[str, Any], words: str
) -> None:
    bench = Bench(rules=rules(**mine))
    made = bench.know(Made(**job), 2)
    (answer,) = told(bench.take(made, (0, 2)), m.Return)
    assert (answer.code, answer.token, answer.spans) == ("declined", 1, [(0, 2)])
    assert words in answer.text
    assert bench.worker.declines == [(made.job, answer.text)]
    assert bench.worker.works[made.job].leases == {}


def test_a_segment_that_needs_a_missing_package_is_declined_and_others_run() -> None:
    bench = Bench(rules=rules(missing=lambda names: tuple(n for n in names if n == "numpy")))
    made = bench.know(Made(), 2, requires=["numpy"])
    bench.worker.extended(made.segment(2))
    (answer,) = told(bench.take(made, (1, 2)), m.Return)
    assert (answer.code, answer.text) == ("declined", "lacks the package numpy")
    assert told(bench.take(made, (2, 2)), m.Return) == [] and bench.runs


def test_a_peer_without_slots_declines_whatever_is_leased_to_it() -> None:
    bench = Bench(slots=0)
    made = bench.know(Made(), 2)
    assert [r.code for r in told(bench.take(made, (0, 2)), m.Return)] == ["declined"]


def test_trust_that_was_given_later_counts_when_the_job_is_introduced_again() -> None:
    bench = Bench(rules=rules(swarm_key=bytes(32)))
    made = bench.know(Made(), 2)
    assert [r.code for r in told(bench.take(made, (0, 2)), m.Return)] == ["declined"]
    bench.worker.rules = rules(swarm_key=bytes(32), trusted=frozenset([OWNER.public]))
    bench.know(made)
    assert told(bench.take(made, (0, 2)), m.Return) == []


def test_a_lease_of_an_unknown_job_or_a_lacking_page_is_missing() -> None:
    bench = Bench()
    made = Made()
    made.segment(2)
    (answer,) = told(bench.take(made, (0, 2)), m.Return)
    assert (answer.code, answer.text) == ("missing", "knows no such job")
    bench.know(made)
    (answer,) = told(bench.take(made, (0, 2)), m.Return)
    assert (answer.code, answer.text) == ("missing", "lacks a page")


def test_a_job_shown_by_a_stranger_is_not_taken_in() -> None:
    bench = Bench()
    assert bench.worker.introduced(STRANGER_AT, STRANGER.public, Made().spec, 0.0) == []
    assert len(bench.worker.works) == 0


def test_pages_are_kept_only_when_the_owner_signs_for_them() -> None:
    bench = Bench()
    made = bench.know(Made())
    extend = made.segment(2)
    with pytest.raises(PeerError):
        bench.worker.extended(m.Extend(0, extend.segment, [b"other bytes"], False))
    forged = signed(m_segment(extend), STRANGER)
    with pytest.raises(PeerError):
        bench.worker.extended(m.Extend(0, forged, extend.pages, False))
    assert bench.worker.pages.kept_bytes == 0
    bench.worker.extended(Made(9).segment(1))  # of a job nobody introduced
    assert bench.worker.pages.kept_bytes == 0


def m_segment(extend: m.Extend) -> Any:
    from p2pcpn.wire.statements import Segment, read

    return read(extend.segment, Segment)


def test_what_is_leased_beyond_all_measure_goes_back() -> None:
    bench = Bench(slots=1)
    counts = [limits.PAGE_TASKS_MAX] * 16
    made = bench.know(Made(), *counts)
    for _ in range(2):
        bench.worker.extended(made.segment(*counts))
    for lease in range(2):
        assert told(bench.take(made, (lease * 4096, 4096)), m.Return) == []
    (answer,) = told(bench.take(made, (2 * 4096, 4096)), m.Return)
    assert answer.code == "late"
    assert bench.worker.queued < 2 * 4096 + 1


def test_bytes_beyond_what_memory_holds_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUEUED_BYTES_PER_JOB_MAX", 500)
    bench = Bench()
    made = bench.know(Made(), 64)
    (answer,) = told(bench.take(made, (0, 64)), m.Return)
    assert (answer.code, answer.text) == ("late", "has more leased to it than its memory holds")


def test_a_peer_that_leaves_gives_back_what_has_not_started() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 8)
    bench.take(made, (0, 8))
    (answer,) = told(bench.do(bench.worker.drain(bench.now)), m.Return)
    assert (answer.code, answer.spans) == ("leaving", [(1, 7)])
    assert [r.code for r in told(bench.take(made, (0, 2)), m.Return)] == ["leaving"]
    (last,) = told(bench.run_all(), m.Results)
    assert last.last and bench.worker.unsettled == 1
    token, part = next(iter(bench.worker.works[made.job].unsettled))[-2:]
    bench.do(bench.worker.settled(GRANTOR_AT, m.Settled(made.job, [(token, part)])))
    assert bench.worker.unsettled == 0
    bench.worker.stay()
    assert told(bench.take(made, (0, 2)), m.Return) == []


def test_fewer_slots_run_fewer_tasks_at_a_time_and_more_start_what_waits() -> None:
    bench = Bench(slots=4)
    made = bench.know(Made(), 8)
    assert bench.worker.resize(1, bench.now) == []
    bench.take(made, (0, 8), slots=4)
    assert (bench.worker.running, bench.worker.queued) == (1, 7)
    bench.do(bench.worker.resize(9, bench.now))
    assert (bench.worker.running, bench.worker.turns.slots) == (4, 4)


def test_a_peer_that_leaves_at_once_gives_back_what_runs_too_and_stops_it() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 8)
    bench.take(made, (0, 8))
    waits, runs = told(bench.do(bench.worker.leave(bench.now)), m.Return)
    assert (waits.code, waits.spans, runs.code, runs.spans) == ("leaving", [(1, 7)], "leaving", [(0, 1)])
    assert bench.stops == [fx.StopRun(1, (0,), True)]
    assert told(bench.died(1, 0, signal=9), m.Results) == []
    assert bench.worker.works[made.job].leases == {}
    assert told(bench.do(bench.worker.leave(bench.now)), m.Return) == []


# --- the grantor takes back ------------------------------------------------------------------------------------------


def test_revoked_tasks_are_dropped_and_running_ones_are_stopped() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 8)
    bench.take(made, (0, 8), slots=1)
    assert bench.worker.queued == 7
    revoke = m.Revoke(made.job, [(0, 1), (2, 3), (7, 4_000_000_000)], True)
    bench.do(bench.worker.revoked(GRANTOR_AT, revoke, bench.now))
    assert bench.stops == [fx.StopRun(1, (0,), True)]
    assert bench.worker.queued == 3
    assert told(bench.died(1, 0, signal=9), m.Results) == []  # stopped because it was told to: nobody's death
    assert {i for m_ in told(bench.run_all(), m.Results) for i in made.open(m_).indices} == {1, 5, 6}
    assert bench.worker.works[made.job].leases == {}


def test_a_process_killed_for_another_task_is_no_tasks_fault() -> None:
    bench = Bench(slots=2)
    made = bench.know(Made(), 64)
    bench.take(made, (0, 64), slots=1)
    bench.ran(1, ran_s=0.001)
    (number,) = bench.runs
    held = len(bench.runs[number].arguments)
    bench.do(bench.worker.revoked(GRANTOR_AT, m.Revoke(made.job, [(1, 1)], True), bench.now))
    effects = bench.died(number, 1, signal=9)  # it had gone on to the next task meanwhile
    assert told(effects, m.Results) == []
    (back,) = told(effects, m.Return)
    assert (back.code, back.spans) == ("late", [(2, held - 1)])


def test_a_death_by_its_own_signal_is_the_tasks_fault_even_after_a_stop() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 4)
    bench.take(made, (0, 4), slots=1)
    bench.ran(1, ran_s=0.001)
    bench.do(bench.worker.revoked(GRANTOR_AT, m.Revoke(made.job, [(3, 1)], True), bench.now))
    (died,) = told(bench.died(2, 0, signal=11), m.Results)
    assert made.open(died).indices == [1]


def test_nobody_but_its_grantor_revokes_a_lease() -> None:
    bench = Bench()
    made = bench.know(Made(), 8)
    bench.take(made, (0, 8))
    queued = bench.worker.queued
    for who in (STRANGER_AT, STEWARDS_AT[0]):
        assert bench.do(bench.worker.revoked(who, m.Revoke(made.job, [(0, 8)], True), bench.now)) == []
    assert bench.worker.queued == queued and bench.stops == []
    assert bench.worker.revoked(GRANTOR_AT, m.Revoke(bytes(20), [(0, 8)], True), bench.now) == []


# --- what was believed ------------------------------------------------------------------------------------------------


def believe(bench: Bench, made: Made, *counts: int) -> m.Extend:
    """A segment under a signature that is none, as the owner's own node might say it."""
    said = made.segment(*counts)
    said = msgspec.structs.replace(said, segment=msgspec.structs.replace(said.segment, signature=bytes(64)))
    bench.worker.extended(said, believed=read(said.segment, Segment))
    return said


def condemn(bench: Bench, made: Made) -> list[fx.Effect]:
    return bench.do(bench.worker.condemn(made.job, NodeId(GRANTOR.id), bench.now))


def test_a_segment_is_believed_only_where_it_is_said_that_it_may_be() -> None:
    bench = Bench()
    made = bench.know(Made())
    said = believe(bench, made, 2)
    assert bench.worker.pages.kept_bytes > 0
    bench.worker.pages.forget(made.job)
    with pytest.raises(PeerError, match="signature"):
        bench.worker.extended(said)
    with pytest.raises(PeerError, match="not signed by its owner"):
        bench.worker.extended(
            m.Extend(0, signed(m_segment(said), STRANGER), said.pages, False), believed=m_segment(said)
        )
    assert bench.worker.pages.kept_bytes == 0


def test_what_was_leased_of_a_false_segment_is_dropped_or_stopped_and_nobody_is_told() -> None:
    bench = Bench(slots=2)
    made = bench.know(Made())
    believe(bench, made, 64)
    bench.take(made, (0, 64))
    bench.ran(1, ran_s=0.001)  # over before: stated
    running = dict(bench.runs)
    assert bench.worker.queued and running
    assert condemn(bench, made) == []
    assert bench.worker.queued == bench.worker.pages.kept_bytes == 0
    assert bench.stops == [fx.StopRun(n, tuple(range(len(run.arguments))), True) for n, run in running.items()]
    for number in running:
        assert bench.died(number, 0, signal=9) == []
    assert (bench.worker.works[made.job].leases, bench.worker.running, bench.runs) == ({}, 0, {})
    assert bench.worker.completed == 1
    (answer,) = told(bench.take(made, (0, 1)), m.Return)
    assert (answer.code, answer.text) == ("missing", "lacks a page")


def test_of_a_batch_that_is_stopped_for_a_false_segment_only_what_was_over_is_stated() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made())
    believe(bench, made, 64)
    bench.take(made, (0, 64), slots=1)
    bench.ran(1, ran_s=0.001)
    number = min(bench.runs)
    count = len(bench.runs[number].arguments)
    (before,) = told(bench.ran(number, 1), m.Results)
    condemn(bench, made)
    assert bench.stops[0] == fx.StopRun(number, tuple(range(1, count)), True)
    assert bench.dropped(number, 1) == []
    assert bench.died(number, 2, signal=11) == []  # whose fault it was matters to nobody
    for behind in list(bench.runs):
        assert bench.died(behind, 0, signal=9) == []
    assert made.open(before).indices == [1]
    assert bench.worker.works[made.job].leases == {}


def test_a_false_segment_costs_no_other_job_and_no_other_grantor() -> None:
    bench = Bench(slots=4)
    made, other = bench.know(Made()), bench.know(Made(2), 1)
    believe(bench, made, 2)
    bench.take(made, (0, 1))
    bench.worker.taken(STEWARDS_AT[0], STEWARDS[0].public, made.handover(0), made.job, bench.now)
    bench.take(made, (1, 1), epoch=1, by=STEWARDS[0], sender=STEWARDS_AT[0])
    bench.take(other, (0, 1))
    condemn(bench, made)
    assert [stop.batch for stop in bench.stops] == [1]
    assert bench.worker.condemn(bytes(20), NodeId(GRANTOR.id), bench.now) == []
    bench.died(1, 0, signal=9)
    said = told(bench.run_all(), m.Results)
    assert {read(message.receipt, Receipt).grantor for message in said} == {GRANTOR.id, STEWARDS[0].id}


def test_a_lease_is_its_grantors_by_the_session_that_brings_it() -> None:
    bench = Bench()
    made = bench.know(Made(), 1)
    grant = made.grant((0, 1))
    grant = msgspec.structs.replace(grant, lease=msgspec.structs.replace(grant.lease, signature=bytes(64)))
    with pytest.raises(PeerError, match="signed by another peer"):
        bench.worker.granted(STRANGER_AT, STRANGER.public, grant, bench.now)
    bench.do(bench.worker.granted(GRANTOR_AT, GRANTOR.public, grant, bench.now))
    assert len(told(bench.run_all(), m.Results)) == 1


# --- handover --------------------------------------------------------------------------------------------------------


def test_leases_of_two_epochs_with_one_token_stay_apart() -> None:
    bench = Bench()
    made = bench.know(Made(), 4)
    bench.worker.introduced(STEWARDS_AT[0], STEWARDS[0].public, made.spec, bench.now)
    bench.take(made, (0, 1), token=1)
    bench.worker.taken(STEWARDS_AT[0], STEWARDS[0].public, made.handover(0), made.job, bench.now)
    bench.take(made, (0, 1), token=1, epoch=1, by=STEWARDS[0], sender=STEWARDS_AT[0])
    effects = bench.run_all()
    said = [made.open(message).receipt for message in told(effects, m.Results)]
    assert sorted((r.epoch, r.grantor, r.token) for r in said) == [(0, GRANTOR.id, 1), (1, STEWARDS[0].id, 1)]
    rows = writes(effects, "journal")
    assert len({write.key for write in rows}) == 2
    tells = [e for e in effects if isinstance(e, fx.Tell) and isinstance(e.message, m.Results)]
    assert {e.to.id for e in tells} == {STEWARDS[0].id}  # of both: who grants now can settle them
    gone = writes(bench.do(bench.worker.settled(GRANTOR_AT, m.Settled(made.job, [(1, 0)]))), "journal")
    assert [write.key for write in gone] == [(made.job, 1, 0)]
    gone = writes(bench.do(bench.worker.settled(STEWARDS_AT[0], m.Settled(made.job, [((1 << 31) + 1, 0)]))), "journal")
    assert [write.key for write in gone] == [(made.job, (1 << 31) + 1, 0)]


def test_an_epoch_far_ahead_supersedes_nobody_and_its_leases_run_all_the_same() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 8)
    bench.take(made, (0, 4), token=1)
    authority = bench.worker.works[made.job].authority
    far = 1 + 1000 * (len(STEWARDS) + 1)
    assert authority.grants(STEWARDS[0].public, far) and authority.far(far)
    for _ in range(2):
        assert bench.do(bench.worker.mandated(STEWARDS_AT[0], STEWARDS[0].public, far, made.job, bench.now)) == []
    assert not told(bench.take(made, (4, 2), token=1, epoch=far, by=STEWARDS[0], sender=STEWARDS_AT[0]), m.Return)
    assert authority.epoch == 0 and bench.worker.works[made.job].grantor == GRANTOR_AT
    assert not told(bench.take(made, (6, 2), token=2), m.Return), "who granted before goes on"
    said = [made.open(message).receipt for message in told(bench.run_all(), m.Results)]
    assert {(r.epoch, r.grantor) for r in said} == {(0, GRANTOR.id), (far, STEWARDS[0].id)}
    near = 1 + 10 * (len(STEWARDS) + 1)
    bench.worker.mandated(STEWARDS_AT[0], STEWARDS[0].public, near, made.job, bench.now)
    assert authority.epoch == near


def test_a_handover_of_an_unknown_job_is_passed_over() -> None:
    bench = Bench()
    bench.worker.taken(STEWARDS_AT[0], STEWARDS[0].public, Made().handover(0), bytes(20), bench.now)


# --- what runs -------------------------------------------------------------------------------------------------------


def test_a_task_that_runs_for_long_is_told_of_once() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 2)
    bench.take(made, (0, 2), slots=1)
    assert told(bench.wait(0.04), m.Progress) == []
    assert told(bench.wait(0.02), m.Progress) == [m.Progress(made.job, 1, [0])]
    assert told(bench.wait(1.0), m.Progress) == []


def test_a_position_is_told_of_only_after_it_ran_for_long_itself() -> None:
    bench = Bench(slots=2)
    made = bench.know(Made(), 32)
    bench.take(made, (0, 32), slots=1)
    bench.ran(1, ran_s=0.001)
    bench.wait(0.06)
    for position in (1, 2, 3):
        bench.at[2] = position
        assert told(bench.wait(0.05), m.Progress) == []
    assert told(bench.wait(0.051), m.Progress) == [m.Progress(made.job, 1, [4])]


def test_a_lease_is_renewed_every_ten_seconds_of_silence() -> None:
    bench = Bench()
    made = bench.know(Made(), 2)
    bench.take(made, (0, 1))
    bench.at.clear()
    assert told(bench.wait(9.9), m.Progress) == []
    assert told(bench.wait(0.2), m.Progress) == [m.Progress(made.job, 1, [])]
    assert told(bench.wait(10.0), m.Progress) == [m.Progress(made.job, 1, [])]
    bench.at[1] = 0
    bench.ran(1)
    assert told(bench.wait(30.0), m.Progress) == []


def test_without_a_session_nobody_is_told_and_a_new_one_hears_at_once_that_leases_live() -> None:
    bench = Bench()
    made = bench.know(Made(), 2)
    bench.take(made, (0, 1))
    bench.worker.session_closed(NodeId(GRANTOR.id), bench.now)
    assert told(bench.wait(25.0), m.Progress) == []
    effects = bench.do(bench.worker.session_opened(NodeId(GRANTOR.id), bench.now))
    assert told(effects, m.Progress) == [m.Progress(made.job, 1, [])]


def test_a_grantor_on_the_same_node_needs_no_session() -> None:
    bench = Bench()
    made = Made(grantor=ME)
    bench.worker.introduced(ME_AT, ME.public, made.spec, bench.now)
    bench.worker.extended(made.segment(1))
    bench.take(made, (0, 1), sender=ME_AT)
    bench.worker.session_closed(NodeId(ME.id), bench.now)
    assert len(told(bench.ran(1), m.Results)) == 1


def test_reports_about_a_batch_that_is_over_are_passed_over() -> None:
    worker = Bench().worker
    assert worker.ran(7, 0, b"\0", [b""], bytes(16), 0.0, 1.0) == []
    assert worker.died(7, 0, 9, None, 1.0) == [] and worker.refused(7, "broken", "no", 1.0) == []
    assert worker.printed(7, 0, 1, b"x") == []


# --- many jobs -------------------------------------------------------------------------------------------------------


def test_an_idle_job_is_forgotten_once_its_grantor_has_gone() -> None:
    bench = Bench()
    made = bench.know(Made(), 2)
    bench.wait(700.0)
    assert made.job in bench.worker.works and bench.worker.pages.kept_bytes == 0  # its grantor still relies on us
    bench.worker.session_closed(NodeId(GRANTOR.id), bench.now)
    bench.wait(700.0)
    assert made.job not in bench.worker.works
    assert bench.worker.deadline() is None


def test_one_grantor_cannot_fill_a_peer_with_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOBS_PER_PEER_MAX", 8)
    monkeypatch.setattr(limits, "JOBS_PER_GRANTOR_MAX", 2)
    bench = Bench(slots=4)
    jobs = [bench.know(Made(number), 1) for number in range(1, 4)]
    assert [made.job in bench.worker.works for made in jobs] == [False, True, True]
    for made in jobs[1:]:
        bench.take(made, (0, 1))
    crowded = bench.know(Made(9), 1)
    (answer,) = told(bench.take(crowded, (0, 1)), m.Return)
    assert (answer.code, answer.text) == ("declined", "works for as many jobs as it can")
    other = keypair(50)
    welcome = bench.know(Made(10, grantor=other), 1, sender=at(other, 4050))
    assert told(bench.take(welcome, (0, 1), sender=at(other, 4050)), m.Return) == []


def test_thousands_of_idle_jobs_cost_a_busy_one_nothing() -> None:
    bench = Bench()
    for number in range(100, 200):
        bench.know(Made(number))
    made = bench.know(Made(), 2)
    bench.take(made, (0, 1))
    lookups = 0

    class Counting(dict[bytes, Any]):
        def values(self) -> Any:
            nonlocal lookups
            lookups += 1
            return super().values()

    bench.worker.works = bench.worker._works.jobs = Counting(bench.worker.works)
    bench.run_all()
    bench.worker.deadline()
    bench.wait(1.0)
    assert lookups == 0


# --- anything may come -----------------------------------------------------------------------------------------------


def arbitrary(kind: Any) -> st.SearchStrategy[Any]:
    """Any value that the codec would let through as ``kind``."""
    if get_origin(kind) is Annotated:
        of, *metas = get_args(kind)
        meta = next(meta for meta in metas if isinstance(meta, msgspec.Meta))
        return _bounded(of, meta)
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of([arbitrary(of) for of in get_args(kind)])
    if get_origin(kind) is list:
        return st.lists(arbitrary(get_args(kind)[0]), max_size=3)
    if get_origin(kind) is tuple:
        return st.tuples(*(arbitrary(of) for of in get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind, include_extras=True)
        return st.builds(kind, **{name: arbitrary(hints[name]) for name in kind.__struct_fields__})
    plain = {bool: st.booleans(), type(None): st.none(), bytes: st.binary(max_size=40), int: st.integers(0, 9)}
    return plain[kind]


def _bounded(of: Any, meta: msgspec.Meta) -> st.SearchStrategy[Any]:
    if of is bytes:
        low = meta.min_length or 0
        return st.binary(min_size=low, max_size=low if meta.max_length == low else min(meta.max_length or 40, 40))
    if of is memoryview:
        return st.binary(max_size=min(meta.max_length or 40, 40)).map(memoryview)
    if of is str:
        return st.text("ab", max_size=min(meta.max_length or 8, 8))
    if of is int:
        high = meta.le if meta.le is not None else (meta.lt or 1 << 63) - 1
        return st.one_of(st.integers(0, min(7, int(high))), st.integers(int(meta.ge or 0), int(high)))
    if of is float:
        return st.floats(meta.ge, meta.le)
    assert get_origin(of) is list
    low = meta.min_length or 0
    return st.lists(arbitrary(get_args(of)[0]), min_size=low, max_size=low + 3)


SPANS = st.tuples(st.integers(0, 11), st.integers(1, 4))


# --- tasks that come under a lease ---


def ahead(bench: Bench, there: int = 1, given: int = 4) -> Made:
    """A job of six tasks, a page each, of which the peer is leased ``given``, and told of the first ones."""
    made = bench.know(Made(), *[1] * 6)
    assert bench.take(made, (0, given), slices=made.slices([(0, there)])) == []
    return made


def further(bench: Bench, made: Made, *spans: tuple[int, int], **changes: Any) -> list[fx.Effect]:
    said = m.Further(made.job, 0, made.token, made.slices(list(spans)))
    return bench.do(
        bench.worker.furthered(changes.pop("sender", GRANTOR_AT), msgspec.structs.replace(said, **changes), bench.now)
    )


def test_tasks_that_come_under_a_lease_are_run_and_stated_under_it() -> None:
    bench = Bench()
    made = ahead(bench)
    found: list[tuple[int, int, list[int]]] = []
    for first in (0, 1, 2):
        assert first == 0 or further(bench, made, (first, 1)) == []
        (message,) = told(bench.run_all(), m.Results)
        opened = made.open(message)
        found.append((opened.receipt.token, opened.receipt.part, opened.indices))
        assert message.last
    assert found == [(1, 0, [0]), (1, 1, [1]), (1, 2, [2])], "no part is used twice: its page would share a nonce"
    assert bench.worker.works[made.job].leases == {} and bench.worker.queued == 0


def test_a_task_that_comes_while_another_runs_is_accounted_for_like_any() -> None:
    bench = Bench(slots=1)
    made = ahead(bench)
    assert further(bench, made, (1, 2)) == []
    assert bench.worker.works[made.job].leases[0, 1].remaining == 3
    messages = told(bench.run_all(), m.Results)
    assert [index for message in messages for index in made.open(message).indices] == [0, 1, 2]
    assert [message.last for message in messages] == [False] * (len(messages) - 1) + [True]


def test_what_is_named_again_is_run_once() -> None:
    bench = Bench()
    made = ahead(bench)
    assert further(bench, made, (1, 1)) == further(bench, made, (1, 1)) == further(bench, made, (0, 1)) == []
    assert len(told(bench.run_all(), m.Results)) == 2


@pytest.mark.parametrize("spans", [[(3, 2)], [(0, 2)], [(1, 1), (3, 1)], [(5, 1)]])
def test_tasks_that_the_lease_does_not_give_are_an_error(spans: list[tuple[int, int]]) -> None:
    bench = Bench()
    made = ahead(bench)
    with pytest.raises(PeerError):
        further(bench, made, *spans)
    with pytest.raises(PeerError):
        further(bench, made, (1, 1), sender=STRANGER_AT)
    key = made.keys.page(1)
    with pytest.raises(PeerError):
        further(bench, made, slices=[PageSlice(1, 1, 0, 3, key), PageSlice(1, 4, 0, 0, key)])
    assert len(bench.runs) == 1


def test_tasks_under_a_lease_that_is_not_held_are_missing() -> None:
    bench = Bench()
    made = ahead(bench)
    for changes in ({"token": 7}, {"epoch": 1}, {"job": bytes(32)}):
        (back,) = told(further(bench, made, (1, 1), **changes), m.Return)
        assert (back.code, back.spans) == ("missing", [(1, 1)])
    bench.take(made, (4, 1))  # a newer lease, which gives nothing ahead
    (back,) = told(bench.do(bench.worker.furthered(
        GRANTOR_AT, m.Further(made.job, 0, 1, made.slices([(1, 1)])), bench.now)), m.Return)  # fmt: skip
    assert back.code == "missing"


def test_a_lease_gives_tasks_to_come_for_no_longer_than_it_lasts() -> None:
    bench = Bench()
    made = ahead(bench)
    bench.run_all()
    bench.wait(limits.LEASE_S)
    (back,) = told(further(bench, made, (1, 1)), m.Return)
    assert back.code == "missing"


def test_a_task_that_comes_and_cannot_be_run_goes_back_alone() -> None:
    bench = Bench(slots=1)
    made = ahead(bench)
    bench.worker.pages.forget(made.job)
    (back,) = told(further(bench, made, (1, 1)), m.Return)
    assert (back.code, back.text, back.spans) == ("missing", "lacks a page", [(1, 1)])
    bench.worker.leaving = True
    (back,) = told(further(bench, made, (2, 1)), m.Return)
    assert back.code == "leaving"
    assert bench.worker.works[made.job].leases[0, 1].remaining == 1


def test_a_grantor_of_an_older_epoch_names_no_more_tasks() -> None:
    bench = Bench()
    made = ahead(bench)
    bench.worker.taken(STEWARDS_AT[0], STEWARDS[0].public, made.handover(0), made.job, bench.now)
    effects = further(bench, made, (1, 1))
    assert [mandate.epoch for mandate in told(effects, m.Mandate)] == [1]
    assert [back.code for back in told(effects, m.Return)] == ["leaving"]


def test_nothing_more_comes_of_a_job_whose_segments_are_not_the_owners() -> None:
    bench = Bench()
    made = ahead(bench)
    bench.do(bench.worker.condemn(made.job, NodeId(GRANTOR.id), bench.now))
    assert [back.code for back in told(further(bench, made, (1, 1)), m.Return)] == ["missing"]


class Accounts(RuleBasedStateMachine):
    """A worker of two jobs under random leases, revokes, reports and sessions: each task is accounted for once."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(slots=2)
        self.made = [self.bench.know(Made(number), 6, 6) for number in (1, 2)]
        self.owed: dict[tuple[bytes, int], Counter[int]] = {}
        self.ahead: dict[int, tuple[int, int, int]] = {}  # of each job: token, next and end of what is still to come
        self.open = True

    def take(self, effects: list[fx.Effect]) -> None:
        for result in told(effects, m.Results):
            self.settle(result)
        for row in writes(effects, "journal"):
            if row.value is not None and not told(effects, m.Results):
                receipt = pages.SIGNED.decode(row.value[2])  # type: ignore[arg-type]
                page = row.value[3]
                assert isinstance(page, bytes)
                self.settle(m.Results(receipt, page, False))
        for back in told(effects, m.Return):
            self.account(back.job, back.token, pages.cut(back.spans))

    def settle(self, result: m.Results) -> None:
        job = read(result.receipt, Receipt).job
        opened = next(made for made in self.made if made.job == job).open(result)
        self.account(job, opened.receipt.token, opened.indices)

    def account(self, job: bytes, token: int, indices: list[int]) -> None:
        owed = self.owed[job, token]
        for index in indices:
            owed[index] -= 1
            assert owed[index] == 0, f"task {index} of lease {token} is accounted for twice"
            del owed[index]

    @rule(which=st.integers(0, 1), spans=st.lists(SPANS, min_size=1, max_size=3), slots=st.integers(1, 2))
    def grant(self, which: int, spans: list[tuple[int, int]], slots: int) -> None:
        made, cut = self.made[which], [span for span in spans if sum(span) <= 12]
        indices = pages.cut(cut)
        if not indices or len(set(indices)) < len(indices):
            return
        self.owed[made.job, made.token + 1] = Counter(indices)
        self.take(self.bench.take(made, *cut, slots=slots))
        self.open = True

    @rule(which=st.integers(0, 1), first=st.integers(0, 8), there=st.integers(1, 3), ahead=st.integers(1, 6))
    def grant_ahead(self, which: int, first: int, there: int, ahead: int) -> None:
        made, end = self.made[which], min(first + there + ahead, 12)
        if first + there < end:
            self.owed[made.job, made.token + 1] = Counter(range(first, first + there))
            slices = made.slices([(first, there)])
            self.take(self.bench.take(made, (first, end - first), slices=slices))
            self.ahead[which] = (made.token, first + there, end)
            self.open = True

    @precondition(lambda self: self.ahead)
    @rule(data=st.data(), count=st.integers(1, 3), again=st.booleans())
    def further(self, data: st.DataObject, count: int, again: bool) -> None:
        which = data.draw(st.sampled_from(sorted(self.ahead)))
        made, bench, (token, first, end) = self.made[which], self.bench, self.ahead[which]
        count = min(count, end - first)
        if not count:
            return
        self.owed.setdefault((made.job, token), Counter()).update(range(first, first + count))
        message = m.Further(made.job, 0, token, made.slices([(first, count)]))
        work = bench.worker.works.get(made.job)
        lease = None if work is None else work.foreseen
        held = lease is not None and lease.token == token and bench.now < lease.until
        self.take(bench.do(bench.worker.furthered(GRANTOR_AT, message, bench.now)))
        if again and held:
            assert bench.worker.furthered(GRANTOR_AT, message, bench.now) == [], "what is said again is run once"
        self.ahead[which] = (token, first + count, end)

    @rule(which=st.integers(0, 1), spans=st.lists(SPANS, min_size=1, max_size=3), stop=st.booleans())
    def revoke(self, which: int, spans: list[tuple[int, int]], stop: bool) -> None:
        made, bench = self.made[which], self.bench
        work = bench.worker.works.get(made.job)
        before = (
            [] if work is None else [(p.lease.token, p.first + i) for p in work.queue for i in range(len(p.arguments))]
        )
        gone = set(pages.cut(spans))
        self.take(bench.do(bench.worker.revoked(GRANTOR_AT, m.Revoke(made.job, spans, stop), bench.now)))
        for token, index in before:  # what waited is gone without a word
            if index in gone:
                del self.owed[made.job, token][index]

    @precondition(lambda self: self.bench.runs)
    @rule(data=st.data(), ran_s=st.sampled_from([0.00001, 0.001, 0.01, 1.0]))
    def report(self, data: st.DataObject, ran_s: float) -> None:
        bench = self.bench
        number = data.draw(st.sampled_from(sorted(bench.runs)))
        left = len(bench.runs[number].arguments) - bench.at[number]
        count = data.draw(st.integers(1, left))
        dropped = {p for stop in bench.stops if stop.batch == number for p in stop.positions}
        start, outcomes = bench.at[number], bytearray(count)
        for i in range(count):
            if start + i in dropped and data.draw(st.booleans()):
                outcomes[i] = 2
                self.drop(number, start + i)
        values = [b"" if outcome == 2 else b"v%d" % i for i, outcome in enumerate(outcomes)]
        self.take(bench.ran(number, count, ran_s, values=values, outcomes=bytes(outcomes)))

    def drop(self, number: int, position: int) -> None:
        batch = self.bench.worker.turns.batches[number]
        del self.owed[batch.work.job, batch.lease.token][batch.first + position]

    @precondition(lambda self: self.bench.runs)
    @rule(data=st.data(), signal=st.sampled_from([9, 11, None]))
    def die(self, data: st.DataObject, signal: int | None) -> None:
        bench = self.bench
        number = data.draw(st.sampled_from(sorted(bench.runs)))
        batch = bench.worker.turns.batches[number]
        position = data.draw(st.integers(0, batch.count + 2))
        for position_left in range(batch.done, batch.count):
            if position_left in batch.revoked:
                self.drop(number, position_left)
        self.take(bench.died(number, position, signal))

    @precondition(lambda self: self.bench.runs)
    @rule(data=st.data(), code=st.sampled_from(["broken", "unusable", "unreachable"]), some=st.booleans())
    def refuse(self, data: st.DataObject, code: str, some: bool) -> None:
        bench = self.bench
        number = data.draw(st.sampled_from(sorted(bench.runs)))
        batch = bench.worker.turns.batches[number]
        for position_left in range(batch.done, batch.count):
            if position_left in batch.revoked:
                self.drop(number, position_left)
        del bench.runs[number], bench.at[number]
        positions = data.draw(st.sets(st.integers(0, batch.count - 1), min_size=1)) if some else None
        self.take(bench.do(bench.worker.refused(number, code, "no " * 200, bench.now, positions)))

    @rule()
    def session(self) -> None:
        bench, peer = self.bench, NodeId(GRANTOR.id)
        if self.open:
            bench.worker.session_closed(peer, bench.now)
        else:
            bench.do(bench.worker.session_opened(peer, bench.now))
        self.open = not self.open

    @rule(seconds=st.sampled_from([0.01, 0.06, 4.0, 11.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.bench.wait(seconds)

    @rule(which=st.integers(0, 1))
    def acknowledge(self, which: int) -> None:
        made, bench = self.made[which], self.bench
        work = bench.worker.works.get(made.job)
        if work is not None:
            parts = [(token, part) for _, token, part in work.unsettled]
            bench.do(bench.worker.settled(GRANTOR_AT, m.Settled(made.job, parts)))
            assert work.unsettled == {}

    @invariant()
    def counts_agree(self) -> None:
        worker = self.bench.worker
        pieces = [piece for work in worker.works.values() for piece in work.queue]
        assert worker.queued == sum(len(piece.arguments) for piece in pieces)
        assert worker.turns.queued_bytes == sum(piece.size_bytes for piece in pieces)
        assert len(worker.turns.batches) <= 2 * worker.slots
        for work in worker.works.values():
            assert work.running == sum(batch.work is work for batch in worker.turns.batches.values())
            assert all(lease.remaining > 0 for lease in work.leases.values())
        unsettled = sum(len(work.unsettled) for work in worker.works.values())
        assert worker.journal.count == unsettled

    @invariant()
    def leases_end_with_their_last_task(self) -> None:
        worker = self.bench.worker
        held = {(job, token): lease for job, work in worker.works.items() for (_, token), lease in work.leases.items()}
        owed = {key: sum(counts.values()) for key, counts in self.owed.items()}
        assert {key: count for key, count in owed.items() if count} == {k: lease.remaining for k, lease in held.items()}
        assert len(worker._leases) == len(held)

    @invariant()
    def no_slot_idles_while_tasks_wait(self) -> None:
        worker = self.bench.worker
        waits = [work for work in worker.works.values() if work.queue and work.running < work.slots]
        assert not waits or len(worker.turns.batches) >= worker.slots


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

MESSAGES = st.sampled_from(get_args(m.Message)).flatmap(arbitrary)
WELL_SIGNED = st.sampled_from([Lease, Segment, Spec, Receipt, Handover, Close, Cancel, LogHeader]).flatmap(arbitrary)


@given(message=MESSAGES, statement=WELL_SIGNED, data=st.data())
@settings(max_examples=300)
def test_whatever_is_decoded_is_answered_or_refused(message: Any, statement: Any, data: st.DataObject) -> None:
    bench, wall = Bench(), 1e9
    made = bench.know(Made(), 3, 3)
    steward = Steward(me=STEWARDS[0], storing=True, wall=lambda: wall, granting=lambda job: None)
    steward.introduced(GRANTOR_AT, m.Introduce(1, made.spec, True))
    if data.draw(st.booleans()) and hasattr(statement, "job"):
        statement = msgspec.structs.replace(statement, job=made.job)
    envelope = signed(statement, data.draw(st.sampled_from([OWNER, GRANTOR, STEWARDS[0], STRANGER])))
    for name in ("lease", "segment", "spec", "receipt", "handover", "statement", "header"):
        if hasattr(message, name):
            message = msgspec.structs.replace(message, **{name: envelope})
    calls: list[Callable[[], object]] = {
        m.Introduce: [
            lambda: bench.worker.introduced(GRANTOR_AT, GRANTOR.public, message.spec, bench.now),
            lambda: steward.introduced(GRANTOR_AT, message),
        ],
        m.Extend: [
            lambda: bench.worker.extended(message),
            lambda: steward.extended(GRANTOR_AT, message),
        ],
        m.Grant: [lambda: bench.worker.granted(GRANTOR_AT, GRANTOR.public, message, bench.now)],
        m.Further: [lambda: bench.worker.furthered(GRANTOR_AT, message, bench.now)],
        m.Revoke: [lambda: bench.worker.revoked(GRANTOR_AT, message, bench.now)],
        m.Settled: [lambda: bench.worker.settled(GRANTOR_AT, message)],
        m.Take: [
            lambda: bench.worker.taken(GRANTOR_AT, GRANTOR.public, message.handover, made.job, bench.now),
            lambda: steward.taken(GRANTOR_AT, message, made.job),
        ],
        m.Finish: [lambda: steward.finished(GRANTOR_AT, message)],
        m.Append: [lambda: steward.appended(GRANTOR_AT, message)],
        m.Results: [lambda: steward.orphan(GRANTOR_AT, message)],
        m.Ask: [lambda: steward.asked(GRANTOR_AT, message)],
        m.ListJobs: [lambda: steward.listed(GRANTOR_AT, message)],
    }.get(type(message), [])
    for call in calls:
        try:
            effects = call()
        except PeerError:
            continue
        if isinstance(effects, list):
            assert all(isinstance(effect, fx.Effect) for effect in effects)
            for effect in effects:
                if isinstance(effect, fx.Tell):
                    assert m.CODEC.decode(m.CODEC.encode(effect.message)) == effect.message


def inputs(made: Made, token: int, *values: bytes, epoch: int = 0) -> m.Inputs:
    stated = [result_digest(made.keys.digests, value) for value in values]
    some = [m.Input(index, digest, value, []) for index, (digest, value) in enumerate(zip(stated, values, strict=True))]
    return m.Inputs(made.job, epoch, token, some)


def test_results_that_tasks_take_come_ahead_of_their_lease_and_stand_in_the_receipt() -> None:
    bench, made = Bench(slots=1), Made()
    bench.know(made, 1)
    page = TaskPage([b"function"], None, [b"a", b"b"], [], [(0, [0]), (1, [0])], [0])
    bench.worker.extended(made.segment(2, page=page))
    bench.worker.given(made.grantor.public, inputs(made, 1, b"value"))
    bench.take(made, (1, 2), slots=1)
    assert bench.runs[1].parts == ((b"value",),)
    effects = bench.ran(1)
    opened_receipt = made.open(told(effects, m.Results)[0]).receipt
    assert opened_receipt.inputs == [(1, 0, result_digest(made.keys.digests, b"value"))]
    assert not bench.worker.works[made.job].given


def test_a_lease_whose_inputs_lack_goes_back() -> None:
    bench, made = Bench(slots=1), Made()
    bench.know(made, 1)
    page = TaskPage([b"function"], None, [b"a"], [], [(0, [0])], [0])
    bench.worker.extended(made.segment(1, page=page))
    (back,) = told(bench.take(made, (1, 1)), m.Return)
    assert (back.code, back.text) == ("missing", "lacks the result of task 0") and not bench.runs


def test_inputs_are_the_grantors_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, made = Bench(), Made()
    bench.worker.given(made.grantor.public, inputs(made, 1, b"of a job that is unknown"))
    bench.know(made, 1)
    with pytest.raises(PeerError, match="does not grant"):
        bench.worker.given(STRANGER.public, inputs(made, 1, b"x"))
    for token in range(9):
        bench.worker.given(made.grantor.public, inputs(made, token, b"x"))
    given = bench.worker.works[made.job].given
    assert len(given) == limits.INPUTS_PENDING_MAX
    monkeypatch.setattr(limits, "LEASE_INPUTS_BYTES_MAX", 5)
    with pytest.raises(PeerError, match="more results than it may"):
        bench.worker.given(made.grantor.public, inputs(made, 20, b"sixsix"))
    assert (0, 20) not in given
