"""Calls become pages and segments that peers accept, whatever their sizes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.client.cutting import Blob, Call, Cutter, Parted, make_blob
from p2pcpn.client.pickling import Callee
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.pages import TaskPage
from p2pcpn.wire.sealing import JobKeys, digest, unseal
from p2pcpn.wire.statements import BlobRef, Segment, opened

OWNER = Keypair(b"\1" * 32)
JOB = b"j" * 20
KEYS = JobKeys(b"\2" * 32)


def cut_all(calls: list[Call]) -> tuple[list[TaskPage], list[Segment], dict[bytes, bytes]]:
    """All pages, decoded as a peer decodes them; segments, opened and checked; blobs kept."""
    kept: dict[bytes, bytes] = {}
    cutter = Cutter(OWNER, JOB, KEYS, lambda ref, sealed: kept.update({ref.digest: Blob(ref, sealed).data()}))
    found: list[TaskPage] = []
    segments: list[Segment] = []
    at, last = 0, NOTHING
    while at < len(calls):
        first = cutter.first
        cut = cutter.cut(calls, at)
        m.CODEC.decode(m.CODEC.encode(m.Extend(1, cut.segment, cut.sealed, True)))
        said = opened(cut.segment, Segment)
        assert (said.number, said.first, said.previous) == (len(segments), first, last)
        assert [each for _, each in said.pages] == [digest(each) for each in cut.sealed]
        assert said.count == cut.end - at <= limits.SEGMENT_TASKS_MAX and len(cut.blobs) == len(cut.sealed)
        assert set(said.blobs) == {each for page in cut.blobs for each in page} <= set(kept)
        for (count, _), sealed in zip(said.pages, cut.sealed, strict=True):
            page = pages.TASKS.decode(unseal(KEYS.page(first), 0, sealed))
            assert len(page.arguments) == count <= limits.PAGE_TASKS_MAX
            found.append(page)
            first += count
        segments.append(said)
        at, last = cut.end, digest(cut.segment.body)
    assert cutter.last == last
    return found, segments, kept


def columns(found: list[TaskPage], kept: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """(function, arguments) of every task, blobs opened."""

    def whole(value: bytes | BlobRef) -> bytes:
        return value if isinstance(value, bytes) else unseal(value.key, 0, kept[value.digest])

    return [
        (whole(page.functions[page.numbers[at] if page.numbers else 0]), whole(arguments))
        for page in found
        for at, arguments in enumerate(page.arguments)
    ]


def arguments(data: bytes) -> bytes | Blob:
    return make_blob(KEYS, data) if len(data) > limits.INLINE_BYTES_MAX else data


@settings(max_examples=25)
@given(st.integers(0, 1 << 30))
def test_what_goes_in_comes_out_in_order(seed: int) -> None:
    dice = random.Random(seed)
    callees = [
        Callee(
            bytes([i]) * dice.choice([1, 100, 16_384, 16_385]), (f"package{dice.randrange(40)}",) * dice.randrange(2)
        )
        for i in range(dice.randrange(1, 12))
    ]
    sizes = [0, 1, 50, 1000, 16_384, 16_385, 40_000]
    made = [(dice.choice(callees), bytes([i % 256]) * dice.choice(sizes)) for i in range(dice.randrange(1, 400))]
    found, _, kept = cut_all([(callee, arguments(data)) for callee, data in made])
    assert columns(found, kept) == [(callee.pickled, data) for callee, data in made]


def test_a_page_with_one_function_has_no_numbers() -> None:
    callee = Callee(b"f", ())
    found, segments, _ = cut_all([(callee, b"a")] * 1000)
    assert [len(page.arguments) for page in found] == [256, 256, 256, 232] and len(segments) == 1
    assert all(page.numbers is None and page.functions == [b"f"] for page in found)


@pytest.mark.parametrize("size", [16_383, 16_384])
def test_arguments_just_below_the_inline_limit_stay_within_every_bound(size: int) -> None:
    found, segments, _ = cut_all([(Callee(b"f" * 16_384, ()), bytes(size))] * 500)
    assert max(len(page.arguments) for page in found) == 3 and len(segments) > 3
    assert sum(segment.count for segment in segments) == 500


def test_as_many_large_functions_as_tasks_stay_within_every_bound() -> None:
    data = make_blob(KEYS, bytes(16_385))
    calls: list[Call] = [(Callee(i.to_bytes(4, "big") * 4097, ()), data) for i in range(2000)]
    found, _, kept = cut_all(calls)
    assert len(columns(found, kept)) == 2000 and len(kept) == 2001


def test_a_segment_never_names_more_blobs_than_peers_accept() -> None:
    blobs = [make_blob(KEYS, i.to_bytes(3, "big") * 5462) for i in range(4200)]
    _, segments, _ = cut_all([(Callee(b"f", ()), blob) for blob in blobs])
    assert max(len(segment.blobs) for segment in segments) <= limits.SEGMENT_TASKS_MAX and len(segments) > 1


def test_a_shared_buffer_is_named_once_a_page_and_kept_once() -> None:
    shared, own = make_blob(KEYS, bytes(1 << 20)), [make_blob(KEYS, bytes([i]) * 70_000) for i in range(9)]
    calls: list[Call] = [(Callee(b"f", ()), b"plain")]
    calls += [(Callee(b"f", ()), Parted(b"head", (shared, shared))) for _ in range(300)]
    calls += [(Callee(b"f", ()), Parted(make_blob(KEYS, bytes(20_000)), (each, shared))) for each in own]
    kept: list[bytes] = []
    cutter = Cutter(OWNER, JOB, KEYS, lambda ref, sealed: kept.append(ref.digest))
    cut = cutter.cut(calls, 0)
    assert cut.end == len(calls) and len(kept) == len(set(kept)) == 11
    found, _, _ = cut_all(calls)
    assert all(len({ref.digest for ref in page.blobs}) == len(page.blobs) for page in found)
    parts = [(at, [page.blobs[number] for number in numbers]) for page in found for at, numbers in page.parts]
    assert [refs for _, refs in parts[:300]] == [[shared.ref] * 2] * 300
    assert [refs for _, refs in parts[300:]] == [[each.ref, shared.ref] for each in own]
    assert found[0].parts[0] == (1, [0, 0]) and found[0].arguments == [b"plain", b"head"]


def test_a_page_ends_behind_what_nobody_was_sent_before() -> None:
    """Whoever runs one task of a page is sent all blobs of the page."""
    blobs = [make_blob(KEYS, bytes([i]) * (1 << 20)) for i in range(4)]
    found, _, _ = cut_all([(Callee(b"f", ()), Parted(b"head", (each,))) for each in [*blobs, *blobs]])
    assert [len(page.arguments) for page in found] == [1, 1, 1, 1, 4]


def test_a_page_never_names_more_blobs_than_it_may() -> None:
    many = [make_blob(KEYS, i.to_bytes(2, "big")) for i in range(10 * limits.TASK_PARTS_MAX)]
    lots = [tuple(many[at : at + limits.TASK_PARTS_MAX]) for at in range(0, len(many), limits.TASK_PARTS_MAX)]
    found, segments, _ = cut_all([(Callee(b"f", ()), Parted(b"head", each)) for each in lots])
    assert [len(page.arguments) for page in found] == [7, 3] and len(segments) == 1


def test_a_large_function_is_sealed_and_kept_once() -> None:
    callee = Callee(b"f" * 20_000, ())
    puts: list[bytes] = []
    cutter = Cutter(OWNER, JOB, KEYS, lambda ref, sealed: puts.append(ref.digest))
    cutter.cut([(callee, b"a")] * 600, 0)
    cutter.cut([(callee, b"b")], 0)
    assert len(puts) == 1 and callee.named is not None and callee.named.digest == puts[0]


def test_a_blob_that_was_let_go_is_kept_again_when_it_is_named_again() -> None:
    shared, kept = make_blob(KEYS, bytes(70_000)), []
    large = Callee(b"f" * 20_000, ())
    cutter = Cutter(OWNER, JOB, KEYS, lambda ref, sealed: kept.append(ref.digest))
    for _ in range(2):
        cutter.cut([(large, Parted(b"head", (shared,)))], 0)
    assert large.named is not None and sorted(kept) == sorted([shared.ref.digest, large.named.digest])
    assert cutter.let_go(shared.ref.digest) and not cutter.let_go(large.named.digest)
    cutter.cut([(large, Parted(b"head", (shared,)))], 0)
    assert kept[2:] == [shared.ref.digest]


def test_a_segment_ends_where_it_could_not_name_what_the_next_task_needs() -> None:
    callees = [Callee(bytes([i]), (f"package{i}", f"other{i}")) for i in range(30)]
    _, segments, _ = cut_all([(callee, b"a") for callee in callees])
    assert [segment.count for segment in segments] == [12, 12, 6]
    assert segments[0].requires == sorted(name for callee in callees[:12] for name in callee.needs)
