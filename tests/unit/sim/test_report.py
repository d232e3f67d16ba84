"""The report: one JSON object with all that names a run."""

from __future__ import annotations

import json

from p2pcpn.protocol.verdict import Verdict, Violation
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


def test_a_history_that_breaks_a_promise_breaks_the_run() -> None:
    report = Report("quiet", 2, 1)
    report.judged(Verdict(events=7, settled=3))
    assert report.ok and report.history["events"] == 7 and report.history["violations"] == 0
    report.judged(Verdict([Violation("lost", "one task never ended")], 1))
    assert not report.ok and report.verdict == "lost: one task never ended" and report.history["violations"] == 1
    assert report.command == "p2pcpn sim quiet --peers 2 --seed 1"
    late = Report("quiet", 2, 1, verdict="too late")
    late.judged(Verdict([Violation("lost", "one task never ended")], 1))
    assert late.verdict == "too late; lost: one task never ended"
