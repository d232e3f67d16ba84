"""``p2pcpn demo`` and ``p2pcpn sim``: what one looks at first."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import png
import psutil
import pytest

if TYPE_CHECKING:
    from conftest import Shell


def test_the_demonstration_paints_counts_loses_a_peer_and_nothing_else(shell: Shell) -> None:
    ran = shell.run("demo")
    assert ran.stderr == ""
    assert re.search(r"peer [0-9a-f]{6} was just killed", ran.stdout)
    assert "96 of 96 tiles" in ran.stdout and "1 of 4 peers died, nothing was lost" in ran.stdout
    words = re.search(r"([\d,]+) words of documentation", ran.stdout)
    assert words is not None and int(words[1].replace(",", "")) > 200_000
    path = ran.stdout.rstrip().rpartition("picture: ")[2]
    width, height, rows, _ = png.Reader(bytes=Path(path).read_bytes()).asRGB8()
    assert (width, height) == (960, 640)
    assert len({bytes(row[at : at + 3]) for row in rows for at in range(0, 2880, 30)}) > 300
    # Who did what: the killed peer's row, and three that worked on.
    table = [line for line in ran.stdout.splitlines() if re.match(r"[0-9a-f]{6} ", line)]
    assert len(table) == 4 and sum("killed" in line for line in table) == 1
    assert sum(int(line.split()[1]) for line in table) == 96


def test_a_simulation_is_the_same_under_every_hash_seed(shell: Shell) -> None:
    hashes = set()
    for seed in ("0", "123"):
        os.environ["PYTHONHASHSEED"] = seed
        try:
            report = shell.document("sim", "churn", "--peers", "12", "--seed", "7")
        finally:
            del os.environ["PYTHONHASHSEED"]
        assert report["lost_tasks"] == 0 and report["events"] > 1000
        hashes.add(report["trace_hash"])
    assert len(hashes) == 1
    assert shell.document("sim", "churn", "--peers", "12", "--seed", "8")["trace_hash"] not in hashes


def test_an_interrupt_ends_many_seeds_at_once_with_one_line(shell: Shell) -> None:
    with shell.start("sim", "faults", "--peers", "400", "--seeds", "1-9", start_new_session=True) as process:
        try:
            while not any(
                "spawn_main" in " ".join(child.cmdline()) for child in psutil.Process(process.pid).children()
            ):
                assert process.poll() is None
            time.sleep(1.0)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err.strip()) == (130, "", "p2pcpn: interrupted")


@pytest.mark.parametrize("apart_ms", [0, 2, 5, 10, 30])
def test_two_interrupts_within_milliseconds_end_many_seeds_soon_and_without_a_traceback(
    shell: Shell, apart_ms: int
) -> None:
    with shell.start("sim", "faults", "--peers", "50", "--seeds", "1-30", start_new_session=True) as process:
        computing: list[psutil.Process] = []
        try:
            while not computing:
                assert process.poll() is None
                children = psutil.Process(process.pid).children()
                computing = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(apart_ms / 1000.0)
            with contextlib.suppress(ProcessLookupError):  # it may have ended before the second
                os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    # A shell says 130 of both: the second may end the process while the first is told.
    assert process.returncode in (130, -signal.SIGINT) and out == "", (process.returncode, out, err)
    assert err.strip() in ("", "p2pcpn: interrupted")
    _, left = psutil.wait_procs(computing, timeout=10)
    assert not left
