"""Two mappings of one page: what the worker stores, the peer reads, and the other way."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from p2pcpn.runtime.function.progress import END, Page, shared_file


@pytest.fixture(params=["memory", "file"])
def pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Page, Page]]:
    if request.param == "file":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    descriptor = shared_file()
    peer, worker = Page(descriptor), Page(descriptor)
    os.close(descriptor)
    yield peer, worker
    peer.close()
    worker.close()


def test_the_running_position_is_read_by_the_peer(pages: tuple[Page, Page]) -> None:
    peer, worker = pages
    assert peer.position(1) is None
    assert worker.start(1)
    assert peer.position(1) == 0 and peer.position(2) is None
    worker.cells[1] = 17
    assert peer.position(1) == 17
    worker.end()
    assert peer.position(1) is None


def test_a_dispatch_that_was_taken_back_is_not_started(pages: tuple[Page, Page]) -> None:
    peer, worker = pages
    assert worker.start(1)
    assert peer.revoke(2)
    assert not worker.start(2)
    assert peer.position(2) is None
    assert worker.start(3)


def test_a_dispatch_that_has_started_is_not_taken_back(pages: tuple[Page, Page]) -> None:
    peer, worker = pages
    assert worker.start(1)
    assert not peer.revoke(1)


def test_a_dispatch_is_ended_behind_the_position_that_runs(pages: tuple[Page, Page]) -> None:
    peer, worker = pages
    assert peer.cut(1, 9) is None
    assert worker.start(1)
    worker.cells[1] = 4
    assert worker.cells[END] > 1 << 60
    assert peer.cut(2, 9) is None and peer.cut(1, 9) == 5
    assert worker.cells[END] == 5
    assert worker.start(2) and worker.cells[END] > 1 << 60


def test_a_dispatch_that_moves_on_meanwhile_is_not_ended(pages: tuple[Page, Page]) -> None:
    peer, worker = pages
    assert worker.start(1)

    class Moving(Page):
        def position(self, dispatch: int) -> int | None:
            found = super().position(dispatch)
            worker.cells[1] += 1
            return found

    moving = Moving.__new__(Moving)
    moving._map, moving.cells = peer._map, peer.cells
    assert moving.cut(1, 9) is None
    assert worker.cells[END] > 1 << 60


@pytest.mark.skipif(not hasattr(fcntl, "F_ADD_SEALS"), reason="this system cannot seal the size of a file")
def test_a_worker_cannot_cut_the_page_short_under_its_peer() -> None:
    descriptor = shared_file()
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
