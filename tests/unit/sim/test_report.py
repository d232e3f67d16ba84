"""The report: one JSON object with all that names a run."""

from __future__ import annotations

import json

from p2pcpn.sim.report import Report


def test_a_report_is_one_json_object() -> None:
    report = Report(
        "churn", 30, 7, trace_hash="ab", events=3, lost_tasks=0, virtual_s=1.23456, messages={"b": 1, "a": 2}
    )
    said = json.loads(json.dumps(report.to_json()))
    assert {"trace_hash", "events", "lost_tasks", "verdict", "virtual_s", "delivered"} <= said.keys()
    assert said["virtual_s"] == 1.235 and list(said["messages"]) == ["a", "b"]


def test_a_run_is_good_when_nothing_was_violated_and_nothing_lost() -> None:
    assert Report("quiet", 2, 1).ok
    assert not Report("quiet", 2, 1, verdict="broken").ok
    assert not Report("quiet", 2, 1, lost_tasks=1).ok
