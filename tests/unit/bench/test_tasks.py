"""The tasks of the benchmarks do what they say, and no more."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from p2pcpn.bench import tasks


def test_no_op_and_echo_return_what_came_in() -> None:
    data = b"abc"
    assert tasks.no_op(7) == 7 and tasks.echo(data) is data


def test_spinning_takes_time_and_burning_takes_processor_time() -> None:
    begun = time.perf_counter()
    assert tasks.spin(0.002) == 0.002
    assert time.perf_counter() - begun >= 0.002
    before = time.thread_time()
    assert tasks.burn(0.002) == 0.002
    assert time.thread_time() - before >= 0.002


def test_a_held_worker_goes_on_when_the_file_appears(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    opened = threading.Timer(0.01, gate.touch)
    opened.start()
    assert tasks.hold(str(gate)) == str(gate)
    opened.join()
