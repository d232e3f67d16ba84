"""Showing: whoever asks a steward is shown what its grantor knows: its log, its mandate, and who gets nothing."""

from __future__ import annotations

import math

import msgspec

from p2pcpn import limits
from p2pcpn.protocol.effects import Notify, Tell
from p2pcpn.protocol.heads import Length
from p2pcpn.protocol.lots import Lots
from p2pcpn.protocol.showing import shown
from p2pcpn.wire.messages import Answer, JobState, Mandate
from tests.unit.protocol.granting import Table, at, keypair
from tests.unit.protocol.leased import Made

TO = at(keypair(9), 4009)


def state(*mandates: Mandate) -> JobState:
    return JobState(1, Made().spec, None, None, 1, 8, [], 8, 0, 0, True, mandates=list(mandates))


def seen(table: Table, said: JobState) -> JobState:
    effect = shown(Tell(TO, said), table.grantor, table.now)
    assert isinstance(effect, Tell) and isinstance(effect.message, JobState) and effect.to == TO
    return effect.message


def test_what_is_no_state_of_a_job_is_shown_as_it_is() -> None:
    table = Table()
    for effect in (Notify("news"), Tell(TO, Answer(1, 0, ""))):
        assert shown(effect, table.grantor, table.now) is effect


def test_of_a_whole_job_its_log_and_mandate_are_shown_and_who_is_shut_out() -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(1)
    for _ in range(50):
        table.grantor.book.blame.failed(worker.node, "its process died", table.now)
    found = seen(table, state())
    assert found.logs == [(bytes(table.grantor.me.id), 0, 0)] and not found.overdue
    assert found.mandate == table.grantor.mandate() and found.mandates == []
    assert [(each.peer, each.text) for each in found.shut_out] == [(worker.node, "its process died")]
    assert 0 < found.shut_out[0].left_s < math.inf


def test_the_logs_of_its_earlier_epochs_are_shown_too_and_each_log_once() -> None:
    # Seed 68 of `faults`: who granted twice showed the later log alone, and nobody found the earlier one.
    table = Table()
    me, other = bytes(table.grantor.me.id), bytes(32)
    table.grantor.epoch = 11
    table.grantor.custody.logs.update({0: Length(), 5: Length(9, 4), 7: Length(2, 2)})
    said = msgspec.structs.replace(state(), logs=[(other, 0, 29), (me, 5, 8), (me, 7, 3)])
    assert seen(table, said).logs == [(me, 11, 0), (me, 7, 3), (me, 5, 9), (other, 0, 29)]
    many = msgspec.structs.replace(said, logs=[(other, epoch, 1) for epoch in range(limits.LOGS_PER_JOB_MAX)])
    assert len(seen(table, many).logs) == limits.LOGS_PER_JOB_MAX


def test_of_a_lot_the_mandate_stands_beside_those_of_the_others() -> None:
    table = Table()
    lots = Lots(table.job, 2)
    table.grantor.book.lots, table.grantor.book.lot = lots, 0
    table.grantor.epoch = 1
    old, other = (Mandate(0, table.job, epoch, TO, None, 0, 4, 4) for epoch in (1, 2))
    found = seen(table, state(old, other))
    assert found.mandates == [other, table.grantor.mandate()] and found.mandate is None
