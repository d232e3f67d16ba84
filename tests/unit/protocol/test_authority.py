"""Authority: who may grant a job is what its owner signed, and nothing a peer says changes it."""

from __future__ import annotations

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.lots import DIVIDED_EPOCH, RANGE_TASKS, Lots
from p2pcpn.wire.pages import GRANTS
from p2pcpn.wire.statements import Handover, Signed, Steward, signed
from tests.unit.protocol.leased import GRANTOR, OWNER, STEWARDS, STEWARDS_AT, STRANGER, Made


def test_epoch_zero_belongs_to_the_grantor_that_the_spec_names() -> None:
    made = Made()
    authority = Authority(made.spec)
    assert (authority.job, authority.owner, authority.epoch) == (made.job, OWNER.public, 0)
    assert authority.grants(GRANTOR.public, 0)
    assert not authority.grants(STEWARDS[0].public, 0) and not authority.grants(GRANTOR.public, 1)
    assert authority.takes_part(GRANTOR.public) and authority.takes_part(STEWARDS[1].public)
    assert not authority.takes_part(OWNER.public)


def test_a_handover_names_the_grantor_of_its_epoch_and_older_ones_stay() -> None:
    made = Made(orchestration="centralised")
    authority = Authority(made.spec)
    authority.hand_over(made.handover(0, 1))
    authority.hand_over(made.handover(1, 3))
    assert authority.epoch == 3 and authority.signed_handover == made.handover(1, 3)
    assert authority.grants(STEWARDS[0].public, 1) and authority.grants(STEWARDS[1].public, 3)
    assert authority.grants(GRANTOR.public, 0)
    assert not authority.grants(STEWARDS[0].public, 3) and not authority.grants(STEWARDS[1].public, 2)


def test_a_handover_that_comes_late_changes_nothing_but_its_own_epoch() -> None:
    made = Made()
    authority = Authority(made.spec)
    authority.hand_over(made.handover(1, 2))
    authority.hand_over(made.handover(0, 1))
    assert authority.epoch == 2 and authority.handover is not None and authority.handover.grantor == STEWARDS[1].public
    assert authority.grants(STEWARDS[0].public, 1)


@pytest.mark.parametrize(
    "statement",
    [
        signed(Handover(Made().job, 1, STEWARDS[0].public), STRANGER),
        signed(Handover(Made(2).job, 1, STEWARDS[0].public), OWNER),
        signed(Handover(Made().job, 0, STEWARDS[0].public), OWNER),
        Made().spec,
    ],
)
def test_a_handover_that_is_not_the_owners_is_an_error(statement: Signed) -> None:
    authority = Authority(Made().spec)
    with pytest.raises(PeerError):
        authority.hand_over(statement)
    assert authority.epoch == 0


def test_handovers_are_remembered_within_bounds_and_the_first_grantor_always() -> None:
    made = Made(orchestration="centralised")
    authority = Authority(made.spec)
    for epoch in range(1, limits.EPOCHS_MAX + 10):
        authority.hand_over(made.handover(epoch % 2, epoch))
    assert len(authority.handovers) == limits.EPOCHS_MAX
    assert authority.grants(GRANTOR.public, 0) and not authority.grants(STEWARDS[1].public, 1)
    assert authority.grants(STEWARDS[(limits.EPOCHS_MAX + 9) % 2].public, limits.EPOCHS_MAX + 9)


def test_of_two_handovers_of_one_epoch_the_smaller_key_counts_in_either_order() -> None:
    made = Made()
    words = [made.handover(0, 3), made.handover(1, 3)]
    for each in (words, words[::-1], [*words, words[0]]):
        authority = Authority(made.spec)
        for word in each:
            authority.hand_over(word)
        assert authority.grantor == min(STEWARDS[0].public, STEWARDS[1].public)
        assert authority.handover is not None and authority.handover.grantor == authority.grantor


def test_a_padded_handover_is_refused_and_as_many_as_are_remembered_fit_a_row() -> None:
    made = Made()
    authority = Authority(made.spec)
    fat = msgspec.msgpack.encode([made.job, 3, STRANGER.public, bytes(100)])
    with pytest.raises(PeerError, match="too long"):
        authority.hand_over(Signed(Handover.kind, fat, OWNER.public, bytes(64)))
    assert GRANTS.bytes_max > limits.EPOCHS_MAX * (limits.HANDOVER_BYTES_MAX + 256)


def test_an_epoch_that_cannot_have_come_yet_is_an_error() -> None:
    authority = Authority(Made().spec)
    last = limits.ROUNDS_AHEAD_MAX * (len(authority.spec.stewards) + 1)
    authority.require_near(last)
    with pytest.raises(PeerError, match="cannot have come"):
        authority.require_near(last + 1)


def test_a_handover_may_name_any_node_which_then_takes_part() -> None:
    made = Made()
    authority = Authority(made.spec)
    assert not authority.takes_part(STRANGER.public)
    handover = signed(Handover(made.job, 3, STRANGER.public), OWNER)
    authority.hand_over(handover)
    assert (authority.epoch, authority.grantor) == (3, STRANGER.public)
    assert authority.takes_part(STRANGER.public) and authority.grants(STRANGER.public, 3)
    assert authority.key_of(STRANGER.id, 3) == STRANGER.public and authority.key_of(STRANGER.id, 2) is None
    assert authority.handovers == [handover]


def test_epochs_go_round_the_stewards_and_the_owner() -> None:
    authority = Authority(Made().spec)
    owners = [authority.steward_of(epoch) for epoch in (0, 3, 6, 9)]
    assert owners == [None] * 4
    for epoch, number in ((1, 0), (2, 1), (4, 0), (5, 1), (7, 0)):
        steward = authority.steward_of(epoch)
        assert steward is not None and steward.key == STEWARDS[number].public
        assert authority.grants(STEWARDS[number].public, epoch) and not authority.grants(
            STEWARDS[1 - number].public, epoch
        )
    assert authority.steward_of(2 * limits.TAKEOVER_EPOCH_MAX + 1) is None
    assert [(epoch, s.key) for epoch, s in authority.successors()] == [(1, STEWARDS[0].public), (2, STEWARDS[1].public)]
    assert authority.owners_epoch == 3


def test_a_steward_takes_over_in_its_own_epochs_and_the_order_goes_on_from_there() -> None:
    authority = Authority(Made().spec)
    with pytest.raises(PeerError, match="not its own"):
        authority.take_over(STEWARDS[1].public, 1)
    assert authority.take_over(STEWARDS[1].public, 2)
    assert not authority.take_over(STEWARDS[0].public, 1)
    assert (authority.epoch, authority.grantor) == (2, STEWARDS[1].public)
    assert [(epoch, s.key) for epoch, s in authority.successors()] == [(4, STEWARDS[0].public), (5, STEWARDS[1].public)]
    assert authority.owners_epoch == 3


def test_of_a_centralised_job_no_steward_takes_an_epoch() -> None:
    authority = Authority(Made(orchestration="centralised").spec)
    assert not authority.is_taken_over and authority.successors() == []
    assert not authority.grants(STEWARDS[0].public, 1)
    with pytest.raises(PeerError):
        authority.take_over(STEWARDS[0].public, 1)


def test_a_spec_with_a_wrong_signature_or_of_absurd_length_is_an_error() -> None:
    spec = Made().spec
    with pytest.raises(PeerError):
        Authority(Signed(spec.kind, spec.body, STRANGER.public, spec.signature))
    padded = spec.body + bytes(limits.SPEC_BYTES_MAX)
    with pytest.raises(PeerError):
        Authority(Signed(spec.kind, padded, spec.key, spec.signature))


def test_only_the_owner_speaks_for_the_job() -> None:
    made = Made()
    authority = Authority(made.spec)
    authority.require_owner(made.handover(0))
    with pytest.raises(PeerError):
        authority.require_owner(signed(Handover(made.job, 1, STEWARDS[0].public), STRANGER))


def test_a_distributed_job_is_its_stewards_each_lot_in_epochs_of_its_own() -> None:
    authority = Authority(Made(orchestration="distributed").spec)
    one, two = (steward.public for steward in STEWARDS)
    assert authority.is_distributed and authority.lots.count == 2
    assert [(t.lot, t.epoch, t.grantor) for t in authority.tenures] == [(0, 1, one), (1, 2, two)]
    assert not authority.grants(GRANTOR.public, 0) and authority.takes_part(GRANTOR.public)
    owners = {epoch: steward.key for epoch in range(1, 9) if (steward := authority.steward_of(epoch)) is not None}
    assert owners == {1: one, 3: two, 5: one, 7: two, 2: two, 4: one, 6: two, 8: one}
    assert [(epoch, steward.key) for epoch, steward in authority.successors(1)] == [(4, one), (6, two)]
    assert authority.take_over(one, 4) and not authority.take_over(one, 4)
    assert authority.is_past(2) and not authority.is_past(1) and authority.presides(one, 4)
    assert [tenure.epoch for tenure in authority.held_by(one)] == [1, 4] and authority.held_by(two) == []
    assert (authority.epoch, authority.grantor) == (4, one)
    assert authority.is_first(2) and not authority.is_first(4)
    assert authority.far(3 + 64 * 4) and not authority.far(2 + 64 * 4)


def test_a_distributed_job_is_handed_over_to_nobody() -> None:
    made = Made(orchestration="distributed")
    with pytest.raises(PeerError, match="handed over to nobody"):
        Authority(made.spec).hand_over(made.handover(0))


def test_without_stewards_a_job_is_whole_whatever_it_says() -> None:
    authority = Authority(Made(orchestration="distributed", stewards=[]).spec)
    assert not authority.is_distributed and authority.grants(GRANTOR.public, 0) and len(authority.tenures) == 1


def test_who_grants_a_lot_may_settle_what_is_in_it_and_nothing_else() -> None:
    authority = Authority(Made(orchestration="distributed").spec)
    of = {authority.lots.of_range(number): number * RANGE_TASKS for number in range(20)}
    authority.require_own(1, [(of[0], RANGE_TASKS - 4), (of[0] + RANGE_TASKS - 2, 2)])
    authority.require_own(4, [(of[1], 3)])
    for spans in (
        [(of[1], 1)],
        [(of[0], 1), (of[1], 1)],
        [(0, 20 * RANGE_TASKS)],
        [(0, (1 << 63) - 1)],
        [(1, 1 << 62)],
    ):
        with pytest.raises(PeerError, match="in its lot"):
            authority.require_own(1, spans)
    assert authority.writes(STEWARDS[0].id, 1, [(of[0], 1)])
    assert not authority.writes(STEWARDS[0].id, 1, [(of[1], 1)])
    assert not authority.writes(STEWARDS[1].id, 1, [(of[0], 1)]), "its epoch is another's"


def test_of_one_lot_a_log_settles_as_much_as_it_can_hold() -> None:
    made = Made(orchestration="distributed", stewards=[Steward(STEWARDS[0].public, STEWARDS_AT[0], b"")])
    authority = Authority(made.spec)
    authority.require_own(1, [(0, 3 * limits.SEGMENT_TASKS_MAX)])
    with pytest.raises(PeerError):
        authority.require_own(1, [(0, 1 << 63)])
    Authority(Made().spec).require_own(0, [(0, 1 << 40)])


@pytest.mark.parametrize("stewards", [1, 2])
def test_what_a_grantor_says_of_its_lot_costs_no_more_looks_than_it_can_have_tasks(
    stewards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [Steward(key.public, at, b"") for key, at in zip(STEWARDS[:stewards], STEWARDS_AT, strict=False)]
    authority = Authority(Made(orchestration="distributed", stewards=named).spec)
    looks: list[int] = []
    hashed = Lots._hashed

    def counted(lots: Lots, number: int) -> int:
        looks.append(number)
        return hashed(lots, number)

    mine = [number * RANGE_TASKS for number in range(1 << 15) if hashed(authority.lots, number) == 0]
    monkeypatch.setattr(Lots, "_hashed", counted)
    whole = (0, 64 * limits.SEGMENT_TASKS_MAX) if stewards == 1 else (mine[0], RANGE_TASKS)
    for again in ([whole] * limits.BATCH_TASKS_MAX, [(mine[0], 2), (mine[0] + 1, 2)], [(mine[0], 0)]):
        with pytest.raises(PeerError):
            authority.require_own(1, again)
    assert not looks, "of tasks that are named twice it is not even asked whose they are"
    said = [(first, RANGE_TASKS) for first in mine[:1000]]
    with pytest.raises(PeerError):
        authority.require_own(1, said, tasks_max=limits.BATCH_TASKS_MAX)
    assert not looks
    authority.require_own(1, said)
    assert len(looks) == (0 if stewards == 1 else len(said)), "all there is needs no look"


def test_the_first_task_that_is_not_in_its_lot_ends_what_a_grantor_says(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(Made(orchestration="distributed").spec)
    looks: list[int] = []
    monkeypatch.setattr(Lots, "_hashed", lambda lots, number: looks.append(number) or number % 2)
    with pytest.raises(PeerError, match="in its lot"):
        authority.require_own(1, [(0, 64 * limits.SEGMENT_TASKS_MAX)])
    assert looks == [0, 1]


# --- divided jobs -----------------------------------------------------------------------------------------------------


def division(made: Made, first: int = RANGE_TASKS, epoch: int = DIVIDED_EPOCH) -> Signed:
    return signed(Handover(made.job, epoch, bytes(32), first), OWNER)


def test_a_hybrid_job_is_divided_by_its_owner_and_its_stewards_grant_what_lies_behind_the_stem() -> None:
    made = Made()
    authority = Authority(made.spec)
    assert [(t.lot, t.epoch) for t in authority.granted] == [(0, 0)] and not authority.is_split
    authority.hand_over(division(made))
    authority.hand_over(division(made))  # once more is once
    assert authority.is_split and not authority.is_distributed and authority.division == division(made)
    lots = [(0, 0, GRANTOR.public), (1, DIVIDED_EPOCH, STEWARDS[0].public), (2, DIVIDED_EPOCH + 1, STEWARDS[1].public)]
    assert [(t.lot, t.epoch, t.grantor) for t in authority.granted] == lots
    assert (authority.epoch, authority.grantor, authority.handover) == (0, GRANTOR.public, None)
    assert [t.lot for t in authority.held_by(STEWARDS[1].public)] == [2]
    assert authority.handovers == [division(made)]


def test_the_stem_and_each_lot_of_a_divided_job_go_on_in_epochs_of_their_own() -> None:
    made = Made()
    authority = Authority(made.spec)
    authority.hand_over(division(made))
    assert [epoch for epoch, _ in authority.successors(0)] == [1, 2]
    following = [DIVIDED_EPOCH + 2, DIVIDED_EPOCH + 4]
    assert [(e, s.key) for e, s in authority.successors(1)] == [
        (following[0], STEWARDS[1].public), (following[1], STEWARDS[0].public),
    ]  # fmt: skip
    assert authority.take_over(STEWARDS[1].public, following[0])
    assert authority.take_over(STEWARDS[0].public, 1) and authority.owners_epoch == 3
    assert authority.is_past(DIVIDED_EPOCH) and not authority.is_past(DIVIDED_EPOCH + 1) and authority.is_past(0)
    assert authority.is_first(DIVIDED_EPOCH + 1) and not authority.is_first(following[0]) and not authority.is_first(0)
    assert authority.far(following[0] + limits.ROUNDS_AHEAD_MAX * 4 + 2)
    authority.hand_over(made.handover(0, 3))
    assert authority.epoch == 3, "an owner may give the stem to whom he likes"


def test_in_whose_epoch_what_is_settled_the_spec_alone_tells() -> None:
    made = Made()
    authority, lots = Authority(made.spec), Authority(made.spec).lots
    lots.divide(0)
    mine = next(number * RANGE_TASKS for number in range(99) if lots.of_range(number) == 1)
    other = next(number * RANGE_TASKS for number in range(99) if lots.of_range(number) == 2)
    assert authority.grants(STEWARDS[0].public, DIVIDED_EPOCH), "as in any other epoch of its own"
    assert authority.writes(STEWARDS[0].id, DIVIDED_EPOCH, [(mine, 1)])
    assert not authority.writes(STEWARDS[0].id, DIVIDED_EPOCH, [(other, 1)])
    assert not authority.writes(STEWARDS[1].id, DIVIDED_EPOCH, [(mine, 1)])
    assert authority.writes(GRANTOR.id, 0, [(mine, 1), (other, 1)])


@pytest.mark.parametrize(
    ("first", "epoch"), [(RANGE_TASKS + 1, DIVIDED_EPOCH), (RANGE_TASKS, 3), (RANGE_TASKS, DIVIDED_EPOCH + 1)]
)
def test_a_division_that_cannot_be_is_an_error(first: int, epoch: int) -> None:
    authority = Authority(Made().spec)
    with pytest.raises(PeerError, match="divided"):
        authority.hand_over(division(Made(), first, epoch))
    assert not authority.is_split


def test_a_job_is_divided_once_and_others_than_hybrid_ones_never() -> None:
    authority = Authority(Made().spec)
    authority.hand_over(division(Made()))
    with pytest.raises(PeerError, match="twice"):
        authority.hand_over(division(Made(), 0))
    with pytest.raises(PeerError, match="lot's"):
        authority.hand_over(signed(Handover(Made().job, DIVIDED_EPOCH, STRANGER.public), OWNER))
    for orchestration in ("centralised", "distributed"):
        made = Made(orchestration=orchestration)
        with pytest.raises(PeerError):
            Authority(made.spec).hand_over(division(made))
