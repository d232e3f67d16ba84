"""A file is hauled through a real swarm, and memory is watched meanwhile."""

from __future__ import annotations

import os
import time

from p2pcpn.bench.hauls import Peaks, measure


def test_a_small_file_is_put_and_got_and_measured() -> None:
    found = measure(2, 1, 2)
    assert found["bytes"] == 1 << 20 and found["put_rate"] > 0 and found["get_rate"] > 0
    assert found["put_s"] > 0 and found["get_s"] > 0 and len(found["above_bytes"]) == 3


def test_what_a_process_takes_and_gives_back_is_seen() -> None:
    with Peaks([os.getpid()]) as peaks:
        until = time.monotonic() + 10.0
        held = bytearray(os.urandom(1 << 20) * 64)
        while peaks.above_bytes[0] < len(held) // 2 and time.monotonic() < until:
            time.sleep(0.01)
    assert peaks.above_bytes[0] >= len(held) // 2
