"""Outcomes: what a batch came to, in whatever parts and with whatever gaps the runtime reports it."""

from __future__ import annotations

import pytest

from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.breakers import FAILURES_MAX
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Death, Print
from p2pcpn.wire.statements import Outcome
from tests.unit.protocol.leased import GRANTOR_AT, Bench, Made, told


def running(count: int = 8) -> tuple[Bench, Made, int]:
    """A bench with one batch of five tasks, 1 to 5, in its process; 6 and 7 wait."""
    bench = Bench(slots=2)
    made = bench.know(Made(), count)
    bench.take(made, (0, count), slots=1)
    bench.ran(1, ran_s=0.001)
    assert [len(run.arguments) for run in bench.runs.values()] == [5]
    return bench, made, 2


def test_results_in_several_parts_are_receipts_of_one_lease() -> None:
    bench, made, number = running()
    effects = bench.ran(number, 2) + bench.ran(number, 1) + bench.ran(number)
    receipts = [made.open(message).receipt for message in told(effects, m.Results)]
    assert [(r.part, r.spans) for r in receipts] == [(1, [(1, 2)]), (2, [(3, 1)]), (3, [(4, 2)])]


def test_dropped_positions_in_the_middle_leave_gaps_in_one_receipt() -> None:
    bench, made, number = running()
    bench.do(bench.worker.revoked(GRANTOR_AT, m.Revoke(made.job, [(2, 1), (4, 1)], False), bench.now))
    assert bench.stops == [fx.StopRun(number, (1, 3), False)]
    effects = bench.ran(number, values=[b"a", b"", b"c", b"", b"e"], outcomes=bytes([0, 2, 1, 2, 0]))
    (message,) = told(effects, m.Results)
    opened = made.open(message)
    assert (opened.indices, opened.receipt.outcomes, opened.values) == ([1, 3, 5], bytes([0, 1, 0]), [b"a", b"c", b"e"])
    assert told(effects, m.Return) == []
    assert bench.worker.works[made.job].leases[0, 1].remaining == 2


def test_a_batch_whose_last_positions_are_dropped_is_over() -> None:
    bench, made, number = running(6)
    bench.ran(number, 2)
    bench.do(bench.worker.revoked(GRANTOR_AT, m.Revoke(made.job, [(3, 3)], False), bench.now))
    assert told(bench.dropped(number, 3), m.Results) == []
    assert bench.worker.works[made.job].leases == {} and bench.worker.running == 0


def test_a_result_that_came_in_spite_of_a_revoke_counts() -> None:
    bench, made, number = running()
    bench.do(bench.worker.revoked(GRANTOR_AT, m.Revoke(made.job, [(1, 5)], False), bench.now))
    effects = bench.ran(number, 1) + bench.dropped(number, 4)
    assert [made.open(message).indices for message in told(effects, m.Results)] == [[1]]


def test_what_was_dropped_though_nobody_revoked_it_goes_back() -> None:
    bench, made, number = running()
    (back,) = told(bench.dropped(number, 5), m.Return)
    assert (back.code, back.spans) == ("late", [(1, 5)])
    assert bench.worker.works[made.job].leases[0, 1].remaining == 2


def test_a_death_is_a_receipt_and_the_rest_goes_back_uncharged() -> None:
    bench, made, number = running()
    bench.worker.printed(number, 2, 2, b"fatal\n")
    bench.worker.printed(number, 1, 2, b"all is well\n")
    effects = bench.died(number, 2, signal=11)
    (message,) = told(effects, m.Results)
    opened = made.open(message)
    assert (opened.indices, opened.receipt.outcomes) == ([3], bytes([Outcome.DIED]))
    assert isinstance(opened.values[0], bytes) and pages.DEATH.decode(opened.values[0]) == Death(11, None)
    assert opened.page.output == [Print(3, 2, b"fatal\n")]
    (back,) = told(effects, m.Return)
    assert (back.code, back.spans) == ("late", [(1, 2), (4, 2)])  # 1 and 2 ran, but their results died unreported
    assert bench.worker.works[made.job].leases[0, 1].remaining == 2


def test_results_reported_before_a_death_stand() -> None:
    bench, made, number = running()
    bench.ran(number, 2)
    effects = bench.died(number, 3, signal=None, code=1)
    assert [b.spans for b in told(effects, m.Return)] == [[(3, 1), (5, 1)]]
    (message,) = told(effects, m.Results)
    assert made.open(message).indices == [4]


@pytest.mark.parametrize(("position", "blamed"), [(0, 3), (99, 5)])
def test_a_position_that_cannot_be_is_brought_within_what_is_left(position: int, blamed: int) -> None:
    bench, made, number = running()
    bench.ran(number, 2)
    (message,) = told(bench.died(number, position), m.Results)
    assert made.open(message).indices == [blamed]


def test_the_last_result_after_a_death_says_that_the_lease_is_spent() -> None:
    bench, made, number = running(6)
    effects = bench.died(number, 0)
    assert [message.last for message in told(effects, m.Results)] == [True]
    assert bench.worker.works[made.job].leases == {}


@pytest.mark.parametrize(
    ("why", "code"), [("the blob 0011 is not here", "unreachable"), ("the processes do not start " * 20, "broken")]
)
def test_a_batch_that_cannot_run_goes_back_with_the_reason(why: str, code: str) -> None:
    bench, made, number = running()
    bench.do(bench.worker.revoked(GRANTOR_AT, m.Revoke(made.job, [(2, 1)], False), bench.now))
    del bench.runs[number], bench.at[number]
    (back,) = told(bench.do(bench.worker.refused(number, code, why, bench.now)), m.Return)
    assert (back.code, back.spans, back.text) == (code, [(1, 1), (3, 3)], why[:200])
    assert m.CODEC.decode(m.CODEC.encode(back)) == back


def test_of_a_batch_only_what_takes_a_bad_input_goes_back_and_its_mates_run_at_once() -> None:
    bench, made, number = running()
    bench.do(bench.worker.revoked(GRANTOR_AT, m.Revoke(made.job, [(2, 1)], False), bench.now))
    del bench.runs[number], bench.at[number]
    effects = bench.do(bench.worker.refused(number, "unusable", "does not open", bench.now, {2}))
    (back,) = told(effects, m.Return)
    assert (back.code, back.spans, back.text) == ("unusable", [(3, 1)], "does not open")
    lease = bench.worker.works[made.job].leases[0, 1]
    assert lease.remaining == 5
    batches = bench.worker.turns.batches.values()
    again = [index for batch in batches for index in range(batch.first, batch.first + batch.count)]
    waits = [piece.first + at for piece in bench.worker.works[made.job].queue for at in range(len(piece.arguments))]
    assert sorted(again + waits) == [1, 4, 5, 6, 7] and again


@pytest.mark.parametrize("how", ["its processes die", "its processes do not start"])
def test_a_peer_at_which_nothing_succeeds_says_so_until_something_does(how: str) -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 20)
    bench.take(made, *[(index, 1) for index in range(20)], slots=1)
    for times in range(FAILURES_MAX):
        assert bench.worker.failing(made.job) is None
        (number,) = bench.runs
        if how == "its processes die":
            bench.died(number, 0, signal=11)
        else:
            del bench.runs[number], bench.at[number]
            bench.do(bench.worker.refused(number, "broken", "do not start", bench.now, {0}))
        assert times < FAILURES_MAX
    failing = bench.worker.failing(made.job)
    assert failing is not None and failing[0] == "failing" and failing[1].endswith(f"{FAILURES_MAX} times in a row")
    assert ("(signal 11)" in failing[1]) == (how == "its processes die")
    assert bench.worker.failing(bytes(20)) is None
    (number,) = bench.runs
    bench.ran(number)
    assert bench.worker.failing(made.job) is None


def test_whatever_a_process_says_beyond_success_is_an_exception() -> None:
    bench, made, number = running()
    (message,) = told(bench.ran(number, 1, outcomes=bytes([77])), m.Results)
    assert made.open(message).receipt.outcomes == bytes([Outcome.RAISED])
