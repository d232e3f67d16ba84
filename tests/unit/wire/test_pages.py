"""Pages: columns that come back as they were, and spans that are their indices."""

from __future__ import annotations

from itertools import pairwise

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.wire import pages
from p2pcpn.wire.codec import Codec
from p2pcpn.wire.pages import Death, Entry, JobPointer, LogHead, Print, Raised, ResultPage, TaskPage, cut, spans_of
from p2pcpn.wire.statements import BlobRef, Cancel, signed

BLOB = BlobRef(bytes(32), 99, bytes(32))
SIGNED = signed(Cancel(bytes(20), 1.0), Keypair(bytes(32)))
CODECS = [
    (pages.TASKS, TaskPage([b"f", BLOB], [0, 1], [b"a", BLOB])),
    (pages.TASKS, TaskPage([b"f"], None, [b"a"])),
    (pages.TASKS, TaskPage([b"f"], None, [b"a", b"b", BLOB], [BLOB], [(0, [0]), (2, [0, 0])])),
    (pages.RESULTS, ResultPage([b"a", BLOB], [Print(7, 1, b"text")])),
    (pages.DEATH, Death(9, None)),
    (pages.RAISED, Raised("ValueError", "text", "traceback", b"pickle")),
    (pages.LOG_BODY, [Entry(SIGNED, b"page", [(1, 2)]), Entry(SIGNED, b"", None)]),
    (pages.LOG_HEAD, LogHead(1, 2, bytes(32), 3, None, False, [b"contact"], [(4, 5)])),
    (pages.JOB_POINTER, JobPointer(bytes(32), [b"contact"])),
    (pages.SIGNED, SIGNED),
    (pages.PRINT, Print(1, 2, b"line")),
    (pages.PAGES, [b"one", b""]),
]


@pytest.mark.parametrize(("codec", "value"), CODECS)
def test_what_was_encoded_comes_back(codec: Codec[object], value: object) -> None:
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize("codec", [codec for codec, _ in CODECS])
@given(data=st.binary(max_size=80))
def test_any_bytes_are_a_page_or_an_error(codec: Codec[object], data: bytes) -> None:
    try:
        codec.decode(data)
    except PeerError:
        return


@pytest.mark.parametrize(
    "page",
    [
        TaskPage([], None, [b"a"]),
        TaskPage([b"f"], None, []),
        TaskPage([b"f"], None, [b""] * (limits.PAGE_TASKS_MAX + 1)),
        TaskPage([b"f"] * (limits.PAGE_TASKS_MAX + 1), None, [b""]),
        TaskPage([b"f"], [0] * (limits.PAGE_TASKS_MAX + 1), [b""]),
        TaskPage([b"f"], None, [b""], [BLOB] * (limits.PAGE_BLOBS_MAX + 1), []),
        TaskPage([b"f"], None, [b""], [BLOB], [(0, [0])] * (limits.PAGE_TASKS_MAX + 1)),
        TaskPage([b"f"], None, [b""], [BLOB], [(0, [0] * (limits.TASK_PARTS_MAX + 1))]),
        TaskPage([b"f"], None, [b""], [BLOB], [(0, [])]),
    ],
)
def test_a_page_of_no_tasks_or_of_too_many_is_an_error(page: TaskPage) -> None:
    with pytest.raises(PeerError):
        pages.TASKS.decode(pages.TASKS.encode(page))


def test_a_page_of_small_tasks_pays_two_bytes_for_the_parts_that_it_does_not_have() -> None:
    page = TaskPage([b"f"], None, [b"a"])
    assert pages.TASKS.encode(page)[-2:] == b"\x90\x90"


def test_the_largest_page_is_within_its_bound() -> None:
    most = [(position, [0xFFFF] * limits.TASK_PARTS_MAX) for position in range(limits.PAGE_TASKS_MAX)]
    inline = [bytes(limits.INLINE_BYTES_MAX)] * (limits.PAGE_BYTES // limits.INLINE_BYTES_MAX + 1)
    functions = [bytes(limits.INLINE_BYTES_MAX)] * 2
    pages.TASKS.decode(pages.TASKS.encode(TaskPage(functions, None, inline, [BLOB] * limits.PAGE_BLOBS_MAX, most)))


def test_a_settlement_of_too_many_spans_is_an_error() -> None:
    body = pages.LOG_BODY.encode([Entry(SIGNED, b"", [(0, 1)] * (limits.BATCH_TASKS_MAX + 1))])
    with pytest.raises(PeerError):
        pages.LOG_BODY.decode(body)
    with pytest.raises(PeerError):
        pages.LOG_BODY.decode(pages.LOG_BODY.encode([Entry(SIGNED, b"", [(0, 1 << 32)])]))


def test_settlements_are_read_one_by_one_and_no_more_than_a_log_segment_has_runs_of_tasks() -> None:
    entries = [Entry(SIGNED, b"page", [(1, 2)]), Entry(SIGNED, b"", None)]
    assert list(pages.entries_of(pages.LOG_BODY.encode(entries))) == entries
    found = pages.entries_of(msgpack.packb([msgpack.unpackb(pages.LOG_BODY.encode(entries))[0], None]))
    assert next(found) == entries[0]
    with pytest.raises(PeerError):
        next(found)
    with pytest.raises(PeerError, match="settlements"):
        pages.entries_of(msgpack.packb([None] * (pages.LOG_SPANS_MAX + 1)))


@given(st.lists(st.integers(0, 20), max_size=30))
def test_spans_are_their_indices_in_order(indices: list[int]) -> None:
    spans = spans_of(indices)
    assert cut(spans) == indices
    assert all(a[0] + a[1] != b[0] for a, b in pairwise(spans))


def test_runs_become_one_span() -> None:
    assert spans_of([3, 4, 5, 9, 8]) == [(3, 3), (9, 1), (8, 1)]
    assert spans_of([]) == []


def test_a_death_is_told_by_its_signal_or_code() -> None:
    assert pages.death_text(9, None) == "the worker process was ended by signal 9 while it ran this task"
    assert pages.death_text(None, 3) == "the worker process exited with code 3 while it ran this task"


@pytest.mark.parametrize(
    ("parts", "count"), [([(0, [7])], 1), ([(65535, [0])], 1), ([(0, [])], 1), ([], 2), ([(1, [0])], 1)]
)
def test_a_page_that_names_what_it_does_not_hold_is_an_error(parts: list[tuple[int, list[int]]], count: int) -> None:
    with pytest.raises(PeerError, match="does not hold"):
        pages.check_page(pages.TaskPage([b"f"], None, [b"0"], [], parts, [0]), count)
    pages.check_page(pages.TaskPage([b"f"], None, [b"0"], [], [(0, [0])], [0]), 1)
