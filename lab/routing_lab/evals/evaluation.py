"""Routers on benchmarks: load, score, measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from routing_lab.evals.benchmarks import BenchmarkData, PairedBenchmark, for_pair
from routing_lab.evals.cache import WinRateCache
from routing_lab.evals.curves import BAND_SHARES, CPT_LEVELS, BootstrapResult, bootstrap, full_curve, optimal_curve
from routing_lab.evals.metrics import (
    Float64,
    ReliabilityBin,
    Sweep,
    apgr,
    calibration_error,
    call_performance_threshold,
    log_loss,
    reliability,
)
from routing_lab.evals.provenance import Sample, sample_of
from routing_lab.evals.routellm_metrics import RouteLLMMetrics, routellm_metrics
from routing_lab.evals.routers import LoadedRouter, cache_key, load_router
from routing_lab.evals.scoring import Progress, Scoring, draw, terminal_progress, win_rates
from routing_service.config import Config
from routing_service.errors import UsageError
from routing_service.models import ModelPair


@dataclass(frozen=True, slots=True)
class Settings:
    """How to evaluate. `bins` are RouteLLM's `--num-results`, `runs` its `--random-iters`; `cache` keeps win rates."""

    strong_model: str | None = None
    weak_model: str | None = None
    bins: int = 10
    runs: int = 10
    resamples: int = 1000
    seed: int = 0
    processes: int = 1
    cache: Path | None = None
    overwrite: frozenset[str] = frozenset()
    progress: Progress = terminal_progress


@dataclass(frozen=True, slots=True)
class ExactMetrics:
    """APGR and CPT of the exact curve, the curve's quality at each of `BAND_SHARES`, and their intervals.

    Of a router of chance the means over its runs. NaN where there is no gap.
    """

    apgr: float
    cpt: dict[float, float]
    quality: Float64
    intervals: BootstrapResult


@dataclass(frozen=True, slots=True)
class ProbabilityMetrics:
    """How good win rates are as probabilities that the strong model wins, a tie counting half.

    `log_loss` is in nats, beside that of always saying the mean outcome; `bins` are ten of equally many prompts.
    """

    log_loss: float
    log_loss_of_constant: float
    calibration_error: float
    bins: list[ReliabilityBin]


@dataclass(frozen=True, slots=True)
class RouterResult:
    """One router on one benchmark.

    `models` are what its win rates are for; `own_pair` says that it knows no other pair and that
    the benchmark's is another. `cached` of the distinct prompts' rates came from the cache. `runs` is 1 for a router
    that gives a prompt the same rate every time.
    """

    name: str
    type: str
    revision: str
    models: ModelPair
    own_pair: bool
    runs: int
    cached: int
    distinct_rates: int
    routellm: RouteLLMMetrics
    exact: ExactMetrics
    probabilities: ProbabilityMetrics
    sample: Sample


@dataclass(frozen=True, slots=True)
class Reference:
    """A line to compare with: APGR, CPT and quality at each of `BAND_SHARES`."""

    apgr: float
    cpt: dict[float, float]
    quality: Float64


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """One benchmark: the pair's scores, chance and the best there can be, and each router."""

    paired: PairedBenchmark
    strong_quality: float
    weak_quality: float
    random: Reference
    optimal: Reference
    routers: list[RouterResult]


def evaluate(
    config: Config, names: Sequence[str], benchmarks: Sequence[BenchmarkData], settings: Settings
) -> list[BenchmarkResult]:
    """Evaluate each router on each benchmark.

    Args:
        config: has the routers.
        names: which of them, at least one.
        benchmarks: at least one.
        settings: see `Settings`.

    Raises:
        UsageError: a benchmark lacks the pair, a prompt has no score, or --overwrite-cache names another router.
        ConfigError: a router is configured wrongly.
        ArtifactError: an artifact cannot be trusted or read.
    """
    titles = [data.name for data in benchmarks]
    if twice := sorted({name for name in titles if titles.count(name) > 1}):
        raise UsageError(f"--benchmark: two are called {twice[0]!r}; rename a file, so that results can be told apart")
    if stray := sorted(settings.overwrite - set(names)):
        raise UsageError(f"--overwrite-cache: {stray[0]!r} is not one of --routers")
    routers: list[LoadedRouter] = []
    try:
        for name in names:
            routers.append(load_router(config, name, settings.strong_model, settings.weak_model))  # noqa: PERF401 - what is loaded must be closed when the next fails
        default = config.models or routers[0].router.models
        asked = default.with_options(settings.strong_model, settings.weak_model)
        pairs = [for_pair(data, *asked) for data in benchmarks]
        how = Scoring(config, settings.processes, settings.progress)
        return [_benchmark_result(pair, routers, how, settings) for pair in pairs]
    finally:
        for router in routers:
            router.close()


def _benchmark_result(
    pair: PairedBenchmark, routers: Sequence[LoadedRouter], how: Scoring, settings: Settings
) -> BenchmarkResult:
    best = optimal_curve(pair.strong, pair.weak)
    weak, gap = best.weak_quality, best.strong_quality - best.weak_quality
    # Chance in expectation: a straight line. `random` as a router has the luck of its draws.
    chance = Reference(
        0.5 if gap else float("nan"), {x: x if gap else float("nan") for x in CPT_LEVELS}, weak + BAND_SHARES * gap
    )
    return BenchmarkResult(
        pair,
        best.strong_quality,
        weak,
        chance,
        Reference(apgr(best), _cpt(best), _quality(best)),
        [_router_result(router, pair, how, settings) for router in routers],
    )


def _router_result(loaded: LoadedRouter, pair: PairedBenchmark, how: Scoring, settings: Settings) -> RouterResult:
    data, router = pair.data, loaded.router
    prompts = data.distinct_prompts
    key = cache_key(loaded, data.content_hash)
    if router.deterministic:
        kept = (WinRateCache(settings.cache), key) if settings.cache is not None and key is not None else None
        scored, cached = win_rates(loaded, prompts, how, kept, fresh=loaded.name in settings.overwrite)
        scored = scored[np.newaxis]
    else:
        scored, cached = _draw_anew(loaded, prompts, how, settings), 0
    places = {prompt: place for place, prompt in enumerate(prompts)}
    rates = scored[:, [places[prompt] for prompt in data.prompts]]
    curves = [full_curve(run, pair.strong, pair.weak) for run in rates]
    return RouterResult(
        name=loaded.name,
        type=router.type,
        revision=router.revision,
        models=loaded.pair,
        own_pair=loaded.own_pair,
        runs=len(rates),
        cached=cached,
        distinct_rates=len(np.unique(rates[0])),
        routellm=routellm_metrics(rates, pair.strong, pair.weak, settings.bins),
        exact=ExactMetrics(
            float(np.mean([apgr(curve) for curve in curves])),
            {x: float(np.mean([_cpt(curve)[x] for curve in curves])) for x in CPT_LEVELS},
            np.mean([_quality(curve) for curve in curves], axis=0),
            bootstrap(rates, pair.strong, pair.weak, resamples=settings.resamples, seed=settings.seed),
        ),
        probabilities=_probabilities(rates[0], pair),
        sample=sample_of(router.manifest, data, learns=router.learns),
    )


def _probabilities(rates: Float64, pair: PairedBenchmark) -> ProbabilityMetrics:
    outcomes = (1 + np.sign(pair.strong - pair.weak)) / 2
    bins = reliability(rates, outcomes)
    constant = np.full(len(rates), outcomes.mean())
    return ProbabilityMetrics(log_loss(rates, outcomes), log_loss(constant, outcomes), calibration_error(bins), bins)


def _draw_anew(loaded: LoadedRouter, prompts: Sequence[str], how: Scoring, settings: Settings) -> Float64:
    """Draws of a router that was just loaded: what was drawn for another benchmark must not change these."""
    fresh = load_router(how.config, loaded.name, settings.strong_model, settings.weak_model)
    try:
        return draw(fresh, prompts, how, settings.runs)
    finally:
        fresh.close()


def _cpt(curve: Sweep) -> dict[float, float]:
    return {level: call_performance_threshold(curve, level) for level in CPT_LEVELS}


def _quality(curve: Sweep) -> Float64:
    return np.interp(BAND_SHARES, curve.strong_shares, curve.qualities)
