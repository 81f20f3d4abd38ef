"""`routing-service calibrate`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routing_service.cli.shared import (
    add_command,
    add_config_option,
    emit,
    load_engine,
    progress,
    router_name,
    share,
    to_json,
)
from routing_service.errors import UsageError

if TYPE_CHECKING:
    from routing_service.engine.engine import Engine


def add_calibrate(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "calibrate",
        calibrate,
        "Print the threshold for a wanted share of strong decisions.",
        "routing-service calibrate --router static --strong-model-pct 0.5 --input prompts.csv",
    )
    parser.add_argument("--router", metavar="R", help="the router (default: the configuration's)")
    parser.add_argument(
        "--strong-model-pct", type=share, nargs="+", required=True, metavar="S", help="wanted shares, in 0..1"
    )
    parser.add_argument(
        "--input",
        type=Path,
        metavar="F",
        help="your prompts: JSON lines, CSV or Parquet with `prompt`, or one a line (default: the router's own table)",
    )
    add_config_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def calibrate(options: argparse.Namespace) -> None:
    """Print the thresholds for wanted shares of strong decisions."""
    from routing_service.calibration.thresholds import threshold_for_share, threshold_from_scores

    engine = load_engine(options)
    name = router_name(engine, options.router)
    points: list[dict[str, Any]] = []
    if options.input is not None:
        scores = _scores_of(engine, name, options.input)
        source = {"source": str(options.input), "sample_size": len(scores)}
        for wanted in options.strong_model_pct:
            threshold, realised = threshold_from_scores(scores, wanted)
            points.append({"strong_share": wanted, "threshold": threshold, "realised_share": realised})
    else:
        table = engine.routers[name].calibration
        if table is None:
            raise UsageError(f"router {name!r} has no calibration table; give prompts of your own with --input")
        source = {"source": table.source, "sample_size": table.sample_size}
        points = [
            {"strong_share": wanted, "threshold": threshold_for_share(table.quantiles, wanted)}
            for wanted in options.strong_model_pct
        ]
    if options.json:
        emit(to_json({"router": name, "router_revision": engine.routers[name].revision, **source, "points": points}))
        return
    for point in points:
        wanted = point["strong_share"]
        percent = round(wanted * 100, 10)  # 0.07 * 100 is not quite 7
        emit(f"For {percent}% strong model calls for {name}, threshold = {round(point['threshold'], 5)}")
        if abs(point.get("realised_share", wanted) - wanted) > 0.005:
            print(f"note: the closest that this sample allows is {point['realised_share']:.1%}", file=sys.stderr)


def _scores_of(engine: Engine, router: str, path: Path) -> list[float]:
    from routing_service.calibration.prompts import read_prompts
    from routing_service.engine.offline import score_prompts

    scores = list(progress(score_prompts(engine, router, read_prompts(path)), None))
    if not scores:
        raise UsageError(f"{path}: has no prompts; calibrating needs at least one")
    return scores
