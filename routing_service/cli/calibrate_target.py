"""`calibrate --target-quality` and `calibrate --budget`."""

from __future__ import annotations

import argparse
import sys
from array import array
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from routing_service.cli.calibrate_sample import (
    engine_to_score,
    limited,
    read_for,
    scored_pair,
)
from routing_service.cli.calibrate_shares import routellm_line
from routing_service.cli.options import emit, progress, router_name, to_json
from routing_service.errors import UsageError, unknown_name
from routing_service.files import STDIO

if TYPE_CHECKING:
    from routing_service.calibration.labelled import Costs, LabelledData
    from routing_service.calibration.targets import Estimate, TargetPoint
    from routing_service.models import ModelPair


# Below this, a target that is met on the sample is worth a warning.
_SURE = 0.9


def calibrate_to_target(options: argparse.Namespace) -> None:
    """Print the threshold that meets a target, and its expected results."""
    from routing_service.calibration.labelled import COLUMNS, LabelledData, read_data
    from routing_service.calibration.targets import Tradeoff
    from routing_service.engine.offline import score_prompts
    from routing_service.rows.reader import RowFile

    if options.input == STDIO:
        raise UsageError("--input - does not go with a target, which needs every row at once; give a file")
    engine = engine_to_score(options)
    name = router_name(engine, options.router)
    router = engine.routers[name]
    pair = router.models.with_options(options.strong_model, options.weak_model)
    costs, data, scores = _costs(options, pair), LabelledData(), array("d")
    file = read_for(engine, name, RowFile(options.input, COLUMNS))
    asked = read_data(file, pair, costs, data, scored=options.target_quality is not None)
    rates = score_prompts(engine, name, limited(asked, options), scored_pair(engine, name, options))
    scores.extend(progress(rates, None))
    if not scores:
        raise file.no_use("rules decide them" if file.left_out else "they have no text")
    _tell_what_was_assumed(costs, data, len(scores))
    tradeoff = Tradeoff(scores, data, options.seed or 0)
    if options.budget is not None:
        point = tradeoff.for_budget(options.budget, options.confidence)
        target = {"budget": options.budget}
    else:
        point = tradeoff.for_quality(options.target_quality, options.confidence)
        target = {"target_quality": options.target_quality}
    if options.json:
        head = {"router": name, "router_revision": router.revision, "source": str(options.input)}
        emit(to_json({**head, "sample_size": len(scores), "models": asdict(pair), **target, **_as_json(point)}))
    else:
        _print(name, len(scores), pair, point)
    file.tell()


def _costs(options: argparse.Namespace, pair: ModelPair) -> Costs | None:
    from routing_service.calibration.labelled import DEFAULT_OUTPUT_TOKENS, Costs, Price
    from routing_service.rows.model_names import find_model

    if options.prices is None:
        return None
    prices = {model: Price(read, written) for model, read, written in options.prices}
    found = []
    for side, model in asdict(pair).items():
        chosen = prices.get(find_model(model, prices) or side)
        if chosen is None:
            raise UsageError(f"--prices: {unknown_name('price', model, prices)} Write {model}=INPUT/OUTPUT or {side}=…")
        found.append(chosen)
    written = DEFAULT_OUTPUT_TOKENS if options.output_tokens is None else options.output_tokens
    return Costs(found[0], found[1], options.input_tokens, written)


def _tell_what_was_assumed(costs: Costs | None, data: LabelledData, size: int) -> None:
    if data.skipped:
        print(f"note: {data.skipped:,} rows do not score both models and are left out", file=sys.stderr)
    if costs is None:
        return
    read = "one every 4 characters" if costs.input_tokens is None else f"{costs.input_tokens:g}"
    for count, name, assumed in (
        (data.assumed_input, "input_tokens", read),
        (data.assumed_output, "output_tokens", f"{costs.output_tokens:g} an answer"),
    ):
        if count:
            print(f"note: {count:,} of {size:,} rows do not say {name}; assumed: {assumed}", file=sys.stderr)


def _as_json(point: TargetPoint) -> dict[str, Any]:
    return {
        name: {"value": value[0], "interval": value[1]} if isinstance(value, tuple) else value
        for name, value in asdict(point).items()
    }


def _print(name: str, size: int, pair: ModelPair, point: TargetPoint) -> None:
    emit(routellm_line(round(point.strong_share.value, 3), name, point.threshold))
    emit(f"On {size:,} prompts, with 95 % bootstrap intervals:")
    _row("strong calls", point.strong_share, "{:.1%}", f"of calls; {point.call_saving.value:.1%} are saved")
    if point.quality is not None:
        ends = f"{pair.strong} {point.strong_quality:.4g}, {pair.weak} {point.weak_quality:.4g}"
        _row("mean score", point.quality, "{:.4g}", f"({ends})")
    if point.quality_ratio is not None:
        _row("quality kept", point.quality_ratio, "{:.1%}", f"of {pair.strong}'s mean score")
    if point.cost is not None:
        ends = f"{pair.strong} {point.strong_cost:.4g}, {pair.weak} {point.weak_cost:.4g}"
        _row("cost", point.cost, "{:.4g}", f"USD a request ({ends})")
    if point.cost_saving is not None:
        _row("saving", point.cost_saving, "{:.1%}", f"of the cost of {pair.strong} alone")
    surer = "" if point.met >= _SURE else "; --confidence 0.95 asks for a surer threshold"
    _row("target met", None, "", f"on {point.met:.0%} of resamples{surer}")


def _row(label: str, estimate: Estimate | None, form: str, text: str) -> None:
    if estimate is None:
        emit(f"  {label:<13} {text}")
        return
    low, high = (form.format(end) for end in estimate.interval)
    emit(f"  {label:<13} {form.format(estimate.value)}  [{low}, {high}]  {text}")
