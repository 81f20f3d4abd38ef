"""A picture of a calibration: how scores are distributed, and the share of strong calls for each threshold."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from routing_service.artifacts.manifest import CalibrationTable
from routing_service.calibration.intervals import wilson
from routing_service.calibration.points import CalibrationPoint
from routing_service.calibration.thresholds import share_for_threshold
from routing_service.errors import UsageError
from routing_service.extras import pip_install
from routing_service.files import writing_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".png", ".pdf")
# Two colours of Okabe and Ito's palette for colour-blind readers; they also differ in lightness.
STRONG_COLOUR, WEAK_COLOUR = "#0072B2", "#E69F00"
_TEXT = "#222222"
_BARS = 60
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "routing-service",  # otherwise the names in the file differ from run to run
}


def plot_calibration(path: Path, router: str, table: CalibrationTable, points: Sequence[CalibrationPoint]) -> None:
    """Draw a table and some of its points, as SVG, PNG or PDF by the file's suffix.

    Above: how many prompts get which score, coloured by the model that the middle point's threshold sends them to.
    Below: the share that each threshold sends to the strong model, with its 95 % band.

    Args:
        path: the picture's file. After a failure the old file is unchanged.
        router: its name, for the title.
        table: the scores' distribution.
        points: the points to mark, at least one.

    Raises:
        UsageError: matplotlib is missing, the suffix is not known, or the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot {path}: is none of {', '.join(FORMATS)}; choose one by the file's name")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(f"a picture needs matplotlib; run: {pip_install('routing-service', 'plots')}") from error
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 6.0), facecolor="white", layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.35))
        ordered = sorted(points, key=lambda point: point.strong_share)
        shown = _range(table, ordered)
        _draw_scores(above, table, ordered[len(ordered) // 2], shown)
        _draw_shares(below, table, ordered, shown)
        sample = f"on {table.sample_size:,} prompts" if table.sample_size else f"({table.source})"
        above.set_title(f"Calibration of router {router} {sample}", loc="left", fontweight="bold")
        image = io.BytesIO()
        kind = path.suffix.lower().removeprefix(".")
        figure.savefig(image, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else None)
    with writing_bytes(path) as file:
        file.write(image.getvalue())


def _range(table: CalibrationTable, points: Sequence[CalibrationPoint]) -> tuple[float, float]:
    """The range of scores to show: all but the outermost few, and the marked thresholds."""
    last = len(table.quantiles) - 1
    ends = [table.quantiles[round(0.002 * last)], table.quantiles[round(0.998 * last)]]
    ends += [point.threshold for point in points if 0.0 < point.threshold < 1.0]
    margin = max(0.02, 0.06 * (max(ends) - min(ends)))
    return max(0.0, min(ends) - margin), min(1.0, max(ends) + margin)


def _draw_scores(axes: Axes, table: CalibrationTable, middle: CalibrationPoint, shown: tuple[float, float]) -> None:
    # A bar must not extend over both sides of the threshold.
    step = (shown[1] - shown[0]) / _BARS
    first = np.ceil((shown[0] - middle.threshold) / step)
    edges = middle.threshold + step * (first + np.arange(_BARS + 1))
    at_least = np.array([share_for_threshold(table.quantiles, edge) for edge in edges])
    heights = -np.diff(at_least)
    strong = edges[:-1] + step / 2 >= middle.threshold
    axes.bar(
        edges[:-1],
        heights,
        step,
        align="edge",
        color=np.where(strong, STRONG_COLOUR, WEAK_COLOUR).tolist(),
        edgecolor="white",
        linewidth=0.4,
    )
    top = float(heights.max()) * 1.3
    if inside := shown[0] <= middle.threshold <= shown[1]:
        axes.axvline(middle.threshold, color=_TEXT, linewidth=1.2)
    at = middle.threshold if inside else float(np.clip(middle.threshold, *shown))
    axes.set(ylim=(0, top), yticks=[], ylabel="how many prompts")
    gap = 0.012 * (shown[1] - shown[0])
    for offset, side, name, share, text in (
        (-gap, "right", "weak", 1 - middle.realized_share, "below the threshold"),
        (gap, "left", "strong", middle.realized_share, "at the threshold or above"),
    ):
        place: Any = {"ha": side, "va": "top", "color": _TEXT}
        if inside or share:
            axes.text(at + offset, top * 0.99, f"{name} model: {share:.0%}", fontweight="bold", **place)
            axes.text(at + offset, top * 0.89, text, fontsize=9, **place)


def _draw_shares(
    axes: Axes, table: CalibrationTable, points: Sequence[CalibrationPoint], shown: tuple[float, float]
) -> None:
    grid = np.linspace(*shown, 400)
    shares = np.array([share_for_threshold(table.quantiles, threshold) for threshold in grid])
    if table.sample_size:
        band = np.array([wilson(min(1.0, max(0.0, share)), table.sample_size) for share in shares])
        axes.fill_between(grid, band[:, 0], band[:, 1], color=STRONG_COLOUR, alpha=0.25, linewidth=0)
    axes.plot(grid, shares, color=STRONG_COLOUR, linewidth=2)
    for point in points:
        if not shown[0] <= point.threshold <= shown[1]:
            continue
        axes.plot(
            [shown[0], point.threshold, point.threshold],
            [point.realized_share, point.realized_share, 0],
            color=_TEXT,
            linewidth=0.8,
            linestyle=(0, (4, 3)),
        )
        axes.plot(point.threshold, point.realized_share, "o", color=_TEXT, markersize=5)
        # Above the falling curve there is space on the right; at its end only below it.
        room = point.threshold < shown[0] + 0.65 * (shown[1] - shown[0])
        axes.annotate(
            f"{point.strong_share:.0%} strong: threshold {point.threshold:.4f}",
            (point.threshold, point.realized_share),
            xytext=(8, 4) if room else (-6, -5),
            textcoords="offset points",
            ha="left" if room else "right",
            va="bottom" if room else "top",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
            color=_TEXT,
        )
    axes.set(
        xlim=shown,
        ylim=(0, 1.02),
        xlabel="score of a prompt: how likely the strong model's answer is to win",
        ylabel="share sent to the strong model",
    )
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"])
