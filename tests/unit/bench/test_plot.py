"""Pictures: curves to the file that was named, bars beside them, and nothing where there is nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest

from p2pcpn.bench import plot
from p2pcpn.bench.figures import Figure, Outcome
from p2pcpn.errors import UsageError

CURVES = Outcome("metg", raw={"metg": {"p2pcpn": [[1e-3, 0.9], [1e-4, 0.4]], "pool": [[1e-3, 0.8], [1e-4, 0.3]]}})
BARS = Outcome(
    "delivery",
    [
        Figure("delivery", "tasks", "/s", {"p2pcpn": [40000.0], "pool": [8000.0], "ray": [20.0], "none": []}),
        Figure("alone", "", "s", {"p2pcpn": [1.0]}),
        Figure("queued", "memory", "bytes", {"p2pcpn": [0.0], "pool": [0.0]}, more=False),
    ],
)


class Picture:
    """What stands for matplotlib's figure: it remembers its axes."""

    made: list[Picture]

    def __init__(self, **options: Any) -> None:
        self.axes: list[Any] = []
        self.made.append(self)

    def add_subplot(self, *where: Any) -> Any:
        axes = MagicMock()
        self.axes.append(axes)
        return axes

    def add_gridspec(self, *shape: Any, **options: Any) -> Any:
        return MagicMock()

    def suptitle(self, text: str, **options: Any) -> None:
        assert text

    def savefig(self, path: Path, **options: Any) -> None:
        path.write_bytes(b"PNG")


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Picture]:
    Picture.made = []
    package, module = ModuleType("matplotlib"), ModuleType("matplotlib.figure")
    module.Figure = Picture  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "matplotlib", package)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", module)
    return Picture.made


def test_curves_go_to_the_file_and_bars_beside_it(tmp_path: Path, made: list[Picture]) -> None:
    written = plot.draw([CURVES, BARS], tmp_path / "found.png")
    assert [path.name for path in written] == ["found.png", "found-bars.png"]
    assert all(path.read_bytes() == b"PNG" for path in written)
    (axes,) = made[0].axes
    axes.set_xscale.assert_called_once_with("log")
    assert [call.kwargs["label"] for call in axes.plot.call_args_list] == ["p2pcpn", "pool"]
    assert [call.args[0] for call in axes.axvline.call_args_list] == [330, 150]


def test_bars_alone_take_the_name_and_a_log_axis_where_they_differ_much(tmp_path: Path, made: list[Picture]) -> None:
    assert plot.draw([BARS], tmp_path / "found.png") == [tmp_path / "found.png"]
    delivery, queued = made[0].axes
    delivery.set_xscale.assert_called_once_with("log")
    queued.set_xscale.assert_not_called()
    # Floor and goal against the pool and against Ray, on our bar.
    assert [call.args[0][0] for call in delivery.plot.call_args_list] == [24000, 40000, 300, 500]


def test_where_nothing_can_be_drawn_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="nothing that was measured"):
        plot.draw([Outcome("idle", [Figure("idle-core", "", "%", {"p2pcpn": [1.0]})])], tmp_path / "x.png")
    with pytest.raises(UsageError, match="No such file"):
        plot.draw([BARS], tmp_path / "none" / "x.png")
    monkeypatch.setattr(plot, "is_installed", lambda package: False)
    with pytest.raises(UsageError, match="pip install"):
        plot.require()
    monkeypatch.setattr(plot, "is_installed", lambda package: True)
    plot.require()


def test_lengths_are_written_for_people() -> None:
    assert [plot._length(length) for length in (30.0, 1000.0, 30_000.0)] == ["30 µs", "1 ms", "30 ms"]
