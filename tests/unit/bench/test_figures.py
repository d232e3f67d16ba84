"""Medians, ratios, and what the targets make of them."""

from __future__ import annotations

import pytest

from p2pcpn.bench.figures import BELOW_FLOOR, MEETS_FLOOR, MEETS_GOAL, TARGETS, Figure, Outcome, judge


def test_a_ratio_is_ours_by_theirs() -> None:
    figure = Figure("x", "", "/s", {"p2pcpn": [30, 10, 20], "pool": [5, 5], "ray": []})
    assert figure.median("p2pcpn") == 20 and figure.ratio("pool") == 4
    assert figure.median("ray") is None and figure.ratio("ray") is None and figure.ratio("dask") is None


@pytest.mark.parametrize(
    ("ours", "verdict"), [(50, MEETS_GOAL), (49, MEETS_FLOOR), (30, MEETS_FLOOR), (29, BELOW_FLOOR)]
)
def test_more_is_judged_from_below(ours: float, verdict: str) -> None:
    found = judge(Figure("delivery", "", "/s", {"p2pcpn": [ours], "pool": [10]}))
    assert [(judgement.target.against, judgement.verdict) for judgement in found] == [("pool", verdict)]


@pytest.mark.parametrize(("ours", "verdict"), [(150, MEETS_GOAL), (330, MEETS_FLOOR), (331, BELOW_FLOOR)])
def test_less_is_judged_from_above_and_against_nobody(ours: float, verdict: str) -> None:
    found = judge(Figure("metg", "", "us", {"p2pcpn": [ours]}, more=False))
    assert [judgement.verdict for judgement in found] == [verdict]


def test_a_figure_without_target_has_no_verdict() -> None:
    assert judge(Figure("roundtrip-p99", "", "ms", {"p2pcpn": [1]}, more=False)) == []


def test_goals_are_never_easier_than_floors() -> None:
    less = {"map-memory", "map-memory-futures", "roundtrip", "metg"}
    for name, targets in TARGETS.items():
        for target in targets:
            lower = name in less or name.startswith(("idle", "startup", "cold", "silence", "crowd", "blob-memory"))
            assert (target.goal <= target.floor) if lower else (target.goal >= target.floor), name


def test_an_outcome_is_plain_values() -> None:
    figure = Figure("delivery", "t", "/s", {"p2pcpn": [50.0], "pool": [10.0]})
    document = Outcome("delivery", [figure], {"raw": 1}, {"ray": "absent"}, 2.0).to_json()
    assert document["figures"][0]["ratios"] == {"pool": 5.0} and document["figures"][0]["better"] == "more"
    assert document["figures"][0]["verdicts"] == [
        {"against": "pool", "found": 5.0, "floor": 3, "goal": 5, "verdict": MEETS_GOAL}
    ]
    assert document["failed"] == {"ray": "absent"}
