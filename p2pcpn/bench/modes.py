"""Modes: what each way to orchestrate costs by the size of the swarm, drawn from reports of ``p2pcpn sim modes``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from p2pcpn.bench import plot
from p2pcpn.bench.systems import OURS
from p2pcpn.errors import UsageError

# The figure in a report, and what is written above its panel.
PANELS: Final = (
    ("messages a task", "messages a task"),
    ("s to the first claim", "seconds to the first claim"),
    ("s for the job", "seconds for the job; dotted: an ideal schedule"),
    ("share of the busiest peer", "share of the busiest peer, % of all messages"),
)
IDEAL: Final = "s by an ideal schedule"
SHARE: Final = "share of the busiest peer"
STYLES: Final = {
    "centralised": plot.STYLES["loky"], "hybrid": plot.STYLES[OURS], "distributed": plot.STYLES["pool"],
}  # fmt: skip


class _Saved(msgspec.Struct):
    """Of a report as ``--json`` prints it what is drawn."""

    scenario: str
    peers: int
    verdict: str
    figures: dict[str, float]


Sizes = dict[int, dict[str, float]]  # peers -> figures, as "mode: figure"


def saved(paths: Sequence[Path]) -> Sizes:
    """The figures of saved reports by size. Raises :class:`UsageError` for a file that holds none of this scenario."""
    found: Sizes = {}
    for path in paths:
        try:
            report = msgspec.json.decode(path.read_bytes(), type=_Saved)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} holds no report: save one with p2pcpn sim modes --json") from error
        if report.scenario != "modes" or report.verdict != "ok":
            raise UsageError(f"{path} holds a report of {report.scenario} ({report.verdict}), not one of modes")
        found.setdefault(report.peers, {}).update(report.figures)
    return found


def draw(sizes: Sizes, path: Path) -> Path:
    """Draw a panel for each figure to ``path``, a PNG, and in it a line for each mode. Raises :class:`UsageError` where
    it cannot be written."""
    picture, panels = plot.panels(2, 2, 9.6, 6.4)
    for axes, (figure, title) in zip(panels, PANELS, strict=True):
        _panel(axes, sizes, figure)
        axes.set_title(title, fontsize=10)
    panels[0].legend(fontsize=9, framealpha=0.9)
    picture.suptitle("Four tasks a slot, 0.5 to 1.5 s each, simulated", fontsize=12)
    return plot.save(picture, path)


def _panel(axes: Any, sizes: Sizes, figure: str) -> None:
    scale = 100.0 if figure == SHARE else 1.0
    for mode, (colour, marker) in STYLES.items():
        key = f"{mode}: {figure}"
        points = [(peers, sizes[peers][key] * scale) for peers in sorted(sizes) if key in sizes[peers]]
        axes.plot(
            [peers for peers, _ in points], [value for _, value in points], color=colour, marker=marker, markersize=6,
            linewidth=2.4 if mode == "hybrid" else 1.5, label=mode, zorder=3 if mode == "hybrid" else 2,
        )  # fmt: skip
    if figure == "s for the job":
        ideal = {peers: max(said[key] for key in said if key.endswith(IDEAL)) for peers, said in sizes.items()}
        axes.plot(sorted(ideal), [ideal[peers] for peers in sorted(ideal)], color=plot.GREY, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(sorted(sizes), [f"{peers:,}" for peers in sorted(sizes)])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("peers", fontsize=9)
    axes.grid(alpha=0.25)
