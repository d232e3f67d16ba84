"""What the peers run for the demonstration, run here."""

from __future__ import annotations

import cloudpickle
import pytest

from p2pcpn.cli.demo import picture, tasks, words


def test_a_tile_comes_with_the_seconds_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(tasks, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(picture, "tile", lambda number: b"pixels of %d" % number)
    assert tasks.paint(7) == (2.5, b"pixels of 7")


def test_a_batch_comes_with_its_files_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.5])
    monkeypatch.setattr(tasks, "perf_counter", lambda: next(clock))
    seconds, files, found = tasks.read(["heapq.py", "no/such.py"])
    assert (seconds, files) == (0.5, 1)
    assert found == words.count(["heapq.py"])[1]


def test_tasks_travel_by_name_and_so_are_small() -> None:
    for task in (tasks.paint, tasks.read):
        assert len(cloudpickle.dumps(task)) < 100
