"""Draws what `benchmarks.quality` measures: quality against the share of strong calls, a panel a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from routing_service.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float64 = npt.NDArray[np.float64]

SHARES = np.linspace(0, 1, 101)
RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # per cent
# Two of the eight colours of Okabe and Ito, told apart by every kind of colour vision; the lines' styles differ too.
BLUE, GREY = "#0072B2", "#5F5F5F"


@dataclass(frozen=True, slots=True)
class Panel:
    """One benchmark: win rates, and the strong and the weak model's scores, of its prompts, (prompts,); APGR; unit."""

    win_rates: Float64
    strong: Float64
    weak: Float64
    apgr: float
    unit: str


def quality_curve(win_rates: Float64, strong: Float64, weak: Float64) -> Float64:
    """Mean quality when each of `SHARES` of the prompts, those with the highest win rates, goes to the strong model."""
    order = np.argsort(-win_rates, kind="stable")
    gains = np.concatenate([[0.0], np.cumsum((strong - weak)[order])]) / len(order)
    return np.asarray(weak.mean() + np.interp(SHARES * len(order), np.arange(len(gains)), gains))


def random_line(strong: Float64, weak: Float64) -> Float64:
    """Expected quality at `SHARES` when the prompts for the strong model are drawn at random."""
    return np.asarray(weak.mean() + SHARES * (strong.mean() - weak.mean()))


def gain_interval(panel: Panel, seed: int = 0) -> tuple[Float64, Float64]:
    """The pointwise bootstrap `INTERVAL` of the gain over random routing, laid around the random router's line.

    Each of `RESAMPLES` resamples of the prompts is compared with its own random line: how hard the prompts happen to be
    moves both alike, and says nothing about the router. The same seed gives the same interval.
    """
    rng = np.random.default_rng(seed)
    count = len(panel.win_rates)
    gains = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, count, count)
        strong, weak = panel.strong[rows], panel.weak[rows]
        gains.append(quality_curve(panel.win_rates[rows], strong, weak) - random_line(strong, weak))
    low, high = np.percentile(gains, INTERVAL, axis=0)
    line = random_line(panel.strong, panel.weak)
    return line + low, line + high


def draw(panels: Mapping[str, Panel], path: Path) -> None:
    """Write a figure of one panel a benchmark; `path`'s suffix (.svg, .png, .pdf) is its format.

    The same panels give the same SVG, byte for byte, under one version of matplotlib.

    Raises:
        UsageError: matplotlib is missing, does not know the format, or the file cannot be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("--plot needs matplotlib; run: pip install 'routing-service[plots]'") from error

    style: Any = {"font.size": 9, "svg.hashsalt": "routing-service"}
    with mpl.rc_context(style | {"axes.spines.top": False, "axes.spines.right": False}):
        # White behind everything, so that it reads on a dark page too.
        figure = Figure(figsize=(3.2 * len(panels), 3.2), facecolor="white", layout="constrained")
        all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (name, panel) in zip(all_axes, panels.items(), strict=True):
            _draw_panel(axes, name, panel)
        figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        except (OSError, ValueError) as error:
            raise UsageError(f"--plot {path} cannot be written: {error}") from error


def _draw_panel(axes: Axes, name: str, panel: Panel) -> None:
    percent = SHARES * 100
    weak, strong = panel.weak.mean(), panel.strong.mean()
    axes.plot(
        percent, quality_curve(panel.win_rates, panel.strong, panel.weak), color=BLUE, linewidth=1.8, label="static"
    )
    label = "95 % interval of its gain over random"
    axes.fill_between(percent, *gain_interval(panel), color=BLUE, alpha=0.2, linewidth=0, label=label)
    axes.plot(percent, random_line(panel.strong, panel.weak), color=GREY, linestyle="--", linewidth=1.2, label="random")
    for level, model, x, align, side in (
        (strong, "strong", 0.01, "left", "bottom"),
        (weak, "weak", 0.99, "right", "top"),
    ):
        axes.axhline(level, color="black", linestyle=":", linewidth=0.9)
        at = ("axes fraction", "data")
        axes.annotate(f"{model} model", (x, level), xycoords=at, ha=align, va=side, fontsize=8)
    axes.set_title(f"{name}: APGR {panel.apgr:.3f} ({len(panel.win_rates):,} prompts)", fontsize=9)
    axes.set_xlabel("calls to the strong model (%)")
    axes.set_ylabel(panel.unit)
    axes.set_xlim(0, 100)
    axes.margins(y=0.12)
