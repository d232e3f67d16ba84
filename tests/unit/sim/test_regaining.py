"""Regaining: a virtual program whose job was taken over loses nothing, and grants it again; wrong results are found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from p2pcpn.protocol.regaining import AGAIN_S, LAST_WORDS_S
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.regaining import Regaining, right
from p2pcpn.sim.scenarios import SCENARIOS, Play
from p2pcpn.wire.statements import Handover, Signed, read

SHORT = replace(SCENARIOS["partition"], tasks=60, faults_s=8.0)


@pytest.fixture(scope="module")
def played() -> Play:
    """A run in which the submitter is cut off from its stewards, and one of them takes its job over."""
    play = Play(SHORT, 6, 2, False)
    play.run()
    return play


def test_a_job_that_was_taken_over_ends_at_its_own_program(played: Play) -> None:
    program = played.program
    assert program.lost() == [] and len(program.delivered) == 60
    (handover,) = program._handovers
    said = read(handover, Handover)
    assert said.grantor == program.host.keypair.public and said.epoch > 1
    assert program.host.peer is not None and program.host.peer.grantors[program.job].epoch == said.epoch


def test_what_was_settled_with_a_wrong_value_is_found(played: Play) -> None:
    program = played.program
    index = next(deed.index for deed in program.deeds if deed.how == "value")
    with pytest.raises(Violation, match=f"task {index} was settled with a wrong value"):
        right(program, index, bytes(16))
    with pytest.raises(Violation, match="task 60 was settled, and there are 60"):
        right(program, 60, bytes(16))
    right(program, next(d.index for d in program.deeds if d.how != "value"), b"of a blob, or of an exception")


def test_where_tasks_take_results_whoever_grants_is_told_to_stop_before_its_log_is_read(
    played: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, clock = played.program, played.world.clock
    (before,) = program._handovers
    assert program._spec is not None
    with monkeypatch.context() as patched:
        patched.setattr(program, "deeds", [structs.replace(program.deeds[0], takes=(1,))])
        regaining = Regaining(program, program._spec, program._handovers, read(before, Handover).epoch)
    assert not regaining.over and program._handovers == [before]
    began = clock.now
    assert played.world.run(clock.now + 30.0, lambda: regaining.over)
    assert clock.now >= began + LAST_WORDS_S
    first, last = (read(each, Handover).epoch for each in program._handovers)
    assert last > first and program.host.peer is not None
    assert program.host.peer.grantors[program.job].epoch == last


def test_a_node_whose_disk_refuses_the_handover_grants_nothing_by_it_and_then_a_newer_one(played: Play) -> None:
    program, clock = played.program, played.world.clock
    before, host = list(program._handovers), program.host
    epoch = max(read(each, Handover).epoch for each in before)
    assert program._spec is not None
    host.disk.refusing = True
    regaining = Regaining(program, program._spec, program._handovers, epoch)
    played.world.run(clock.now + 2.0)
    assert not regaining.over and program._handovers == before
    host.disk.refusing = False
    assert played.world.run(clock.now + AGAIN_S + 10.0, lambda: regaining.over)
    assert max(read(each, Handover).epoch for each in program._handovers) > epoch


def test_a_later_life_takes_no_epoch_again_that_nobody_else_remembers(played: Play) -> None:
    """Whoever heard of the handovers is gone: only this node's disk tells of them."""
    program, clock = played.program, played.world.clock
    epoch = max(read(each, Handover).epoch for each in program._handovers)
    assert program._spec is not None
    forgetful: list[Signed] = []
    regaining = Regaining(program, program._spec, forgetful, 1)
    assert played.world.run(clock.now + 30.0, lambda: regaining.over)
    assert max(read(each, Handover).epoch for each in forgetful) > epoch


def test_a_program_that_ends_meanwhile_regains_nothing(played: Play) -> None:
    program = played.program
    assert program._spec is not None
    hearers = len(program.host.hearers)
    regaining = Regaining(program, program._spec, [], 1)
    program.host.crash()
    played.world.run(played.world.clock.now + 5.0)
    assert regaining.over and len(program._handovers) == 3 and len(program.host.hearers) == hearers
