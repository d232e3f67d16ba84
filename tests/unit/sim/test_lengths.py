"""Lengths: what is measured is right, what must hold is demanded, and it holds for tasks and peers of every kind."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from p2pcpn.sim import lengths as module
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.lengths import CROWDED, IDLE_S_MAX, POPULATIONS, Play, Played, bound_s, ideal_s

ALL = [1e-6, 1e-4, 0.003, 0.01, 0.04, 0.3, 1.0, 20.0]
FEW = {name: POPULATIONS[name] for name in ("10 ms", "two kinds")}


def test_a_list_schedule_gives_each_task_to_the_slot_that_is_free_first() -> None:
    assert ideal_s([1.0, 1.0, 1.0], [1.0, 1.0]) == 2.0
    assert ideal_s([1.0, 1.0, 1.0], [1.0, 4.0]) == 4.0
    assert ideal_s([], [1.0]) == 0.0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.lists(st.sampled_from([1.0, 2.0, 4.0]), min_size=1))
def test_no_list_schedule_takes_longer_than_the_bound(takes_s: list[float], slots: list[float]) -> None:
    assert ideal_s(takes_s, slots) <= bound_s(takes_s, slots, max(slots)) * (1 + 1e-9)


def test_jobs_of_several_lengths_keep_what_is_demanded_alone_and_crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TASKS_MAX", 200)
    play = Play(4, 3, FEW, ["two kinds"])
    play.run()
    assert [(played.name, played.beside) for played in play.played] == [
        ("10 ms", False), ("two kinds", False), ("two kinds", True),
    ]  # fmt: skip
    assert all(played.runs <= played.tasks + played.hedges for played in play.played)
    assert all(played.messages["Results"] > 0 for played in play.played)
    report = play.report("lengths", 3, "ok")
    assert report.ok and report.tasks == report.delivered == sum(played.tasks for played in play.played)


def test_the_same_seed_gives_the_same_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TASKS_MAX", 60)
    reports = []
    for seed in (5, 5, 6):
        play = Play(3, seed, FEW, ["two kinds"])
        play.run()
        reports.append(play.report("lengths", seed, "ok").trace_hash)
    assert reports[0] == reports[1] != reports[2]


GOOD = Played("job", 10, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 10, 1, {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"idle_s_max": 2 * IDLE_S_MAX}, "a slot idled"),
        ({"took_s": 9.0}, "took 9.000 s, where 1.000 s are enough"),
        ({"runs": 12}, "2 tasks ran twice"),
    ],
)
def test_what_does_not_hold_is_a_violation(changes: dict[str, float], words: str) -> None:
    Play._held(GOOD)
    Play._held(replace(GOOD, idle_s_max=2 * IDLE_S_MAX, beside=True))
    with pytest.raises(Violation, match=words):
        Play._held(replace(GOOD, **changes))  # type: ignore[arg-type]


def test_a_job_that_does_not_end_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(2, 1, {"one": lambda slots, each, rng: [1.0]}, [])
    play.form()
    for host in list(play.world.alive):
        if host.slots:
            host.crash()
    monkeypatch.setattr(Play, "slots", [1.0])
    with pytest.raises(Violation, match="0 of 1 tasks"):
        play.job("one")


def test_what_is_played_crowded_is_there() -> None:
    assert set(CROWDED) <= set(POPULATIONS)


# Found among hundreds, some while this was being mended: in each a slot idled for too long. Seconds a task takes, in
# what order, and how often each in a row.
LONGER_ONCE = [
    (2, [0.0001, 0.003, 20.0], 2, True),
    (2, [0.01, 0.01, 0.01, 0.003, 20.0, 0.003, 0.01, 20.0, 0.003], 1, True),
    (3, [0.3, 0.01, 0.01, 0.01, 1.0, 0.01, 0.01, 20.0, 0.3, 1e-6, 1e-6, 0.04], 2, False),
    (3, [1.0, 0.04, 0.3, 1.0, 1.0], 5, False),
    (4, [1.0, 20.0, 0.01, 20.0, 0.04, 20.0, 0.3, 20.0, 20.0, 0.3, 20.0, 20.0, 0.01, 0.3, 0.003], 2, False),
    (5, [0.3, 0.01, 0.3, 0.01, 0.3, 0.01, 0.3, 0.3, 0.3, 0.3], 4, False),
    (6, [0.04, 0.04, 0.003, 1e-6, 20.0], 3, True),
]


def play_any(peers: int, some: list[float], times: int, crowded: bool) -> None:
    takes_s = [length for length in some for _ in range(times)]
    play = Play(peers, len(some), {"any": lambda slots, each, rng: takes_s}, ["any"] * crowded)
    play.run()
    assert all(played.runs <= played.tasks + played.hedges for played in play.played)


@pytest.mark.parametrize(("peers", "some", "times", "crowded"), LONGER_ONCE)
def test_where_a_slot_once_idled_for_long_none_does(peers: int, some: list[float], times: int, crowded: bool) -> None:
    play_any(peers, some, times, crowded)


@st.composite
def lengths(draw: st.DrawFn) -> list[float]:
    """Few lengths as often as many, and tasks of a few lengths as often as of all: such jobs end in more ways."""
    kinds = draw(st.sampled_from([[0.01, 20.0], [1e-4, 0.3, 20.0], [0.04, 0.3, 1.0], ALL, ALL]))
    return draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=draw(st.sampled_from([4, 12, 60]))))


@given(st.integers(2, 6), lengths(), st.integers(1, 5), st.booleans())
@settings(max_examples=12, deadline=None)
def test_whatever_the_lengths_no_slot_idles_for_long_and_no_task_runs_twice_unhedged(
    peers: int, some: list[float], times: int, crowded: bool
) -> None:
    play_any(peers, some, times, crowded)
