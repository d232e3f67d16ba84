"""A run goes through the chosen benchmarks, names what is absent or broken, and repeats what fell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from p2pcpn.bench import run as run_
from p2pcpn.bench.bench import Bench
from p2pcpn.bench.catalogue import Benchmark
from p2pcpn.bench.figures import Outcome
from p2pcpn.bench.run import run, systems_of
from p2pcpn.bench.scale import SHORT
from p2pcpn.bench.stage import DriverFailed
from p2pcpn.errors import UsageError

if TYPE_CHECKING:
    from conftest import Stage

ROUNDS: list[int] = []


def measured(*rates: float) -> Benchmark:
    """A benchmark that finds these rates of ours, one a run, against 10."""
    left = iter(rates)

    def go(bench: Bench) -> None:
        ROUNDS.append(bench.rounds)
        bench.figure("delivery", "", "/s", {"p2pcpn": [next(left)], **{other: [10.0] for other in bench.systems[1:]}})

    return Benchmark("delivery", "", go)


def test_systems_are_named_with_commas_or_all_or_none() -> None:
    assert systems_of("ray,pool", short=False) == ["pool", "ray"]
    assert systems_of("all", short=True) == ["pool", "loky", "ray", "dask", "parsl"] == systems_of(None, short=False)
    assert systems_of(None, short=True) == ["pool"] and systems_of("none", short=False) == []
    with pytest.raises(UsageError, match="no system 'p2pcpn'"):
        systems_of("p2pcpn", short=False)


def test_outcomes_are_told_as_they_come(stage: Stage) -> None:
    told: list[Outcome] = []
    report = run([measured(50)], ["pool"], SHORT, say=lambda text: None, found=told.append, stage=lambda say: stage)
    assert told == report.outcomes and report.figures[0].ratio("pool") == 5
    document = json.loads(json.dumps(report.to_json()))
    assert document["scale"] == "short" and len(document["machine"]["load_after"]) == 3


def test_what_is_not_installed_is_named_with_the_command(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_, "absent", lambda name: "install it" if name == "ray" else None)
    said: list[str] = []
    report = run([measured(50)], ["pool", "ray"], SHORT, say=said.append, found=lambda _: None, stage=lambda say: stage)
    assert report.absent == {"ray": "install it"} and said == ["ray is left out: install it"]


def test_a_ratio_that_fell_is_measured_once_more_with_more_rounds(stage: Stage) -> None:
    stored = {"delivery": {"pool": 4.0}}
    for rates, drops in (((20.0, 30.0), 0), ((20.0, 21.0), 1), ((30.0,), 0)):
        ROUNDS.clear()
        report = run(
            [measured(*rates)], ["pool"], SHORT, rounds=2, check=stored, say=lambda text: None, found=lambda _: None,
            stage=lambda say: stage,
        )  # fmt: skip
        assert len(report.drops) == drops and [2, 6][: len(rates)] == ROUNDS
        assert report.to_json()["worse_than_stored"] == [str(drop) for drop in report.drops]


def test_a_check_is_not_passed_by_what_was_not_measured(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_ours_alone(bench: Bench) -> None:
        bench.figure("delivery", "", "/s", {"p2pcpn": [50.0]})

    monkeypatch.setattr(run_, "absent", lambda name: "install it")
    for benchmark in (Benchmark("delivery", "", of_ours_alone), Benchmark("delivery", "", lambda bench: None)):
        report = run(
            [benchmark], ["pool"], SHORT, check={"delivery": {"pool": 4.0, "ray": 9.0}, "echo": {"pool": 1.0}},
            say=lambda text: None, found=lambda _: None, stage=lambda say: stage,
        )  # fmt: skip
        assert report.broken == {"delivery": "a ratio is stored, and none was found: delivery to pool"}


def test_a_system_that_was_asked_for_by_name_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_, "absent", lambda name: "install it" if name == "ray" else None)
    run_.require(["pool"])
    with pytest.raises(UsageError, match="ray cannot be measured: install it"):
        run_.require(["pool", "ray"])


def test_a_failure_of_ours_breaks_a_benchmark_and_not_the_run(stage: Stage) -> None:
    def fail(bench: Bench) -> None:
        raise DriverFailed("it hangs")

    broken = Benchmark("done", "", fail, compares=False)
    report = run(
        [broken, measured(50)], [], SHORT, say=lambda text: None, found=lambda _: None, stage=lambda say: stage
    )
    assert report.broken == {"done": "it hangs"} and [outcome.name for outcome in report.outcomes] == [
        "done",
        "delivery",
    ]
