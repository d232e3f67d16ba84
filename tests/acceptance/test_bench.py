"""``p2pcpn bench`` as its users have it: figures beside the standard library's pool, and nothing left running."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from conftest import Shell


def test_ratios_are_measured_stored_and_checked(shell: Shell) -> None:
    words = ("bench", "delivery", "roundtrip", "--short", "--rounds", "1")
    found = shell.document(*words, "--store", "stored.json")
    delivery, roundtrip = found["benchmarks"]
    rates = delivery["figures"][0]
    assert rates["name"] == "delivery" and rates["medians"]["p2pcpn"] > 0 and rates["ratios"]["pool"] > 0
    assert roundtrip["figures"][0]["medians"]["pool"] > 0
    assert found["machine"]["cores"] and found["machine"]["versions"]["p2pcpn"] and found["absent"] == {}
    path = shell.folder / "stored.json"
    stored = json.loads(path.read_text())
    assert stored["ratios"]["delivery"]["pool"] > 0
    stored["ratios"]["delivery"]["pool"] = 1e6  # as if it had been that much faster
    stored["ratios"]["roundtrip"]["pool"] = 1e6  # less is better: as if it had been that slow
    path.write_text(json.dumps(stored))
    failed = shell.run(*words, "--check", "stored.json", code=1)
    assert "delivery: worse than stored; once more" in failed.stderr
    assert "below the stored 1e+06: 100% worse" in failed.stderr and "above the stored" not in failed.stderr
    assert "no-op tasks to delivery" in failed.stdout and "verdict" in failed.stdout


def test_an_interrupted_run_ends_what_it_started(shell: Shell) -> None:
    process = shell.start("bench", "delivery", "--against", "pool", start_new_session=True)
    assert process.stderr is not None
    while "round 1" not in process.stderr.readline():
        pass
    below = psutil.Process(process.pid).children(recursive=True)
    assert len(below) >= 6  # two drivers, two workers, a launcher, peers
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.endswith("p2pcpn: interrupted\n") and "left behind" not in err
    until = time.monotonic() + 5
    while (left := [one for one in below if one.is_running()]) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


def test_what_there_is_to_measure_is_listed(shell: Shell) -> None:
    listed = shell.run("bench", "--list").stdout
    assert "metg" in listed and "ProcessPoolExecutor(2)" in listed
    assert "no benchmark 'speed'" in shell.run("bench", "speed", code=2).stderr
