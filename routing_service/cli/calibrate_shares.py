"""`calibrate --strong-model-pct`, `--output` and `--plot`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routing_service.cli.calibrate_sample import (
    collect,
    engine_to_score,
    limited,
    own_table,
    read_for,
    shares_pair,
    source_of,
)
from routing_service.cli.options import asking, emit, load_engine, progress, router_name, to_json
from routing_service.files import STDIO

if TYPE_CHECKING:
    from routing_service.artifacts.manifest import CalibrationTable
    from routing_service.calibration.points import CalibrationPoint

# A stream may be a day's traffic, but a call needs a deadline.
_STREAM_SECONDS = 86_400.0
# The shares in a picture or a drift report by default.
DEFAULT_SHARES = (0.2, 0.5, 0.8)
# A realized share that differs by this much gets a note.
_NOTABLE = 0.005


def calibrate_here(options: argparse.Namespace) -> None:
    """Thresholds from prompts or from the router's table, in this process."""
    from routing_service.artifacts.manifest import CalibrationTable
    from routing_service.calibration.points import point_from_scores, point_from_table
    from routing_service.calibration.tables import TABLE_LEVELS, SavedTable, write_table
    from routing_service.rows.prompts import PROMPT_COLUMNS
    from routing_service.rows.reader import RowFile

    engine = engine_to_score(options) if options.input else load_engine(options)
    name = router_name(engine, options.router)
    router, shares = engine.routers[name], options.strong_model_pct or ()
    file = None if options.input is None else read_for(engine, name, RowFile(options.input, PROMPT_COLUMNS))
    if file is not None:
        scores = collect(engine, name, file, options)
        table = CalibrationTable(source_of(options.input), scores.size, tuple(scores.quantiles(TABLE_LEVELS)))
        points = [point_from_scores(scores, wanted) for wanted in shares]
        head = {"source": table.source, "sample_size": scores.size, "resolution": scores.resolution}
    else:
        table = own_table(engine, name)
        points = [point_from_table(table, wanted) for wanted in shares]
        head = {"source": table.source, "sample_size": table.sample_size}
    if options.output is not None:
        scored = shares_pair(router, options)
        write_table(options.output, SavedTable(router.type, router.revision, scored, table))
        if options.output != STDIO:
            print(
                f"note: the table is in {options.output}; `calibration: {options.output.name}` in router {name!r} of "
                "the configuration puts it in force",
                file=sys.stderr,
            )
    if options.plot is not None:
        _plot(options.plot, name, table, points or [point_from_table(table, wanted) for wanted in DEFAULT_SHARES])
    head = {"router": name, "router_revision": router.revision, **head}
    if options.output != STDIO:
        _print(options, head, [point._asdict() for point in points])
    if file is not None:
        file.tell()


def calibrate_by_service(options: argparse.Namespace) -> None:
    """Thresholds from a running service. It scores the prompts, if there are any."""
    from dataclasses import asdict

    from routing_client import RoutingClient

    from routing_service.rows.prompts import PROMPT_COLUMNS, read_chats
    from routing_service.rows.reader import RowFile

    models = (options.strong_model or "", options.weak_model or "")
    file = None if options.input is None else RowFile(options.input, PROMPT_COLUMNS)
    prompts = None
    if file is not None:
        prompts = progress(limited(read_chats(file), options), None)
    with asking(options.address), RoutingClient(options.address) as client:
        found = client.calibrate(
            prompts,
            strong_shares=options.strong_model_pct,
            router=options.router,
            models=models if any(models) and prompts is not None else None,
            timeout=None if prompts is None else _STREAM_SECONDS,
        )
    source = f"the table of the service at {options.address}" if prompts is None else source_of(options.input)
    head = {
        "router": found.router,
        "router_revision": found.router_revision,
        "source": source,
        "sample_size": found.sample_size,
        "resolution": found.resolution,
    }
    _print(options, head, [asdict(point) for point in found.points])
    if file is not None:
        file.tell()


def _print(options: argparse.Namespace, head: dict[str, Any], points: list[dict[str, Any]]) -> None:
    if options.json:
        emit(to_json({**head, "points": points}))
        return
    for point in points:
        emit(routellm_line(point["strong_share"], head["router"], point["threshold"]))
        if note := _note(point, head["sample_size"]):
            print(note, file=sys.stderr)


def routellm_line(strong_share: float, router: str, threshold: float) -> str:
    """RouteLLM's line. Scripts read it: do not change a word."""
    percent = round(strong_share * 100, 10)  # 0.07 * 100 is not quite 7
    return f"For {percent}% strong model calls for {router}, threshold = {round(threshold, 5)}"


def _note(point: dict[str, Any], size: int) -> str:
    """How close a point is, and its intervals, for people."""
    wanted, realized, tied = point["strong_share"], point["realized_share"], point["tied_share"]
    parts = [] if realized is None else [f"{realized:.1%} of the {size:,} prompts" if size else f"{realized:.1%}"]
    if point["share_interval"] is not None and point["threshold_interval"] is not None:
        low, high = _ends(point["share_interval"])
        least, most = _ends(point["threshold_interval"])
        parts.append(f"{low:.1%} to {high:.1%} of traffic like them")
        parts.append(f"its {wanted:.1%} is at a threshold from {least:.5f} to {most:.5f} (95 %)")
    if realized is not None and abs(realized - wanted) > _NOTABLE:
        shared = tied is not None and tied * size > 1.5
        parts.append(
            f"the closest there is, for {tied:.1%} of the prompts have one score" if shared else "the closest there is"
        )
    return f"note: {'; '.join(parts)}" if parts else ""


def _ends(interval: Any) -> tuple[float, float]:
    return (interval["low"], interval["high"]) if isinstance(interval, dict) else tuple(interval)


def _plot(path: Path, router: str, table: CalibrationTable, points: list[CalibrationPoint]) -> None:
    from routing_service.cli.calibration_plot import plot_calibration

    plot_calibration(path, router, table, points)
    print(f"note: the picture is in {path}", file=sys.stderr)
