"""Each result of an executor is booked to the peer that brought it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p2pcpn.client.attribution import Attribution
from p2pcpn.protocol.events import Delivered, Started


class Watched:
    """Stands for an executor: passes on what is told to it."""

    def watch(self, watcher: Callable[[Any], None]) -> None:
        self.tell = watcher


def test_each_task_is_booked_to_the_peer_that_brought_it() -> None:
    executor: Any = Watched()
    attribution = Attribution(executor)
    assert attribution.workers() == {}
    executor.tell(Started(bytes(20), [0]))
    executor.tell(Delivered(bytes(20), [0, 2], b"\0\0", [b"", b""], b"\x01" * 20, []))
    executor.tell(Delivered(bytes(20), [1], b"\0", [b""], b"\x02" * 20, []))
    assert attribution.workers() == {0: "01" * 20, 2: "01" * 20, 1: "02" * 20}
