"""Large results: opened in a thread, in turn; what is not here is asked for, what is no good says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.client.large_results import LargeResults, opened
from p2pcpn.errors import PeerError
from p2pcpn.wire.sealing import digest, seal
from p2pcpn.wire.statements import BlobRef

KEY = b"\1" * 32
WORKER = b"w" * 20


def blob(data: bytes) -> tuple[BlobRef, bytes]:
    sealed = seal(KEY, 0, data)
    return BlobRef(digest(sealed), len(sealed), KEY), sealed


class Overlay:
    """Blobs at hand, and a peer that has others."""

    def __init__(self, *, here: dict[bytes, bytes], there: dict[bytes, bytes]) -> None:
        self.loop = asyncio.get_running_loop()
        self.there = there
        self.asked: list[list[Any]] = []
        self.shelf = SimpleNamespace(has=here.__contains__, reading=lambda name: lambda: here.get(name))
        advert = SimpleNamespace(advert=SimpleNamespace(contact="its address"))
        self.peer = SimpleNamespace(directory={WORKER: advert})
        self.library = self

    async def fetch_blob(self, name: bytes, holders: list[Any], bytes_max: int) -> bytes:
        self.asked.append(holders)
        if name not in self.there:
            raise PeerError("no peer that answers has the blob")
        assert len(self.there[name]) <= bytes_max
        return self.there[name]


def large(**where: dict[bytes, bytes]) -> tuple[LargeResults, Overlay]:
    overlay: Any = Overlay(**{"here": {}, "there": {}, **where})
    return LargeResults(overlay), overlay


@pytest.mark.asyncio
async def test_what_is_here_is_opened_in_a_thread() -> None:
    ref, sealed = blob(b"value")
    results, overlay = large(here={ref.digest: sealed})
    found = await results.load(ref, WORKER, lambda view: (bytes(view), threading.current_thread()))
    assert found[0] == b"value" and found[1] is not threading.main_thread() and overlay.asked == []


@pytest.mark.asyncio
async def test_what_is_not_here_is_asked_of_its_worker_where_that_is_known() -> None:
    ref, sealed = blob(b"value")
    results, overlay = large(there={ref.digest: sealed})
    assert await results.load(ref, WORKER, bytes) == b"value"
    assert await results.load(ref, b"unknown", bytes) == b"value"
    assert overlay.asked == [["its address"], []]
    with pytest.raises(PeerError):
        await results.load(BlobRef(bytes(32), 9, KEY), WORKER, bytes)


@pytest.mark.asyncio
async def test_one_at_a_time_in_the_order_in_which_they_were_asked_for() -> None:
    made = [blob(bytes([i])) for i in range(5)]
    results, _ = large(here={ref.digest: sealed for ref, sealed in made})
    log: list[tuple[str, int]] = []

    def load(number: int) -> Callable[[Any], None]:
        def work(view: Any) -> None:
            log.append(("begins", number))
            assert view[0] == number
            log.append(("ends", number))

        return work

    await asyncio.gather(*(results.load(ref, WORKER, load(i)) for i, (ref, _) in enumerate(made)))
    assert log == [(what, i) for i in range(5) for what in ("begins", "ends")]


@pytest.mark.parametrize("sealed", [None, b"", bytes(16), bytes(17), blob(b"another")[1][:-1]])
def test_what_does_not_open_is_a_peers_error(sealed: bytes | None) -> None:
    with pytest.raises(PeerError):
        opened(lambda: sealed, blob(b"value")[0], bytes)


def test_what_loading_raises_is_raised() -> None:
    ref, sealed = blob(b"value")

    def fail(_: Any) -> None:
        raise KeyError("of the value's own")

    with pytest.raises(KeyError):
        opened(lambda: sealed, ref, fail)
