"""Together: lots are counted by those who grant them now, and the job is granted once somebody grants each of them."""

from __future__ import annotations

import msgspec

from p2pcpn.client.together import Together
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.lots import DIVIDED_EPOCH, RANGE_TASKS
from p2pcpn.protocol.vouching import Vouching
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import JobState, Mandate
from p2pcpn.wire.statements import Handover, signed
from tests.unit.protocol.leased import GRANTOR_AT, OWNER, STEWARDS_AT, STRANGER_AT, Made

MADE = Made(orchestration="distributed")
ONE, TWO = STEWARDS_AT


def mandate(epoch: int, by: Contact) -> Mandate:
    return Mandate(0, MADE.job, epoch, by, None, 0, 9, 3)


def state(counts: tuple[int, int, int], *mandates: Mandate, granting: bool = True, tasks: int = 9) -> JobState:
    return JobState(
        1, MADE.spec, None, None, 1, tasks, [], *counts, granting, mandates=list(mandates)
    )  # fmt: skip


def beginning(authority: Authority) -> Together:
    return Together(authority, Vouching(authority))


def told(shown: JobState) -> tuple[int, int, int, bool]:
    return shown.waiting, shown.running, shown.settled, shown.granting


def test_the_counts_of_all_lots_are_one_and_the_job_is_granted_once_all_of_them_are() -> None:
    together = beginning(Authority(MADE.spec))
    assert told(together.take(ONE, state((1, 2, 3), mandate(1, ONE), mandate(2, TWO)))) == (1, 2, 3, False)
    assert told(together.take(TWO, state((4, 5, 6), mandate(2, TWO), tasks=12))) == (5, 7, 9, True)
    shown = together.take(STRANGER_AT, state((7, 7, 7), mandate(1, STRANGER_AT), granting=False))
    assert told(shown) == (5, 7, 9, True) and shown.tasks == 12, "nobody else counts"


def test_a_lot_that_was_taken_over_is_counted_by_its_new_grantor() -> None:
    authority = Authority(MADE.spec)
    together = beginning(authority)
    together.take(ONE, state((1, 2, 3), mandate(1, ONE)))
    together.take(TWO, state((4, 5, 6), mandate(2, TWO)))
    heard = together.take(STRANGER_AT, state((0, 0, 0), mandate(4, ONE), granting=False))
    assert told(heard) == (1, 2, 3, False) and authority.tenures[1].epoch == 4, "hearsay: who grants has not said so"
    taken_over = state((2, 2, 9), mandate(1, ONE), mandate(4, ONE))
    assert told(together.take(ONE, taken_over)) == (2, 2, 9, False), "the other steward has not heard of it"
    brought = state((4, 5, 6), mandate(1, ONE))
    shown = together.take(TWO, msgspec.structs.replace(brought, logs=[(bytes(ONE.id), 4, 1)]))
    assert told(shown) == (2, 2, 9, True), "it keeps a log of it"
    assert told(together.take(TWO, brought)) == (2, 2, 9, False)
    shown = together.take(TWO, state((4, 5, 6), mandate(1, ONE), mandate(4, ONE)))
    assert told(shown) == (2, 2, 9, True), "it grants no more"


def test_an_epoch_that_cannot_have_come_is_not_believed() -> None:
    authority = Authority(MADE.spec)
    together = beginning(authority)
    far = 1 + 4 * 1000
    assert authority.steward_of(far) is not None
    assert told(together.take(ONE, state((1, 1, 1), mandate(far, ONE)))) == (0, 0, 0, False)
    assert authority.tenures[0].epoch == 1


def test_of_a_divided_job_its_stem_counts_when_its_submitter_says_that_it_is_over() -> None:
    made = Made()
    authority = Authority(made.spec)
    authority.hand_over(signed(Handover(made.job, DIVIDED_EPOCH, bytes(32), 2 * RANGE_TASKS), OWNER))
    together = beginning(authority)

    def said(epoch: int, by: Contact, left: int) -> Mandate:
        return Mandate(0, made.job, epoch, by, None, 0, 99, left)

    stem, over = said(0, GRANTOR_AT, 3), said(0, GRANTOR_AT, 0)
    one, two = said(DIVIDED_EPOCH, ONE, 3), said(DIVIDED_EPOCH + 1, TWO, 3)
    assert told(together.take(ONE, state((1, 2, 3), stem, one))) == (1, 2, 3, False)
    assert told(together.take(TWO, state((4, 5, 6), stem, two))) == (5, 7, 9, False), "its submitter grants it"
    assert told(together.take(TWO, state((4, 5, 6), over, two))) == (5, 7, 9 + 2 * RANGE_TASKS, True)
    taken_over = state((1, 2, 35), said(1, ONE, 5), one)
    assert told(together.take(ONE, taken_over)) == (5, 7, 41, False), "the other has not heard of it"
    heard = state((4, 5, 6), said(1, ONE, 5), two)
    assert told(together.take(TWO, heard)) == (5, 7, 41, True), "a steward counts what it grants"
