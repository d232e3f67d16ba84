"""The ordeal: what it plays, that nothing is lost in it, and that one seed is one run."""

from __future__ import annotations

import pytest

from p2pcpn.protocol import history
from p2pcpn.sim import ordeal
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.ordeal import DRIFT, PROGRAMS, SKEW_S, Play


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordeal, "SPANS", ((3.0, 1.0),))
    monkeypatch.setattr(ordeal, "TASKS", 20)


def small(seed: int = 2) -> Play:
    return Play(5, seed)


def test_programs_keep_all_their_results_and_readers_agree() -> None:
    play = small()
    play.run()
    report = play.report("faults", 2, "ok")
    assert report.ok and report.tasks == PROGRAMS * ordeal.TASKS and not report.lost_tasks
    assert play.world.history is not None
    assert len([line for line in play.world.history if type(line.event).__name__ == "Saw"]) == 3 * PROGRAMS


def test_a_job_ends_without_its_submitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordeal, "BEREFT_SHARE", 1.0)
    monkeypatch.setattr(ordeal, "SPANS", ((6.0, 1.0),))
    play = small()
    play.run()
    lost = [program for program in play.programs if program.host.peer is None]
    assert len(lost) == 1 and not play._granted_here(lost[0]) and not play._open(lost[0])
    assert play.report("faults", 2, "ok").ok


def test_what_was_settled_and_not_signed_before_its_grantor_died_has_not_ended() -> None:
    play = small()
    play._join()
    program = play.programs[0]
    chronicle = play.hosts[0].chronicle
    assert chronicle is not None
    job = program.job.hex()
    chronicle.note(history.Accepted(job, 0, 1, 0, "w", ((2, 1),), "00" * 16))
    chronicle.note(history.Failed(job, ((3, 1),), "poison"))
    assert play._ended(program) == {3}


def test_one_seed_is_one_run_and_another_is_another() -> None:
    hashes = []
    for seed in (3, 3, 4):
        play = small(seed)
        play.run()
        hashes.append(play.world.trace.hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_clocks_are_wrong_by_minutes_and_drift() -> None:
    play = Play(20, 1)
    skews = [host.skew_s for host in play.world.hosts]
    assert max(skews) - min(skews) > 240.0 and max(map(abs, skews)) <= SKEW_S
    play.world.clock.run(1000.0)
    drifts = [host.clock.now / 1000.0 - 1.0 for host in play.world.hosts]
    assert max(drifts) > 0 > min(drifts) and max(map(abs, drifts)) <= DRIFT * 1.001


def test_what_does_not_come_true_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    play = small()
    with pytest.raises(Violation, match="job: it is not, 1 s after"):
        play._demand(1.0, lambda: "it is not", "job")
    monkeypatch.setattr(ordeal, "JOIN_WAIT_S", 0.0)
    monkeypatch.setattr(ordeal, "JOIN_S", 0.2)
    with pytest.raises(Violation, match="storage peers"):
        Play(20, 1)._join()
    monkeypatch.setattr(ordeal, "JOIN_WAIT_S", 60.0)
    monkeypatch.setattr(ordeal, "copies_wrong", lambda world, program: "too few copies")
    with pytest.raises(Violation, match="job-0: too few copies"):
        small().run()
