"""The picture of an evaluation: quality against the share of strong calls, a panel a benchmark."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from routing_lab.evals.curves import BAND_SHARES
from routing_lab.evals.provenance import Exposure
from routing_lab.evals.results import BenchmarkResult, RouterResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by every kind of colour vision; lines differ in style and marker as well, for
# print in grey and where many cross.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "X")
GREY, BLACK = "#6E6E6E", "#222222"
PANELS_A_ROW = 3
# Inches.
PANEL_WIDTH, LONE_WIDTH, PANEL_HEIGHT, LEGEND_LINE, LEGEND_MARGIN = 3.5, 5.4, 3.3, 0.18, 0.12
MAX_LEGEND_COLUMNS = 5
# Longer names are cut in the middle: in the legend, and over a panel.
MAX_NAME_LENGTH, MAX_TITLE_LENGTH = 34, 28
# A marker every so many hundredths, each router starting elsewhere, so that none hides another.
MARK_EVERY, MARK_SHIFT = 20, 3
# More bands than these are drawn fainter, or they hide the lines.
MAX_BANDS = 3
# More routers than these would fill the panel with figures.
MAX_LEGEND_FIGURES = 5
RANDOM, OPTIMAL = "random, on average", "optimal (knows both scores)"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "svg.hashsalt": "routing-service",  # or the names inside differ from one run to the next
}


def figures(results: Sequence[BenchmarkResult]) -> dict[str, bytes]:
    """`quality.png` and `quality.svg`, by name; the same for the same results under one version of matplotlib."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.patches import Patch

    columns = min(len(results), PANELS_A_ROW)
    rows = -(-len(results) // columns)
    with mpl.rc_context(STYLE):
        # White behind everything, so that it reads on a dark page too.
        width = LONE_WIDTH if columns == 1 else PANEL_WIDTH * columns
        figure = Figure(
            figsize=(width, PANEL_HEIGHT * rows),
            facecolor="white",
            layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.06),
        )
        FigureCanvasAgg(figure)
        all_axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, result in zip(all_axes, results, strict=False):
            _draw(axes, result)
        for axes in all_axes[len(results) :]:
            axes.set_axis_off()
        handles, labels = all_axes[0].get_legend_handles_labels()
        level = results[0].routers[0].exact.intervals.level
        handles.append(Patch(color=GREY, alpha=0.3, linewidth=0))
        labels.append(f"{level:.0%} interval of the gain over random")
        lines = _add_legend(figure, handles, labels)
        figure.set_size_inches(width, PANEL_HEIGHT * rows + LEGEND_LINE * lines + LEGEND_MARGIN)
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=200)
        facts = {"Date": None, "Title": "Quality against calls to the strong model", "Description": _described(results)}
        figure.savefig(svg, format="svg", metadata=facts)
    return {"quality.png": png.getvalue(), "quality.svg": svg.getvalue()}


def _described(results: Sequence[BenchmarkResult]) -> str:
    """What a reader who cannot see the picture is told."""
    return " ".join(
        f"{result.paired.data.title}: APGR of {', '.join(_apgr(router) for router in result.routers)}."
        for result in results
    )


def _apgr(router: RouterResult) -> str:
    interval = router.exact.intervals.apgr
    span = "" if math.isnan(interval.low) else f" [{interval.low:.2f}, {interval.high:.2f}]"
    mark = ", in-sample" if router.sample.exposure is Exposure.IN_SAMPLE else ""
    return f"{_cut(router.name, MAX_NAME_LENGTH)} {router.exact.apgr:.3f}{span}{mark}"


def _draw(axes: Axes, result: BenchmarkResult) -> None:
    percent, data = BAND_SHARES * 100, result.paired.data
    for level, name in ((result.strong_quality, "strong"), (result.weak_quality, "weak")):
        axes.axhline(level, color=GREY, linewidth=0.6, zorder=0)
        where = ("axes fraction", "data")
        axes.annotate(f"{name}\n{level:.2f}", (1.02, level), xycoords=where, va="center", fontsize=7.5, color=BLACK)
    axes.plot(percent, result.optimal.quality, color=BLACK, linestyle=(0, (1, 2)), linewidth=1.1, label=OPTIMAL)
    axes.plot(percent, result.random.quality, color=GREY, linestyle=(0, (4, 3)), linewidth=1.1, label=RANDOM)
    alpha = 0.18 if len(result.routers) <= MAX_BANDS else 0.12
    for place, router in enumerate(result.routers):
        colour, intervals = _look(place)["color"], router.exact.intervals
        axes.fill_between(percent, intervals.band_low, intervals.band_high, color=colour, alpha=alpha, linewidth=0)
        axes.plot(
            percent,
            router.exact.quality,
            **_look(place),
            linewidth=1.6,
            markersize=4.5,
            markeredgecolor="white",
            markeredgewidth=0.5,
            markevery=((MARK_EVERY // 2 + place * MARK_SHIFT) % MARK_EVERY, MARK_EVERY),
            label=_cut(router.name, MAX_NAME_LENGTH),
        )
    if len(result.routers) <= MAX_LEGEND_FIGURES:
        _write_apgr(axes, result)
    half = f", {data.split} half" if data.split != "all" and not data.held_out else ""
    axes.set_title(
        f"{_cut(data.title, MAX_TITLE_LENGTH)}{half} ({len(data.prompts):,} prompts)", fontsize=9.5, loc="left"
    )
    axes.set_xlabel("calls to the strong model (%)")
    axes.set_ylabel(data.unit)
    axes.set_xlim(0, 100)
    axes.margins(y=0.06)


def _look(place: int) -> dict[str, Any]:
    """A router's colour, line and marker. Colours come again after six routers, with other lines and markers."""
    turn = place // len(COLOURS)
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": STYLES[(place + turn) % len(STYLES)],
        "marker": MARKERS[(place + 2 * turn) % len(MARKERS)],
    }


def _cut(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length // 2]}…{name[1 - length // 2 :]}"


def _add_legend(figure: Figure, handles: list[Any], labels: list[str]) -> int:
    """Under the panels, in as many columns as are no wider than the figure. Gives its number of lines."""
    options: dict[str, Any] = {"frameon": False, "handlelength": 2.6, "columnspacing": 1.2, "fontsize": 8.5}
    for columns in range(min(MAX_LEGEND_COLUMNS, len(labels)), 0, -1):
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, **options)
        if legend.get_window_extent().width <= figure.bbox.width:
            break
        if columns > 1:
            legend.remove()
    return -(-len(labels) // columns)


def _write_apgr(axes: Axes, result: BenchmarkResult) -> None:
    """Each router's APGR and interval in the corner that curves leave empty: low quality for many strong calls."""
    lines = [(f"APGR [{result.routers[0].exact.intervals.level:.0%} interval]", BLACK)]
    for place, router in enumerate(result.routers):
        lines.append((_apgr(router), _look(place)["color"]))
    for height, (text, colour) in enumerate(reversed(lines)):
        axes.annotate(
            text,
            (0.985, result.weak_quality),
            (0, 4 + 10.5 * height),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=7.5,
            color=colour,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
            zorder=5,
        )
