"""The verdict: good histories pass, and each broken promise is found in a history that breaks it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn.protocol import history as h
from p2pcpn.protocol.lots import Lots
from p2pcpn.protocol.verdict import SHOWN_MAX, Judge, in_order, judge

JOB = "0b"
WORKERS = ("a1", "a2", "a3")


def d(word: int, count: int = 1) -> str:
    """Digests."""
    return "".join(f"{word + at:032x}" for at in range(count))


class Story:
    """A history as it is written down."""

    def __init__(self) -> None:
        self.lines: list[h.Line] = []
        self.numbers: dict[str, int] = {}

    def note(self, process: str, *events: h.Event) -> Story:
        for event in events:
            number = self.numbers[process] = self.numbers.get(process, 0) + 1
            self.lines.append(h.Line(process, number, float(len(self.lines)), event))  # type: ignore[arg-type]
        return self

    def made(self, worker: str, token: int, spans: tuple[tuple[int, int], ...], digests: str, epoch: int = 0) -> Story:
        return self.note(f"{worker}/1", h.Made(JOB, epoch, "c1", token, 0, spans, digests))

    def broken(self) -> list[str]:
        return [violation.rule for violation in judge(self.lines).violations]


def leased(token: int, worker: str, *spans: tuple[int, int], copy: bool = False, epoch: int = 0) -> h.Leased:
    return h.Leased(JOB, epoch, token, worker, spans, 30.0, copy)


def ended(token: int, why: str, *spans: tuple[int, int], epoch: int = 0) -> h.Ended:
    return h.Ended(JOB, epoch, token, spans, why)


def accepted(token: int, worker: str, span: tuple[int, int], digests: str, epoch: int = 0) -> h.Accepted:
    return h.Accepted(JOB, epoch, token, 0, worker, (span,), digests)


def begun(workers: tuple[str, ...] = WORKERS) -> Story:
    story = Story()
    for node in ("c1", *workers):
        story.note(f"{node}/1", h.Began())
    return story.note("c1/1", h.Opened(JOB, 0), h.Offered(JOB, 0, 1), h.Claimed(JOB, 0, "a1", 0), h.Said(JOB, 4))


def good() -> Story:
    """Four tasks: two at once, one that is lost and leased anew, one of which a copy wins; one steward, two readers."""
    story = begun().note("c1/1", leased(1, "a1", (0, 2)), leased(2, "a2", (2, 2)))
    story.made("a1", 1, ((0, 2),), d(10, 2))
    story.note("c1/1", h.Renewed(JOB, 0, 1, 40.0), accepted(1, "a1", (0, 2), d(10, 2)), ended(1, "settled", (0, 2)))
    story.note("c1/1", h.Delivered(JOB, ((0, 2),), d(10, 2)), ended(2, "lost", (2, 1)), leased(3, "a3", (2, 1)))
    story.made("a3", 3, ((2, 1),), d(12)).made("a2", 2, ((2, 2),), d(12, 2))
    story.note(
        "c1/1", accepted(3, "a3", (2, 1), d(12)), ended(3, "settled", (2, 1)), leased(4, "a1", (3, 1), copy=True)
    )
    story.note("c1/1", accepted(2, "a2", (3, 1), d(13)), ended(2, "settled", (3, 1)), ended(4, "beaten", (3, 1)))
    story.note("c1/1", h.Late(JOB, 0, 4, 0, "a1"), h.Delivered(JOB, ((2, 2),), d(12, 2)), h.Closed(JOB, 4))
    story.note("c1/1", h.Signed(JOB, 0, 0, "s0", ((0, 4),), d(10, 4)))
    story.note("a1/1", h.Kept(JOB, 0, "c1", 0, "s0")).note("a2/1", h.Kept(JOB, 0, "c1", 0, "s0"))
    saw = h.Saw(JOB, ((0, 4),), (0,) * 4, d(10, 4))
    return story.note("a1/1", saw).note("a3/1", saw)


def test_a_good_history_passes_and_is_counted() -> None:
    found = judge(good().lines)
    assert found.ok and str(found) == "clean"
    assert (found.jobs, found.tasks, found.settled, found.late, found.copies, found.readers) == (1, 4, 4, 1, 1, 2)
    assert found.failed == found.cancelled == found.reruns == found.conflicts == 0
    assert judge(in_order(reversed(good().lines))).ok


def bad(rule: str, words: str) -> Callable[[Callable[[], Story]], tuple[Callable[[], Story], str, str]]:
    return lambda story: (story, rule, words)


@bad("settled once", "settled twice")
def accepted_twice() -> Story:
    return good().note("c1/1", accepted(3, "a3", (2, 1), d(12)))


@bad("settled once", "leased again")
def leased_after_it_was_settled() -> Story:
    return good().note("c1/1", leased(5, "a1", (0, 1)))


@bad("settled once", "settled twice in epoch 0")
def signed_twice() -> Story:
    return good().note("c1/1", h.Signed(JOB, 0, 1, "s1", ((3, 1),), d(13)))


@bad("settled once", "two things in place 0")
def two_words_in_one_place_of_a_log() -> Story:
    return good().note("c1/1", h.Signed(JOB, 0, 0, "other", (), ""))


@bad("settled once", "was not accepted so")
def signed_but_never_accepted() -> Story:
    return good().note("c1/1", h.Signed(JOB, 0, 1, "s1", ((7, 1),), d(7)))


@bad("leases", "given out twice")
def a_token_is_given_out_again_after_a_restart() -> Story:
    return good().note("c1/2", h.Began(), h.Opened(JOB, 0), leased(1, "a2", (5, 1)))


@bad("leases", "while another lease owes it")
def two_leases_of_one_task() -> Story:
    return begun().note("c1/1", leased(1, "a1", (0, 2)), leased(2, "a2", (1, 1)))


@bad("leases", "leased twice to one peer")
def a_copy_for_the_same_peer() -> Story:
    return begun().note("c1/1", leased(1, "a1", (0, 2)), leased(2, "a1", (1, 1), copy=True))


def foreseen() -> Story:
    """A lease gives two tasks that are still to come; the first of them comes."""
    story = (
        begun().note("c1/1", leased(1, "a1", (3, 1)), h.Foresaw(JOB, 0, 1, ((4, 2),))).made("a1", 1, ((3, 1),), d(3))
    )
    story.note("c1/1", accepted(1, "a1", (3, 1), d(3)), ended(1, "settled", (3, 1)), h.Said(JOB, 5))
    return story.note("c1/1", h.Furthered(JOB, 0, 1, ((4, 1),), 30.0))


def test_a_task_that_comes_under_a_lease_is_owed_under_it() -> None:
    story = foreseen()
    story.note("a1/1", h.Made(JOB, 0, "c1", 1, 1, ((4, 1),), d(4)))
    story.note("c1/1", h.Accepted(JOB, 0, 1, 1, "a1", ((4, 1),), d(4)), ended(1, "settled", (4, 1)))
    assert judge(story.lines, over=False).ok


@bad("leases", "which does not give it")
def a_task_comes_under_a_lease_twice() -> Story:
    return foreseen().note("c1/1", ended(1, "lost", (4, 1)), h.Furthered(JOB, 0, 1, ((4, 1),), 30.0))


@bad("leases", "which does not give it")
def a_task_comes_under_a_lease_of_others() -> Story:
    return foreseen().note("c1/1", h.Furthered(JOB, 0, 1, ((6, 1),), 30.0))


@bad("leases", "which does not give it")
def a_task_comes_under_a_lease_that_nobody_was_granted() -> Story:
    return begun().note("c1/1", h.Furthered(JOB, 0, 1, ((0, 1),), 30.0))


@bad("leases", "which nobody was granted")
def a_lease_that_nobody_was_granted_gives_tasks_to_come() -> Story:
    return begun().note("c1/1", h.Foresaw(JOB, 0, 1, ((4, 2),)))


@bad("leases", "while another lease owes it")
def a_task_that_comes_is_leased_to_another() -> Story:
    return foreseen().note("c1/1", leased(2, "a2", (4, 1)))


@bad("fenced", "was not leased under token 1")
def a_task_that_has_not_come_is_settled() -> Story:
    story = foreseen().note("a1/1", h.Made(JOB, 0, "c1", 1, 1, ((5, 1),), d(5)))
    return story.note("c1/1", h.Accepted(JOB, 0, 1, 1, "a1", ((5, 1),), d(5)))


@bad("leases", "does not owe it")
def a_lease_loses_what_it_never_owed() -> Story:
    return begun().note("c1/1", leased(1, "a1", (0, 2)), ended(1, "lost", (2, 1)))


@bad("fenced", "which 2 fences")
def a_late_result_under_a_fenced_token() -> Story:
    story = begun().note("c1/1", leased(1, "a1", (0, 1)), ended(1, "lost", (0, 1)), leased(2, "a2", (0, 1)))
    return story.made("a1", 1, ((0, 1),), d(1)).note("c1/1", accepted(1, "a1", (0, 1), d(1)))


@bad("fenced", "which 3 fences")
def a_copy_fences_who_had_lost_the_task_before() -> Story:
    story = begun().note("c1/1", leased(1, "a1", (0, 1)), ended(1, "lost", (0, 1)), leased(2, "a2", (0, 1)))
    story.note("c1/1", leased(3, "a3", (0, 1), copy=True)).made("a1", 1, ((0, 1),), d(1))
    story.lines = [line for line in story.lines if getattr(line.event, "token", 0) != 2]
    return story.note("c1/1", accepted(1, "a1", (0, 1), d(1)))


@bad("fenced", "was not leased under token 1")
def a_result_for_a_task_that_was_not_in_its_lease() -> Story:
    story = begun().note("c1/1", leased(1, "a1", (0, 1))).made("a1", 1, ((1, 1),), d(1))
    return story.note("c1/1", accepted(1, "a1", (1, 1), d(1)))


@bad("fenced", "which is not its")
def a_result_under_anothers_token() -> Story:
    story = begun().note("c1/1", leased(1, "a1", (0, 1))).made("a2", 1, ((0, 1),), d(1))
    return story.note("c1/1", accepted(1, "a2", (0, 1), d(1)))


@bad("forged", "did not state")
def a_result_that_its_worker_never_stated() -> Story:
    story = begun().note("c1/1", leased(1, "a1", (0, 1))).made("a1", 1, ((0, 1),), d(1))
    return story.note("c1/1", accepted(1, "a1", (0, 1), d(2)))


@bad("canonical", "canonical is")
def a_reader_sees_another_result() -> Story:
    return good().note("a2/1", h.Saw(JOB, ((0, 4),), (0,) * 4, d(10, 3) + d(99)))


@bad("canonical", "of epoch 1")
def a_reader_sees_the_later_epoch() -> Story:
    story = good().note("a2/1", h.Opened(JOB, 1), leased(1, "a1", (0, 1), epoch=1))
    story.note("a1/1", h.Made(JOB, 1, "a2", 1, 0, ((0, 1),), d(50)))
    story.note("a2/1", accepted(1, "a1", (0, 1), d(50), epoch=1), ended(1, "settled", (0, 1), epoch=1))
    story.note("a2/1", h.Signed(JOB, 1, 0, "t0", ((0, 1),), d(50)), h.Kept(JOB, 1, "a2", 0, "t0"))
    return story.note("a3/1", h.Saw(JOB, ((0, 4),), (1, 0, 0, 0), d(50) + d(11, 3)))


def parted() -> Story:
    """Task 1 takes the result of task 0. Epoch 0 settles the one, epoch 1 both, each with a result of its own."""
    story = begun().note("c1/1", h.Said(JOB, 2), h.Closed(JOB, 2), leased(1, "a1", (0, 1)))
    story.made("a1", 1, ((0, 1),), d(1))
    story.note("c1/1", accepted(1, "a1", (0, 1), d(1)), ended(1, "settled", (0, 1)))
    story.note("c1/1", h.Signed(JOB, 0, 0, "s0", ((0, 1),), d(1)))
    return again(story, 1, d(50), d(51))


def again(story: Story, epoch: int, digest: str, other: str) -> Story:
    """In ``epoch`` task 0 comes to ``digest`` and task 1, which takes that, to ``other``."""
    story.note("a2/1", h.Opened(JOB, epoch), leased(1, "a1", (0, 2), epoch=epoch))
    story.note("a1/1", h.Made(JOB, epoch, "a2", 1, 0, ((0, 2),), digest + other))
    story.note("a2/1", accepted(1, "a1", (0, 2), digest + other, epoch=epoch), ended(1, "settled", (0, 2), epoch=epoch))
    return story.note("a2/1", h.Signed(JOB, epoch, 0, f"t{epoch}", ((0, 2),), digest + other, ((1, 0, digest),)))


@bad("lost", "1 tasks took a result that lost and never ran again, the first is 1")
def a_task_took_what_lost_and_is_not_run_again() -> Story:
    return parted()


@bad("canonical", "canonical is nothing")
def a_reader_takes_what_was_made_of_a_result_that_lost() -> Story:
    return parted().note("a3/1", h.Saw(JOB, ((0, 2),), (0, 1), d(1) + d(51)))


@bad("canonical", "canonical is")
def a_reader_takes_what_was_made_of_a_result_that_lost_though_it_was_made_again() -> Story:
    return again(parted(), 5, d(1), d(52)).note("a3/1", h.Saw(JOB, ((0, 2),), (0, 1), d(1) + d(51)))


@bad("lost", "2 settled tasks are seen by a reader no more")
def a_reader_misses_results() -> Story:
    return good().note("a2/1", h.Saw(JOB, ((0, 2),), (0, 0), d(10, 2)))


@bad("lost", "1 of 5 tasks never ended, the first is 4")
def a_task_that_never_ends() -> Story:
    return good().note("c1/1", h.Said(JOB, 5), h.Closed(JOB, 5))


@bad("lost", "without a cause")
def a_task_is_given_up_and_nobody_says_why() -> Story:
    return good().note("c1/1", h.Closed(JOB, 5), h.Failed(JOB, ((4, 1),), ""))


@bad("future", "changes")
def a_future_changes() -> Story:
    return good().note("c1/1", h.Delivered(JOB, ((1, 1),), d(99)))


@bad("future", "is resolved again")
def a_future_is_resolved_again() -> Story:
    return good().note("c1/1", h.Delivered(JOB, ((1, 1),), d(11)))


@bad("history", "out of order")
def a_process_that_notes_out_of_order() -> Story:
    story = good()
    story.lines.append(story.lines[4])
    return story


BAD = [
    accepted_twice, leased_after_it_was_settled, signed_twice, two_words_in_one_place_of_a_log,
    signed_but_never_accepted, a_token_is_given_out_again_after_a_restart, two_leases_of_one_task,
    a_copy_for_the_same_peer, a_lease_loses_what_it_never_owed, a_late_result_under_a_fenced_token,
    a_copy_fences_who_had_lost_the_task_before, a_result_for_a_task_that_was_not_in_its_lease,
    a_result_under_anothers_token, a_result_that_its_worker_never_stated, a_reader_sees_another_result,
    a_reader_sees_the_later_epoch, a_reader_misses_results, a_task_that_never_ends,
    a_task_is_given_up_and_nobody_says_why, a_future_changes, a_future_is_resolved_again,
    a_process_that_notes_out_of_order,
    a_task_took_what_lost_and_is_not_run_again, a_reader_takes_what_was_made_of_a_result_that_lost,
    a_reader_takes_what_was_made_of_a_result_that_lost_though_it_was_made_again,
]  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=[case[0].__name__ for case in BAD])
def test_a_broken_promise_is_found(case: tuple[Callable[[], Story], str, str]) -> None:
    story, rule, words = case
    found = judge(story().lines)
    assert not found.ok and str(found).startswith(found.violations[0].rule)
    assert any(violation.rule == rule and words in violation.text for violation in found.violations), found.violations


def test_a_violation_shows_the_events_that_break_it() -> None:
    story = a_late_result_under_a_fenced_token[0]()
    (violation,) = [v for v in judge(story.lines).violations if v.rule == "fenced"]
    assert [type(line.event).__name__ for line in violation.lines] == ["Leased", "Leased", "Accepted"]


def test_a_result_under_an_old_token_counts_while_no_newer_lease_lives() -> None:
    """The newer lease was lost, too: its task waits, and a result is a result."""
    story = begun().note("c1/1", leased(1, "a1", (0, 1)), ended(1, "lost", (0, 1)), leased(2, "a2", (0, 1)))
    story.note("c1/1", ended(2, "lost", (0, 1))).made("a1", 1, ((0, 1),), d(1))
    assert not story.note("c1/1", accepted(1, "a1", (0, 1), d(1))).broken()


@bad("fenced", "which 2 fences")
def a_result_under_one_token_that_fulfils_another() -> Story:
    story = begun().note("c1/1", leased(1, "a1", (0, 1)), ended(1, "lost", (0, 1)), leased(2, "a2", (0, 1)))
    story.made("a1", 1, ((0, 1),), d(1)).note("c1/1", ended(2, "settled", (0, 1)))
    return story.note("c1/1", accepted(1, "a1", (0, 1), d(1)))


def test_what_fulfils_a_lease_is_accepted_under_it() -> None:
    story, rule, words = a_result_under_one_token_that_fulfils_another
    assert [(v.rule, words in v.text) for v in judge(story().lines).violations] == [(rule, True)]


def test_a_copy_that_runs_beside_fences_nobody() -> None:
    story = begun().note("c1/1", leased(1, "a1", (0, 1)), leased(2, "a2", (0, 1), copy=True))
    story.note("c1/1", ended(1, "lost", (0, 1))).made("a1", 1, ((0, 1),), d(1))
    story.note("c1/1", accepted(1, "a1", (0, 1), d(1)), ended(2, "beaten", (0, 1)))
    assert not story.broken()


def test_what_lay_on_disks_that_are_gone_is_not_canonical_any_more() -> None:
    """Epoch 0 settled a task; both disks that had it were lost, and it was run again."""
    story = a_reader_sees_the_later_epoch[0]()
    assert "canonical" in story.broken()
    story.note("fate", h.Fault("gone", ("a1",)), h.Fault("wiped", ("a2/1",)))
    story.lines = [line for line in story.lines if not isinstance(line.event, h.Saw)]
    kept = h.Kept(JOB, 1, "a2", 0, "t0")
    story.note("a2/2", kept).note("a3/1", h.Saw(JOB, ((0, 1),), (1,), d(50)))
    assert "canonical" not in story.broken()
    assert "lost" in story.broken()  # the other three are on no disk any more, and were not run again


def test_what_was_made_again_of_the_result_that_counts_is_canonical_though_it_is_not_the_least() -> None:
    story = again(parted(), 5, d(1), d(52)).note("a3/1", h.Saw(JOB, ((0, 2),), (0, 5), d(1) + d(52)))
    assert judge(story.lines).ok, judge(story.lines)


def test_a_conflict_is_counted_and_no_broken_promise() -> None:
    story = good().note("b1/1", h.Began(), h.Delivered(JOB, ((0, 1),), d(77)))
    found = judge(story.lines)
    assert found.ok and found.conflicts == 1


def test_what_is_given_up_with_a_cause_or_cancelled_is_not_lost() -> None:
    story = good().note("c1/1", h.Closed(JOB, 6), h.Failed(JOB, ((4, 1),), "it died"), h.Dropped(JOB, 0, ((5, 1),)))
    found = judge(story.lines)
    assert found.ok and (found.failed, found.cancelled) == (1, 1)
    assert not begun().note("c1/1", h.Closed(JOB, 4), h.Cancelled(JOB)).broken()


def test_a_job_that_goes_on_has_lost_nothing_yet() -> None:
    story = a_task_that_never_ends[0]()
    assert judge(story.lines, over=False).ok and not judge(story.lines).ok


def test_of_a_thousand_violations_the_first_hundred_are_shown() -> None:
    court = Judge()
    for line in begun().note("c1/1", *(leased(1, "a1", (0, 1)) for _ in range(1000))).lines:
        court.read(line)
    found = court.verdict()
    assert found.broken >= 999 and len(found.violations) == SHOWN_MAX and "more)" in str(found)


def _random_history(rng: random.Random) -> Story:
    """A grantor as it should be, and what its workers do to it: leases end, come late, are copied; results differ."""
    tasks = rng.randint(1, 12)
    story = begun().note("c1/1", h.Said(JOB, tasks))
    live: dict[int, dict[int, str]] = {}  # index -> token -> worker
    late: dict[int, tuple[int, str]] = {}  # index -> the newest lease, ended
    token = number = 0
    settled: dict[int, str] = {}
    unsigned: list[int] = []
    while len(settled) < tasks:
        index = rng.choice([index for index in range(tasks) if index not in settled])
        owed = live.setdefault(index, {})
        what = rng.random()
        free = [worker for worker in WORKERS if worker not in owed.values()]
        if (not owed or what < 0.2) and free:
            token += 1
            worker = rng.choice(free)
            story.note("c1/1", leased(token, worker, (index, 1), copy=bool(owed)))
            owed[token] = worker
            late.pop(index, None)
        elif what < 0.4 and owed:
            gone = rng.choice(sorted(owed))
            story.note("c1/1", ended(gone, rng.choice(["lost", "returned"]), (index, 1)))
            worker = owed.pop(gone)
            if not owed:
                late[index] = (gone, worker)
        else:
            under, worker = rng.choice(sorted(owed.items())) if owed else late[index]
            said = d(rng.randint(0, 3))
            story.made(worker, under, ((index, 1),), said).note("c1/1", accepted(under, worker, (index, 1), said))
            story.note("c1/1", *(ended(each, "settled", (index, 1)) for each in owed))
            owed.clear()
            settled[index] = said
            unsigned.append(index)
        if unsigned and (rng.random() < 0.3 or len(settled) == tasks):
            words = "".join(settled[index] for index in unsigned)
            spans = tuple((index, 1) for index in unsigned)
            story.note("c1/1", h.Signed(JOB, 0, number, f"s{number}", spans, words), h.Delivered(JOB, spans, words))
            story.note(f"{rng.choice(WORKERS)}/1", h.Kept(JOB, 0, "c1", number, f"s{number}"))
            unsigned, number = [], number + 1
    words = "".join(settled[index] for index in range(tasks))
    story.note("c1/1", h.Closed(JOB, tasks), h.Saw(JOB, ((0, tasks),), (0,) * tasks, words))
    return story


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32).map(random.Random))
def test_whatever_befalls_a_right_grantor_passes(rng: random.Random) -> None:
    found = judge(_random_history(rng).lines)
    assert found.ok, found.violations


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32).map(random.Random))
def test_a_right_history_with_one_result_less_does_not_pass(rng: random.Random) -> None:
    story = _random_history(rng)
    results = [at for at, line in enumerate(story.lines) if isinstance(line.event, h.Accepted)]
    del story.lines[rng.choice(results)]
    assert story.broken()


# --- results of an earlier epoch --------------------------------------------------------------------------------------


def inherited(index: int, word: int, worker: str = "a1") -> h.Inherited:
    return h.Inherited(JOB, 1, 0, "c1", 5, 0, worker, ((index, 1),), d(word))


def taken_over() -> Story:
    """The worker ran task 0 for a grantor that died; another begins epoch 1."""
    story = begun().made("a1", 5, ((0, 1),), d(7))
    return story.note("c2/1", h.Began(), h.Opened(JOB, 1), h.Said(JOB, 4))


def test_a_later_grantor_settles_what_was_run_for_an_earlier_one() -> None:
    story = taken_over().note("c2/1", inherited(0, 7), h.Signed(JOB, 1, 0, "n0", ((0, 1),), d(7)))
    assert judge(story.lines, over=False).ok


def test_it_settles_it_once_as_it_was_stated_and_not_against_a_lease_of_its_own() -> None:
    assert taken_over().note("c2/1", inherited(0, 7), inherited(0, 7)).broken()[:1] == ["settled once"]
    assert "forged" in taken_over().note("c2/1", inherited(0, 8)).broken()
    assert "fenced" in taken_over().note("c2/1", leased(1, "a2", (0, 1), epoch=1), inherited(0, 7)).broken()


def lots(*, other: bool = False) -> Story:
    """A distributed job of two lots, of which two peers grant one each."""
    story = begun()
    story.note("e1/1", h.Began(), h.Opened(JOB, 1, 2)).note("e2/1", h.Began(), h.Opened(JOB, 2, 2))
    return story.note("e2/1", h.Opened(JOB, 1, 2)) if other else story


def of_lot(lot: int) -> int:
    """The first task of a lot."""
    return next(index for index in range(1000) if Lots(bytes.fromhex(JOB), 2).of(index) == lot)


def test_two_grantors_of_one_lot_in_one_epoch_are_found() -> None:
    assert lots().broken() == []
    assert lots(other=True).broken() == ["lots"]
    assert "two peers grant the same lot in epoch 1" in str(judge(lots(other=True).lines))
    again = lots().note("e1/2", h.Began(), h.Opened(JOB, 1, 2))
    assert again.broken() == [], "another life of the same peer; its tokens are looked at"


@pytest.mark.parametrize("lot", [0, 1])
def test_a_lease_of_another_lot_is_found(lot: int) -> None:
    story = lots().note("e1/1", leased(2, "a1", (of_lot(lot), 1), epoch=1))
    assert story.broken() == ([] if lot == 0 else ["lots"])


def test_a_settlement_of_another_lot_is_found() -> None:
    index = of_lot(1)
    story = lots().note("e1/1", h.Signed(JOB, 1, 0, "s0", ((index, 1),), d(1)))
    assert "lots" in story.broken()
