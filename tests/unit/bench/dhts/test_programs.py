"""p2pcpn's peers in several programs: one swarm, and nothing left of them."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import psutil
import pytest

from p2pcpn.bench.dhts import programs
from p2pcpn.bench.dhts.programs import ProgramFailed, ProgramsTable


def test_peers_of_all_programs_are_one_swarm_and_every_thread_has_lines_of_its_own() -> None:
    table = ProgramsTable(programs=2)
    table.stop()
    table.start(3)
    try:
        pids = [process.pid for process in table._processes]
        assert len(pids) == 2
        assert table.store(0, "key", b"value") and table.get(1, "key") == b"value"
        found: list[bytes | None] = []
        asking = threading.Thread(target=lambda: found.append(table.get(2, "key")))
        asking.start()
        asking.join()
        assert found == [b"value"] and table.get(1, "other") is None
        with pytest.raises(ProgramFailed, match="IndexError"):
            table.get(9, "key")
        table._processes[1].kill()
        table._processes[1].wait()
        with pytest.raises(ProgramFailed, match="with peers"):
            table.get(1, "key")
    finally:
        table.stop()
    table.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_program_ends_when_whoever_started_it_is_gone_even_before_it_was_told_anything() -> None:
    table = ProgramsTable(1)
    table._folder = tempfile.TemporaryDirectory()
    table._spawn(str(Path(table._folder.name) / "0.sock"))
    (process,) = table._processes
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20.0) == 0
    table.stop()


def test_a_program_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_CODE", "import time\ntime.sleep(600)\n")
    monkeypatch.setattr(programs, "START_S", 0.1)
    monkeypatch.setattr(programs, "STOP_S", 0.1)
    table = ProgramsTable()
    assert table._count == os.cpu_count()
    with pytest.raises(ProgramFailed, match="does not answer"):
        table.start(1)
    pid = table._processes[0].pid
    table.stop()
    assert not psutil.pid_exists(pid)
