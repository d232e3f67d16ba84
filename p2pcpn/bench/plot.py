"""Pictures of what was found, as PNG files: the METG curves, and for every other comparison a row of bars.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; each system has a marker as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from p2pcpn.bench.figures import TARGETS, Figure, Outcome
from p2pcpn.bench.granularity import HALF
from p2pcpn.bench.systems import INSTALL, OURS, is_installed
from p2pcpn.errors import UsageError

US_PER_S: Final = 1e6
DPI: Final = 150
# Okabe & Ito, "Color Universal Design", 2008: vermillion, blue, green, orange, purple, sky blue; black for the rest.
STYLES: Final[Mapping[str, tuple[str, str]]] = {
    OURS: ("#D55E00", "o"), "pool": ("#0072B2", "s"), "loky": ("#009E73", "^"), "ray": ("#E69F00", "D"),
    "dask": ("#CC79A7", "v"), "parsl": ("#56B4E9", "P"), "kademlia": ("#0072B2", "s"), "hivemind": ("#009E73", "^"),
}  # fmt: skip
OTHER: Final = ("#000000", "x")
GREY: Final = "#666666"
LINES: Final = (("floor", ":"), ("goal", "--"))


def require() -> None:
    """Raises :class:`UsageError` where nothing can be drawn."""
    if not is_installed("matplotlib"):
        raise UsageError(f"--plot needs matplotlib: {INSTALL}")


def draw(outcomes: Sequence[Outcome], path: Path) -> list[Path]:
    """Draw what was found to ``path``; where there are curves and bars, the bars go beside it, ``NAME-bars.png``.

    Returns the files. Raises :class:`UsageError` where there is nothing to draw or the file cannot be written.
    """
    curves = {
        name: curve for outcome in outcomes for name, curve in outcome.raw.items() if name.startswith("metg") and curve
    }
    bars = [figure for outcome in outcomes for figure in outcome.figures if not figure.name.startswith("metg")]
    bars = [figure for figure in bars if len(figure.values) > 1]
    written = []
    if curves:
        written.append(save(_curves(curves), path))
    if bars:
        beside = path.with_name(f"{path.stem}-bars{path.suffix or '.png'}") if curves else path
        written.append(save(_bars(bars), beside))
    if not written:
        raise UsageError("nothing that was measured can be drawn; metg has curves, comparisons have bars")
    return written


def save(picture: Any, path: Path) -> Path:
    """Write a picture as PNG. Raises :class:`UsageError` where it cannot be."""
    try:
        picture.savefig(path, dpi=DPI, format="png")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    return path


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A picture of so many inches, and its panels, row by row."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(width, height), layout="constrained")
    return picture, [picture.add_subplot(rows, columns, at + 1) for at in range(rows * columns)]


# --- curves ----------------------------------------------------------------------------------------------------------

_KINDS: Final = {"metg": "tasks that spin", "metg-cpu": "tasks that burn processor time"}


def _curves(curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> Any:
    """Efficiency by the length of a task, a panel for each kind of task."""
    picture, subplots = panels(1, len(curves), 1.2 + 5.2 * len(curves), 4.6)
    for axes, (name, systems) in zip(subplots, curves.items(), strict=True):
        for system, curve in systems.items():
            colour, marker = STYLES.get(system, OTHER)
            points = sorted((task_s * US_PER_S, efficiency * 100) for task_s, efficiency in curve)
            axes.plot(
                [length for length, _ in points], [share for _, share in points], color=colour, marker=marker,
                markersize=6, linewidth=2.4 if system == OURS else 1.5, label=system, zorder=3 if system == OURS else 2,
            )  # fmt: skip
        axes.axhline(HALF * 100, color=GREY, linewidth=1, zorder=1)
        for (target,) in (TARGETS["metg"],):
            for (words, style), at in zip(LINES, (target.floor, target.goal), strict=True):
                axes.axvline(at, color=GREY, linewidth=1.2, linestyle=style, zorder=1)
                axes.annotate(
                    f"{words} {at:g} µs", (at, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -4),
                    textcoords="offset points", rotation=90, va="top", ha="left", fontsize=8, color=GREY,
                )  # fmt: skip
        axes.set_xscale("log")
        lengths = sorted({task_s * US_PER_S for curve in systems.values() for task_s, _ in curve})
        axes.set_xticks(lengths, [_length(length) for length in lengths])
        axes.minorticks_off()
        axes.set_ylim(0, 105)
        axes.set_xlabel("length of a task")
        axes.set_ylabel("efficiency of two workers, %")
        axes.set_title(_KINDS.get(name, name), fontsize=11)
        axes.grid(alpha=0.25)
        axes.legend(loc="lower right", fontsize=9, framealpha=0.9)
    picture.suptitle("Efficiency by task length; METG is where a curve crosses 50 %", fontsize=12)
    return picture


def _length(length_us: float) -> str:
    return f"{length_us:g} µs" if length_us < 999 else f"{length_us / 1e3:g} ms"


# --- bars ------------------------------------------------------------------------------------------------------------


def _bars(figures: Sequence[Figure]) -> Any:
    """One panel below the other: a bar a system, its median written beside it, ours with floor and goal."""
    from matplotlib.figure import Figure as Picture

    rows = sum(len(figure.values) + 2.2 for figure in figures)
    picture = Picture(figsize=(9.0, max(2.4, 0.27 * rows)), layout="constrained")
    grid = picture.add_gridspec(len(figures), 1, height_ratios=[len(figure.values) + 1.2 for figure in figures])
    for at, figure in enumerate(figures):
        _panel(picture.add_subplot(grid[at]), figure)
    picture.suptitle("medians; black marks across p2pcpn's bar: dotted the floor, dashed the goal", fontsize=9)
    return picture


def _panel(axes: Any, figure: Figure) -> None:
    medians = {system: median for system in figure.values if (median := figure.median(system)) is not None}
    positive = [median for median in medians.values() if median > 0]
    widest = max(positive, default=1.0)
    log = bool(positive) and widest / min(positive) > 30
    for row, (system, median) in enumerate(medians.items()):
        colour, _ = STYLES.get(system.partition(",")[0], OTHER)
        axes.barh(row, median, color=colour, height=0.7, zorder=2)
        axes.annotate(
            f"{median:,.3g}" if median < 1000 else f"{median:,.0f}", (max(median, 0), row), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=8, zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        )  # fmt: skip
    for target in TARGETS.get(figure.name, ()):
        base = 1.0 if target.against is None else figure.median(target.against)
        if base is None:
            continue
        for (_, style), share in zip(LINES, (target.floor, target.goal), strict=True):
            axes.plot([base * share] * 2, [-0.45, 0.45], color="black", linewidth=1.6, linestyle=style, zorder=3)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(left=min(positive) / 3)
    axes.margins(x=0.12)
    axes.set_yticks(range(len(medians)), list(medians), fontsize=9)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=8)
    better = "more is better" if figure.more else "less is better"
    axes.set_title(f"{figure.title} ({figure.unit}, {better})", fontsize=9, loc="left")
    axes.grid(axis="x", alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
