"""A plot that can be read: nothing is cut off, and routers can be told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.figure import Figure
from routing_lab.evals import plot
from routing_lab.evals.evaluation import evaluate
from routing_lab.evals.file_benchmark import FileBenchmark
from routing_lab.evals.settings import Settings

from routing_service.config import Config
from tests.support.benchmarks import WriteRows
from tests.support.progress import no_progress

LONG = "a router with a name that somebody made far too long"
PANEL_INCHES = 2.0


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that was saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def saving(figure: Figure, *args: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", saving)
    return figures


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_a_legend_of_long_names_stays_inside_and_leaves_room(
    config: Config, write_benchmark: WriteRows, drawn: list[Figure], panels: int
) -> None:
    path = write_benchmark([(f"prompt {i}", i % 3, i % 2) for i in range(40)])
    settings = Settings(strong_model="big", weak_model="small", resamples=10, progress=no_progress)
    (result,) = evaluate(config, ["odds"], [FileBenchmark(path).load()], settings)
    crowd = replace(result, routers=[replace(result.routers[0], name=f"{place} {LONG}") for place in range(7)])
    plot.figures([crowd] * panels)
    figure = drawn[0]
    (legend,) = figure.legends
    outer, inner = figure.bbox, legend.get_window_extent()
    assert outer.x0 <= inner.x0 < inner.x1 <= outer.x1
    assert outer.y0 <= inner.y0 < inner.y1 <= outer.y1
    assert all(axes.get_window_extent().height > PANEL_INCHES * figure.dpi for axes in figure.axes)
    names = [text.get_text() for text in legend.get_texts() if "…" in text.get_text()]
    assert [name[:10] for name in names] == [f"{place} a router"[:10] for place in range(7)]
    assert all(len(name) <= plot.MAX_NAME_LENGTH and name.endswith("far too long") for name in names)


def test_no_two_of_many_routers_look_alike() -> None:
    looks = [plot._look(place) for place in range(3 * len(plot.COLOURS))]
    assert len({str(look) for look in looks}) == len(looks)
    for key in ("color", "linestyle", "marker"):
        assert len({str(look[key]) for look in looks[: len(plot.COLOURS)]}) == len(plot.COLOURS)
