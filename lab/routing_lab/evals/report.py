"""What an evaluation found, as JSON and CSV. `summary` has it as text."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from routing_lab.evals.curves import BAND_SHARES, Interval
from routing_lab.evals.provenance import Exposure
from routing_lab.evals.results import BenchmarkResult, Reference, RouterResult
from routing_lab.evals.robustness import Robustness
from routing_lab.evals.settings import Settings

# Resamples of fewer prompts repeat too few different ones for a percentile interval to cover what it says.
MIN_PROMPTS = 30


def document(results: Sequence[BenchmarkResult], settings: Settings) -> dict[str, Any]:
    """Everything as JSON, the same for the same evaluation: no times, no paths; null where a number is undefined.

    Shares, CPT and APGR are in 0..1; qualities in each benchmark's unit.
    """
    return {
        "routing_service": version("routing-service"),
        "settings": {
            "num_results": settings.bins,
            "random_iters": settings.runs,
            "resamples": settings.resamples,
            "seed": settings.seed,
            "robustness_share": settings.robustness_share if settings.robustness else None,
        },
        "benchmarks": [_benchmark(result) for result in results],
    }


def files(results: Sequence[BenchmarkResult], settings: Settings) -> dict[str, bytes]:
    """`results.json`, `metrics.csv`, `sweep.csv` (RouteLLM's points) and `curves.csv` (the exact curves), by name."""
    text = json.dumps(document(results, settings), indent=2, ensure_ascii=False) + "\n"
    return {
        "results.json": text.encode("utf-8", "backslashreplace"),
        "metrics.csv": _csv(_metric_rows(results)),
        "sweep.csv": _csv(_sweep_rows(results)),
        "curves.csv": _csv(_curve_rows(results)),
    }


def _benchmark(result: BenchmarkResult) -> dict[str, Any]:
    pair, data = result.paired, result.paired.data
    return {
        "name": data.name,
        "title": data.title,
        "unit": data.unit,
        "split": data.split,
        "held_out": data.held_out,
        "prompts": len(data.prompts),
        "distinct_prompts": len(data.distinct_prompts),
        "contaminated_left_out": data.left_out,
        "unscored_left_out": pair.unscored,
        "content_hash": data.content_hash,
        "notes": list(data.notes),
        "strong": {"model": pair.models.strong, "quality": result.strong_quality},
        "weak": {"model": pair.models.weak, "quality": result.weak_quality},
        "shares": [round(float(share), 4) for share in BAND_SHARES],
        "references": {"random": _reference(result.random), "optimal": _reference(result.optimal)},
        "routers": [_router(router, result) for router in result.routers],
    }


def _reference(line: Reference) -> dict[str, Any]:
    return {"apgr": _number(line.apgr), "cpt": _by_level(line.cpt), "quality": [float(q) for q in line.quality]}


def _router(router: RouterResult, result: BenchmarkResult) -> dict[str, Any]:
    exact, theirs = router.exact, router.routellm
    intervals = exact.intervals
    return {
        "name": router.name,
        "type": router.type,
        "revision": router.revision,
        "scored_for": asdict(router.models),
        "runs": router.runs,
        "sample": {"exposure": router.sample.exposure, "learnt": router.sample.learnt, "note": router.sample.note},
        "notes": notes(router, result),
        "routellm": {
            "apgr": _number(theirs.apgr),
            "auc": theirs.auc,
            "cpt": _by_level(theirs.cpt),
            "sweep": [
                {"threshold": float(t), "strong_share": float(s), "quality": float(q)}
                for t, s, q in zip(
                    theirs.sweep.thresholds, theirs.sweep.strong_shares, theirs.sweep.qualities, strict=True
                )
            ],
        },
        "probabilities": {
            "calibration_error": router.probabilities.calibration_error,
            "log_loss": router.probabilities.log_loss,
            "log_loss_of_constant": router.probabilities.log_loss_of_constant,
            "reliability": [
                {"prompts": part.count, "mean_win_rate": part.mean_score, "mean_outcome": part.mean_target}
                for part in router.probabilities.bins
            ],
        },
        "exact": {
            "apgr": _number(exact.apgr),
            "apgr_interval": _bounds(intervals.apgr),
            "cpt": _by_level(exact.cpt),
            "cpt_interval": {_level(x): _bounds(interval) for x, interval in intervals.cpt.items()},
            "gap_interval": _bounds(intervals.gap),
            "level": intervals.level,
            "quality": [float(q) for q in exact.quality],
            "quality_low": [float(q) for q in intervals.band_low],
            "quality_high": [float(q) for q in intervals.band_high],
        },
        "robustness": _robustness(router.robustness),
    }


def _robustness(found: Robustness | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "strong_share": found.strong_share,
        "threshold": found.threshold,
        "prompts": found.prompts,
        "flips": dict(found.flips),
        "mean_flips": found.mean_flips,
        "robustness": 1 - found.mean_flips,
    }


def notes(router: RouterResult, result: BenchmarkResult) -> list[str]:
    """What a reader of a router's figures must know, a sentence each."""
    found = []
    if router.sample.exposure is not Exposure.UNTRAINED:
        found.append(f"{router.name}: {router.sample.note}")
    if router.own_pair:
        own = " and ".join(router.models)
        found.append(f"{router.name} knows only its own pair, {own}, and was scored for that")
    if router.distinct_rates == 1:
        found.append(f"{router.name} gives every prompt the same win rate: it can only send all or none")
    if result.strong_quality == result.weak_quality:
        found.append(
            "both models have the same mean score, so that there is no gap to recover: APGR and CPT are undefined"
        )
    elif result.strong_quality < result.weak_quality:
        found.append(
            f"{result.paired.models.strong} scores below {result.paired.models.weak}: APGR and CPT say how much of "
            "that loss is made, so that less is better; is the pair the wrong way round?"
        )
    elif math.isnan(router.exact.intervals.apgr.low):
        found.append(
            f"{router.name}: the prompts are too few to tell the models apart, so that APGR and CPT have no bounds"
        )
    if len(result.paired.data.prompts) < MIN_PROMPTS:
        found.append(
            f"prompts: {len(result.paired.data.prompts)}, too few for resampling, so that intervals are narrower than "
            "they should be"
        )
    return found


def _metric_rows(results: Sequence[BenchmarkResult]) -> Iterator[dict[str, Any]]:
    for result in results:
        common = {**_of(result), "prompts": len(result.paired.data.prompts)}
        for router in result.routers:
            theirs, exact = router.routellm, router.exact
            row = {**common, "router": router.name, "revision": router.revision, "sample": router.sample.exposure}
            row |= {"routellm_apgr": theirs.apgr, "routellm_auc": theirs.auc}
            row |= {f"routellm_cpt_{_level(x)}": value for x, value in theirs.cpt.items()}
            row |= {"calibration_error": router.probabilities.calibration_error}
            if router.robustness is not None:
                row |= {"flips": router.robustness.mean_flips}
            row |= {"apgr": exact.apgr, **_ends("apgr", exact.intervals.apgr)}
            for x, value in exact.cpt.items():
                row |= {f"cpt_{_level(x)}": value, **_ends(f"cpt_{_level(x)}", exact.intervals.cpt[x])}
            yield row
        for name, line in (("(random)", result.random), ("(optimal)", result.optimal)):
            cpt = {f"cpt_{_level(x)}": value for x, value in line.cpt.items()}
            yield {**common, "router": name, "revision": "", "sample": "", "apgr": line.apgr, **cpt}


def _sweep_rows(results: Sequence[BenchmarkResult]) -> Iterator[dict[str, Any]]:
    for result in results:
        for router in result.routers:
            common = {**_of(result), "router": router.name}
            yield from ({**common, **dict(zip(POINT, point, strict=True))} for point in points(router))


def _curve_rows(results: Sequence[BenchmarkResult]) -> Iterator[dict[str, Any]]:
    for result in results:
        lines = [("(random)", result.random.quality, None), ("(optimal)", result.optimal.quality, None)]
        curves = [(r.name, r.exact.quality, r.exact.intervals) for r in result.routers]
        for name, quality, band in [*curves, *lines]:
            for i, share in enumerate(BAND_SHARES):
                ends = {"low": float(band.band_low[i]), "high": float(band.band_high[i])} if band is not None else {}
                row = {**_of(result), "router": name, "strong_share": round(float(share), 4)}
                yield {**row, "quality": float(quality[i]), **ends}


def _of(result: BenchmarkResult) -> dict[str, str]:
    return {"benchmark": result.paired.data.name, "split": result.paired.data.split}


POINT = ("threshold", "strong_share", "quality")


def points(router: RouterResult) -> list[tuple[float, float, float]]:
    """RouteLLM's sweep as `POINT`s."""
    sweep = router.routellm.sweep
    return list(zip(*(v.tolist() for v in (sweep.thresholds, sweep.strong_shares, sweep.qualities)), strict=True))


def _csv(rows: Iterable[dict[str, Any]]) -> bytes:
    listed = [{key: _number(v) if isinstance(v, float) else v for key, v in row.items()} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in listed for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _by_level(values: dict[float, float]) -> dict[str, float | None]:
    return {_level(x): _number(value) for x, value in values.items()}


def _level(level: float) -> str:
    return f"{level:.0%}"


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}


def _bounds(interval: Interval) -> list[float] | None:
    return None if math.isnan(interval.low) else [interval.low, interval.high]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
