"""Modes: saved reports of all sizes become one picture; what is no report of the scenario is not drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from p2pcpn.bench import modes, plot
from p2pcpn.errors import UsageError
from p2pcpn.sim.modes import MODES as PLAYED

MODES = tuple(modes.STYLES)


def report(path: Path, peers: int, *, words: tuple[str, ...] = MODES, **changes: Any) -> Path:
    figures = {f"{mode}: {figure}": peers / 100 for mode in words for figure, _ in modes.PANELS}
    figures |= {f"{mode}: {modes.IDEAL}": 4.5 for mode in words}
    path.write_text(json.dumps({"scenario": "modes", "peers": peers, "verdict": "ok", "figures": figures} | changes))
    return path


def test_what_is_played_is_drawn() -> None:
    assert set(modes.STYLES) == set(PLAYED) and {word for word, _ in modes.PANELS} >= {modes.SHARE, "s for the job"}


def test_reports_of_one_size_are_put_together(tmp_path: Path) -> None:
    some = [report(tmp_path / f"{word}.json", 100, words=(word,)) for word in MODES]
    found = modes.saved([*some, report(tmp_path / "large.json", 1000)])
    assert sorted(found) == [100, 1000] and found[100].keys() == found[1000].keys()


def test_what_holds_no_report_of_the_modes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("{}")
    wrong = [
        (tmp_path / "gone", "No such file"),
        (tmp_path / "other", "holds no report"),
        (report(tmp_path / "churn", 9, scenario="churn"), "a report of churn"),
        (report(tmp_path / "broken", 9, verdict="task 3 was lost"), "task 3 was lost"),
    ]
    for path, said in wrong:
        with pytest.raises(UsageError, match=said):
            modes.saved([path])


def test_each_figure_has_a_panel_and_each_mode_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panels, written = [MagicMock() for _ in modes.PANELS], []
    monkeypatch.setattr(plot, "panels", lambda *shape: (MagicMock(), panels))
    monkeypatch.setattr(plot, "save", lambda picture, path: written.append(path) or path)
    sizes = modes.saved([report(tmp_path / "a", 100), report(tmp_path / "b", 1000, words=MODES[:2])])
    assert modes.draw(sizes, tmp_path / "modes.png") == tmp_path / "modes.png" and len(written) == 1
    lines = [[call.args for call in axes.plot.call_args_list] for axes in panels]
    assert [len(each) for each in lines] == [3, 3, 4, 3], "the ideal stands beside the time of the job"
    assert lines[0][0] == ([100, 1000], [1.0, 10.0]) and lines[0][2] == ([100], [1.0])
    assert lines[3][0] == ([100, 1000], [100.0, 1000.0]), "per cent"
