"""Opened pages tell which blobs and which results their tasks name, to whoever has the keys."""

from __future__ import annotations

import pytest

from p2pcpn.errors import PeerError
from p2pcpn.protocol.opened_pages import blobs_named, needs_named
from p2pcpn.protocol.stock import Page
from p2pcpn.wire import pages
from p2pcpn.wire.pages import TaskPage
from p2pcpn.wire.sealing import JobKeys, digest, seal
from p2pcpn.wire.statements import BlobRef, Segment, signed
from tests.unit.protocol.granting import KEYS, OWNER

REF = BlobRef(bytes([4]) * 32, 7, bytes(32))


def test_the_blobs_of_pages_are_read_by_whoever_has_the_key() -> None:
    sealed = [
        seal(KEYS.page(first), 0, pages.TASKS.encode(TaskPage([b"f"], None, [argument])))
        for first, argument in enumerate((REF, b"x"))
    ]
    segment = signed(Segment(bytes(20), 0, 0, bytes(32), [(1, digest(page)) for page in sealed], [], []), OWNER)
    assert blobs_named(KEYS, segment, sealed) == [[REF.digest], []]
    with pytest.raises(PeerError):
        blobs_named(JobKeys(bytes(range(32))), segment, sealed)


def test_tasks_name_the_results_they_take() -> None:
    page = TaskPage([b"f"], None, [b"x", b"y"], blobs=[REF], parts=[(1, [0, 1])], inputs=[3])
    sealed = seal(KEYS.page(7), 0, pages.TASKS.encode(page))
    assert needs_named([Page(0, 7, 2, sealed, KEYS.page(7), [], 2)]) == [(8, [3])]
