"""`calibrate --compare`: whether recent traffic still matches a calibration table."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from routing_service.cli.calibrate_sample import (
    collect,
    engine_to_score,
    own_table,
    read_for,
)
from routing_service.cli.calibrate_shares import DEFAULT_SHARES
from routing_service.cli.options import emit, load_engine, router_name, to_json
from routing_service.errors import UsageError

if TYPE_CHECKING:
    from routing_service.artifacts.manifest import CalibrationTable
    from routing_service.calibration.drift import Drift


def compare(options: argparse.Namespace) -> None:
    """Print a drift report.

    Raises:
        UsageError: the drift is major and `--fail-on-drift` is given. The report is printed first.
    """
    from routing_service.artifacts.manifest import CalibrationTable
    from routing_service.calibration import drift
    from routing_service.calibration.scores import COLUMNS
    from routing_service.calibration.tables import TABLE_LEVELS
    from routing_service.rows.reader import RowFile

    engine = engine_to_score(options) if options.input else load_engine(options)
    name = router_name(engine, options.router)
    base = None if options.input is None else read_for(engine, name, RowFile(options.input, COLUMNS))
    traffic = read_for(engine, name, RowFile(options.compare, COLUMNS))
    if base is not None:
        sample = collect(engine, name, base, options)
        table = CalibrationTable(str(options.input), sample.size, tuple(sample.quantiles(TABLE_LEVELS)))
    else:
        table = own_table(engine, name)
    recent = collect(engine, name, traffic, options, scored=True)
    found = drift.compare(table, recent, options.strong_model_pct or DEFAULT_SHARES)
    if options.json:
        head = {"router": name, "router_revision": engine.routers[name].revision}
        against = {"table": {"source": table.source, "sample_size": table.sample_size}, "recent": str(options.compare)}
        report = {**found._asdict(), "bins": [b._asdict() for b in found.bins]}
        report["points"] = [point._asdict() for point in found.points]
        emit(to_json({**head, **against, **report}))
    else:
        _print(name, table, found)
    for file in (base, traffic):
        if file is not None:
            file.tell()
    if options.fail_on_drift and found.reading is drift.Reading.MAJOR:
        raise UsageError(
            f"{options.compare}: the scores have drifted (PSI {found.psi:.3f}); calibrate again on recent prompts with "
            f"`routing-service calibrate --router {name} --input {options.compare} --output TABLE.json`"
        )


def _print(name: str, table: CalibrationTable, found: Drift) -> None:
    size = f" of {table.sample_size:,} prompts" if table.sample_size else ""
    emit(f"{found.sample_size:,} recent prompts against the table of {name}{size} ({table.source})")
    emit(f"PSI {found.psi:.3f}: {_MEANINGS[found.reading]}")
    emit(f"    without any drift, 95 of 100 samples of this size stay below {found.psi_critical:.3f}")
    emit("wanted   threshold  expected  recent   95 % interval")
    for point in found.points:
        low, high = point.share_interval
        mark = "  changed" if point.changed else ""
        emit(
            f"{point.strong_share:>6.1%}   {point.threshold:.5f}    {point.expected_share:>6.1%}   "
            f"{point.realized_share:>6.1%}   {low:.1%} to {high:.1%}{mark}"
        )


_MEANINGS = {
    "stable": "stable (below 0.1)",
    "moderate": "moderate drift (0.1 to 0.25): look at the shares below",
    "major": "major drift (0.25 or more): calibrate again",
    "inconclusive": "inconclusive: too few prompts to tell drift from chance",
}
