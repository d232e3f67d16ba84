"""The stock holds what tasks that have not ended need, and nothing else."""

from __future__ import annotations

import pytest

from p2pcpn.protocol import stock as module
from p2pcpn.protocol.ledger import SETTLED
from p2pcpn.protocol.stock import Page, Stock
from p2pcpn.wire.statements import Segment, read
from tests.unit.protocol.granting import Table


def stocked(*counts: int) -> Stock:
    """A stock of one segment with pages of so many tasks."""
    stock = Stock()
    segment, sealed = Table().segment(*counts)
    said, first, pages = read(segment, Segment), 0, []
    for count, data in zip(counts, sealed, strict=True):
        pages.append(Page(said.number, first, count, data, b"key", [b"blob"], count))
        first += count
    stock.add(segment, said, pages)
    return stock


def test_spans_are_cut_by_page() -> None:
    stock = stocked(3, 2, 4)
    assert [(page.first, low, high) for page, low, high in stock.pieces([(1, 5)])] == [(0, 1, 3), (3, 0, 2), (5, 0, 1)]
    assert stock.segments[0].firsts == [0, 3, 5]


def test_a_page_goes_with_its_last_task_and_a_segment_with_its_last_page() -> None:
    stock = stocked(3, 2)
    [(page, _, _)] = stock.pieces([(0, 1)])
    page.sent[b"peer"] = object()
    stock.ended([(0, 2)])
    assert page.sealed
    stock.ended([(2, 1)])
    assert (page.sealed, page.blobs, page.sent) == (b"", [], {})
    assert (len(stock), stock.segments[0].open) == (1, 1)
    stock.ended([(3, 2)])
    assert not stock.segments
    assert len(stock) == 0


def test_a_blob_is_spent_with_the_last_page_that_names_it_and_told_once() -> None:
    stock = stocked(1, 1)
    stock.ended([(0, 1)])
    assert stock.spent(lambda _: False) == []
    stock.ended([(1, 1)])
    assert stock.spent(lambda _: True) == []
    assert (stock.spent(lambda _: False), stock.spent(lambda _: False)) == ([b"blob"], [])


def test_a_spent_blob_that_is_named_again_is_not_spent() -> None:
    stock = stocked(1)
    stock.ended([(0, 1)])
    segment, sealed = Table().segment(1)
    stock.add(segment, read(segment, Segment), [Page(1, 1, 1, sealed[0], b"key", [b"blob"], 1)])
    assert stock.spent(lambda _: False) == []


def test_of_spent_blobs_that_nobody_asks_about_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPENT_MAX", 2)
    stock = Stock()
    segment, sealed = Table().segment(1, 1, 1)
    said = read(segment, Segment)
    stock.add(segment, said, [Page(said.number, i, 1, sealed[i], b"key", [bytes([i])], 1) for i in range(3)])
    stock.ended([(0, 3)])
    assert stock.spent(lambda _: False) == [b"\1", b"\2"]


def test_ended_pages_are_swept_out_and_the_others_still_found() -> None:
    stock = stocked(*[2] * 200)
    stock.ended([(0, 300)])
    assert len(stock._pages) < 200
    assert [(page.first, low, high) for page, low, high in stock.pieces([(300, 1), (399, 1)])] == [
        (300, 0, 1), (398, 1, 2),
    ]  # fmt: skip


def test_what_was_settled_before_is_dropped() -> None:
    stock = stocked(2, 2)
    stock.keep_only(bytearray([SETTLED, SETTLED, 0, SETTLED]), SETTLED)
    assert len(stock) == 1
    stock.ended([(2, 1)])
    assert len(stock) == 0


def test_a_task_whose_page_is_gone_is_our_mistake() -> None:
    stock = stocked(*[2] * 200)
    stock.ended([(0, 300)])
    with pytest.raises(AssertionError):
        stock.pieces([(0, 1)])
