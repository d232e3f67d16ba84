"""Pages at a worker: only what the owner signed for is kept, within bounds, and only what fits is cut."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Gather
from p2pcpn.protocol.leased_pages import (
    Lacking,
    LeasedPages,
    bring,
    check_segment_head,
    covered,
    drawn,
    named,
    pieces_of,
)
from p2pcpn.protocol.work import JOINED_TASKS_MAX, LeaseTaken, Work
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Extend, Input, PageSlice
from p2pcpn.wire.pages import TaskPage
from p2pcpn.wire.sealing import result_digest
from p2pcpn.wire.statements import BlobRef, Segment, read
from tests.unit.protocol.leased import GRANTOR_AT, ME_AT, STRANGER_AT, Made

KEY = bytes(32)
LEASE = LeaseTaken(1, 0, GRANTOR_AT, 4, KEY, KEY, KEY, 0.0)


def extended(shelf: LeasedPages, message: Extend) -> None:
    shelf.extend(message, read(message.segment, Segment))


def cut(made: Made, shelf: LeasedPages, *spans: tuple[int, int]) -> list[Any]:
    slices = made.slices(list(spans))
    found = shelf.find(made.job, slices)
    assert found is not None
    return pieces_of(LEASE, slices, found)


def test_a_lease_is_cut_from_the_pages_it_spans() -> None:
    shelf, made = LeasedPages(), Made()
    extended(shelf, made.segment(3, 3))
    assert [(p.first, len(p.arguments), p.numbers) for p in cut(made, shelf, (1, 2))] == [(1, 2, None)]
    assert [(p.first, len(p.arguments)) for p in cut(made, shelf, (0, 1), (2, 1))] == [(0, 1), (2, 1)]


def test_pages_that_follow_on_one_another_and_name_the_same_functions_are_one_piece() -> None:
    shelf, made = LeasedPages(), Made()
    extended(shelf, made.segment(3, 3))
    extended(shelf, made.segment(1, page=TaskPage([b"function", b"g"], [1], [b"a"])))
    extended(shelf, made.segment(1))
    (whole, other, last) = cut(made, shelf, (1, 7))
    assert [(p.first, len(p.arguments), p.numbers) for p in (whole, other, last)] == [
        (1, 5, None), (6, 1, (1,)), (7, 1, None)
    ]  # fmt: skip


def test_what_a_task_of_a_joined_piece_has_beside_it_stays_its_own() -> None:
    shelf, made = LeasedPages(), Made()
    blob = BlobRef(bytes(32), 9, bytes(32))
    extended(shelf, made.segment(1, page=TaskPage([b"f"], None, [b"a"])))
    extended(shelf, made.segment(1, page=TaskPage([b"f"], None, [b"b"], [blob], [(0, [0])])))
    extended(shelf, made.segment(1, page=TaskPage([b"f"], None, [b"c"])))
    (piece,) = cut(made, shelf, (0, 3))
    assert (piece.arguments, piece.parts) == ((b"a", b"b", b"c"), ((), (blob,), ()))


def test_long_pages_stay_pieces_of_their_own() -> None:
    shelf, made = LeasedPages(), Made()
    extended(shelf, made.segment(JOINED_TASKS_MAX - 1, 1, 1))
    assert [len(piece.arguments) for piece in cut(made, shelf, (0, JOINED_TASKS_MAX + 1))] == [JOINED_TASKS_MAX, 1]


def test_functions_are_cut_with_their_numbers() -> None:
    shelf, made = LeasedPages(), Made()
    blob = BlobRef(bytes(32), 9, bytes(32))
    extended(shelf, made.segment(3, page=TaskPage([b"f", blob], [1, 0, 1], [b"a", blob, b"c"])))
    (piece,) = cut(made, shelf, (1, 2))
    assert (piece.functions, piece.numbers, piece.arguments) == ((b"f", blob), (0, 1), (blob, b"c"))
    assert piece.cut(1, 2).numbers == (1,) and piece.size_bytes == 1 + 2 * limits.QUEUED_TASK_BYTES


def test_parts_are_cut_with_the_tasks_they_belong_to() -> None:
    shelf, made = LeasedPages(), Made()
    one, two = BlobRef(bytes(32), 9, bytes(32)), BlobRef(b"\1" * 32, 10, bytes(32))
    parts = [(1, [1, 0]), (3, [0])]
    extended(shelf, made.segment(4, page=TaskPage([b"f"], None, [b"a", b"b", b"c", b"d"], [one, two], parts)))
    (whole,) = cut(made, shelf, (0, 4))
    assert whole.parts == ((), (two, one), (), (one,))
    assert whole.cut(1, 3).parts == ((two, one), ()) and whole.cut(1, 3).arguments == (b"b", b"c")
    first, second = (cut(made, shelf, span)[0] for span in [(0, 1), (3, 1)])
    assert (first.parts, second.parts) == (None, ((one,),))


SMALL, LARGE = BlobRef(bytes(32), 9, bytes(32)), BlobRef(bytes(32), limits.ARGUMENTS_BYTES_MAX, bytes(32))


@pytest.mark.parametrize(
    ("blobs", "parts"),
    [
        ([SMALL], [(2, [0])]),
        ([SMALL], [(0, [1])]),
        ([], [(0, [0])]),
        ([SMALL], [(1, [0]), (0, [0])]),
        ([SMALL], [(0, [0]), (0, [0])]),
        ([SMALL, LARGE], [(0, [0, 1])]),
    ],
)
def test_a_page_whose_parts_are_not_its_tasks_or_too_large_is_an_error(
    blobs: list[BlobRef], parts: list[tuple[int, list[int]]]
) -> None:
    shelf, made = LeasedPages(), Made()
    extended(shelf, made.segment(2, page=TaskPage([b"f"], None, [b"a", b"b"], blobs, parts)))
    with pytest.raises(PeerError):
        cut(made, shelf, (0, 2))


@pytest.mark.parametrize(
    "page",
    [
        TaskPage([b"f"], None, [b"a"]),
        TaskPage([b"f"], [0], [b"a", b"b"]),
        TaskPage([b"f"], [0, 1], [b"a", b"b"]),
        TaskPage([b"f"], None, [b"a", b"b", b"c"]),
    ],
)
def test_a_page_that_holds_other_than_its_segment_says_is_an_error(page: TaskPage) -> None:
    shelf, made = LeasedPages(), Made()
    extended(shelf, made.segment(2, page=page))
    with pytest.raises(PeerError):
        cut(made, shelf, (0, 2))


def test_a_page_does_not_open_with_another_key() -> None:
    shelf, made = LeasedPages(), Made()
    extended(shelf, made.segment(2))
    slices = [PageSlice(0, 0, 0, 2, bytes(32))]
    found = shelf.find(made.job, slices)
    assert found is not None
    with pytest.raises(PeerError):
        pieces_of(LEASE, slices, found)


def test_a_slice_must_lie_within_its_page_and_segment() -> None:
    shelf, made = LeasedPages(), Made()
    extended(shelf, made.segment(2))
    for wrong in (PageSlice(0, 0, 0, 3, KEY), PageSlice(1, 0, 0, 2, KEY)):
        with pytest.raises(PeerError):
            shelf.find(made.job, [wrong])
    assert shelf.find(made.job, [PageSlice(0, 1, 0, 1, KEY)]) is None
    assert shelf.find(bytes(20), [PageSlice(0, 0, 0, 1, KEY)]) is None


def test_headers_without_pages_cost_nothing() -> None:
    shelf, made = LeasedPages(), Made()
    message = made.segment(*[1] * 100)
    extended(shelf, Extend(0, message.segment, [b""] * 100, False))
    assert shelf.kept_bytes == 0
    with pytest.raises(PeerError):
        extended(shelf, Extend(0, message.segment, message.pages[:99], False))
    with pytest.raises(PeerError):
        extended(shelf, Extend(0, message.segment, [b"x"] * 100, False))


@pytest.mark.parametrize(
    ("pages", "first"),
    [([(0, KEY)], 0), ([(257, KEY)], 0), ([(256, KEY)] * 17, 0), ([(1, KEY)], limits.TASKS_PER_JOB_MAX)],
)
def test_a_segment_of_impossible_shape_is_an_error(pages: list[tuple[int, bytes]], first: int) -> None:
    with pytest.raises(PeerError):
        check_segment_head(b"", Segment(bytes(20), 0, first, KEY, pages, [], []))


def test_a_segment_whose_head_is_padded_is_an_error() -> None:
    with pytest.raises(PeerError):
        check_segment_head(bytes(limits.SEGMENT_HEAD_BYTES_MAX + 1), Segment(bytes(20), 0, 0, KEY, [(1, KEY)], [], []))


def test_the_least_recently_used_pages_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, made = LeasedPages(), Made()
    messages = [made.segment(2) for _ in range(4)]
    extended(shelf, messages[0])
    one = shelf.kept_bytes
    monkeypatch.setattr(limits, "PAGES_BYTES_PER_JOB_MAX", 3 * one)
    for message in messages[1:3]:
        extended(shelf, message)
    cut(made, shelf, (0, 2))  # used: the next to go is the second
    extended(shelf, messages[3])
    assert [shelf.find(made.job, made.slices([(2 * n, 2)])) is not None for n in range(4)] == [True, False, True, True]
    assert shelf.kept_bytes == 3 * one


def test_all_jobs_together_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, jobs = LeasedPages(), [Made(number) for number in range(1, 5)]
    extended(shelf, jobs[0].segment(2))
    monkeypatch.setattr(limits, "PAGES_BYTES_MAX", 2 * shelf.kept_bytes)
    for made in jobs[1:]:
        extended(shelf, made.segment(2))
    assert [shelf.find(made.job, made.slices([(0, 2)])) is not None for made in jobs] == [False, False, True, True]
    shelf.forget(jobs[2].job)
    shelf.forget(jobs[3].job)
    shelf.forget(jobs[3].job)
    assert shelf.kept_bytes == 0


@pytest.mark.parametrize(
    ("spans", "slices"),
    [
        ([(0, 4)], [(0, 1, 4)]),
        ([(0, 2), (4, 2)], [(0, 0, 1)]),
        ([(0, 2)], [(0, 0, 3)]),
        ([(0, 2), (0, 2)], [(0, 0, 2), (0, 0, 2)]),
        ([(0, 0)], [(0, 0, 1)]),
        ([(0, 1)], [(0, 1, 1)]),
        ([(2, 1), (0, 1)], [(0, 0, 1), (0, 2, 3)]),
        ([(0, 4), (2, 1)], [(0, 0, 4), (0, 2, 3)]),
        ([(0, 4097)], [(0, 0, 4097)]),
        ([(0, limits.TASKS_PER_JOB_MAX + 1)], [(0, 0, 4)]),
    ],
)
def test_slices_that_do_not_cover_the_spans_once_and_in_order_are_an_error(
    spans: list[tuple[int, int]], slices: list[tuple[int, int, int]]
) -> None:
    with pytest.raises(PeerError):
        covered(spans, [PageSlice(0, first, low, high, KEY) for first, low, high in slices])


def test_spans_and_slices_may_be_divided_differently() -> None:
    slices = [PageSlice(0, 0, 2, 4, KEY), PageSlice(0, 4, 0, 2, KEY), PageSlice(0, 8, 1, 2, KEY)]
    assert len(covered([(2, 4), (9, 1)], slices)) == 0
    assert covered([(2, 4), (9, 3)], slices) == range(10, 12)  # given, and still to come


def given(index: int, value: bytes | BlobRef, holders: tuple[Contact, ...] = ()) -> Input:
    stated = result_digest(KEY, value if isinstance(value, bytes) else value.digest)
    return Input(index, stated, value, list(holders))


def test_results_that_tasks_take_are_parts_of_theirs_and_stand_in_their_receipts() -> None:
    shelf, made = LeasedPages(), Made()
    blob, large = BlobRef(bytes(32), 9, bytes(32)), BlobRef(b"\1" * 32, 1 << 20, bytes(32))
    extended(shelf, made.segment(2))
    page = TaskPage([b"f"], None, [b"a", b"b", b"c"], [blob], [(0, [0, 1]), (2, [2, 1])], [0, 1])
    extended(shelf, made.segment(3, page=page))
    slices = made.slices([(2, 3)])
    found = shelf.find(made.job, slices)
    assert found is not None
    known = {0: given(0, b"small"), 1: given(1, large)}
    (piece,) = pieces_of(LEASE, slices, found, known)
    assert piece.parts == ((blob, b"small"), (), (large, b"small"))
    assert piece.inputs == (((0, known[0].digest),), (), ((1, known[1].digest), (0, known[0].digest)))
    later = piece.cut(2, 3)
    assert later.inputs == piece.inputs[2:] and later.size_bytes == 1 + limits.QUEUED_TASK_BYTES + len(b"small")
    with pytest.raises(Lacking, match="result of task 1"):
        pieces_of(LEASE, slices, found, {0: known[0]})
    with pytest.raises(PeerError, match="not the one its receipt names"):
        pieces_of(LEASE, slices, found, {**known, 1: Input(1, bytes(16), large, [])})


def test_a_task_that_takes_what_is_not_before_it_is_an_error() -> None:
    shelf, made = LeasedPages(), Made()
    extended(shelf, made.segment(2, page=TaskPage([b"f"], None, [b"a", b"b"], [], [(1, [0])], [1])))
    found = shelf.find(made.job, made.slices([(0, 2)]))
    assert found is not None
    with pytest.raises(PeerError, match="not before it"):
        pieces_of(LEASE, made.slices([(0, 2)]), found, {1: given(1, b"x")})


def test_large_results_are_had_from_the_first_that_gives_them() -> None:
    made = Made()
    work = Work(Authority(made.spec), GRANTOR_AT, None, NodeId(GRANTOR_AT.id))
    large = BlobRef(b"\1" * 32, 1 << 20, bytes(32))
    inputs = [given(0, b"small", (STRANGER_AT,)), given(1, large, (STRANGER_AT, ME_AT, GRANTOR_AT)), given(2, large)]
    (effect,) = bring(work, inputs, ME_AT.id)
    assert isinstance(effect, Gather) and (effect.sender, effect.blobs) == (STRANGER_AT, (large.digest,))
    (following,) = effect.otherwise
    assert isinstance(following, Gather) and following.sender == GRANTOR_AT and following.otherwise == ()


def test_what_a_lease_gives_ahead_is_drawn_in_order_each_once() -> None:
    def slices(*spans: tuple[int, int]) -> list[PageSlice]:
        return [PageSlice(0, first, 0, count, KEY) for first, count in spans]

    ahead = range(4, 9)
    assert drawn(ahead, slices((4, 1))) == range(5, 9)
    assert drawn(ahead, slices((4, 2), (6, 3))) == range(9, 9)
    assert drawn(ahead, slices((5, 1))) == range(6, 9), "what was never said is passed over"
    assert drawn(ahead, slices((2, 2))) == ahead, "it was named before"
    for bad in ([(3, 2)], [(8, 2)], [(4, 1), (6, 1)], [(4, 2), (6, 0)], [(4, limits.BATCH_TASKS_MAX + 1)]):
        with pytest.raises(PeerError):
            drawn(range(4, 1 << 20), slices(*bad)) if bad[0][1] > 9 else drawn(ahead, slices(*bad))


@pytest.mark.parametrize("part", [(0, 1, 1), (4, 2, 1), (limits.TASKS_PER_JOB_MAX, 0, 1), ((1 << 63) - 1, 0, 9)])
def test_what_could_not_be_returned_is_an_error_before_anything_is_said_of_it(part: tuple[int, int, int]) -> None:
    with pytest.raises(PeerError):
        named([PageSlice(0, 0, 0, 4, KEY), PageSlice(0, *part, KEY)])
