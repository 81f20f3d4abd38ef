"""Routers on benchmarks: load, score, measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from routing_lab.evals import robustness
from routing_lab.evals.benchmarks import BenchmarkData, PairedBenchmark, audit_half, audit_rows, for_pair, hash_of
from routing_lab.evals.cache import CacheKey, WinRateCache
from routing_lab.evals.curves import BAND_SHARES, CPT_LEVELS, bootstrap, full_curve, optimal_curve
from routing_lab.evals.metrics import (
    Float64,
    Sweep,
    apgr,
    calibration_error,
    call_performance_threshold,
    log_loss,
    reliability,
)
from routing_lab.evals.provenance import sample_of
from routing_lab.evals.results import BenchmarkResult, ExactMetrics, ProbabilityMetrics, Reference, RouterResult
from routing_lab.evals.robustness import Robustness
from routing_lab.evals.routellm_metrics import routellm_metrics
from routing_lab.evals.routers import LoadedRouter, cache_key, load_router
from routing_lab.evals.scoring import Scoring, draw, win_rates
from routing_lab.evals.settings import Settings
from routing_service.config import Config
from routing_service.errors import UsageError


def evaluate(
    config: Config, names: Sequence[str], benchmarks: Sequence[BenchmarkData], settings: Settings
) -> list[BenchmarkResult]:
    """Evaluate each router on each benchmark.

    Of a benchmark whose dev half a router has learnt from there are two results, the audit half's before the whole's.

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
            routers.append(_loaded(config, name, settings))  # noqa: PERF401 - what is loaded must be closed when the next fails
        default = config.models or routers[0].router.models
        asked = default.with_options(settings.strong_model, settings.weak_model)
        pairs = [for_pair(data, *asked) for data in benchmarks]
        how = Scoring(config, settings.processes, settings.progress)
        return [result for pair in pairs for result in _results(pair, routers, how, settings)]
    finally:
        for router in routers:
            router.close()


def _loaded(config: Config, name: str, settings: Settings) -> LoadedRouter:
    return load_router(
        config, name, settings.strong_model, settings.weak_model, data=settings.data, vectors=settings.vectors
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    """A router's win rates, (runs, prompts), and how many distinct prompts' came from the cache."""

    loaded: LoadedRouter
    rates: Float64
    cached: int


def _results(
    pair: PairedBenchmark, routers: Sequence[LoadedRouter], how: Scoring, settings: Settings
) -> list[BenchmarkResult]:
    scored = [_scored(router, pair.data, how, settings) for router in routers]
    whole = _benchmark_result(pair, scored, how, settings)
    rows = audit_rows(pair.data) if whole.in_sample else None
    if rows is None:
        return [whole]
    half = audit_half(pair, rows)
    # What is drawn is drawn for these prompts alone, as it is where only they are asked for.
    again = [
        replace(each, rates=each.rates[:, rows])
        if each.loaded.router.deterministic
        else _scored(each.loaded, half.data, how, settings)
        for each in scored
    ]
    return [_benchmark_result(half, again, how, settings), whole]


def _robustness(
    loaded: LoadedRouter, rates: Float64, data: BenchmarkData, how: Scoring, settings: Settings
) -> Robustness:
    """Flips at the threshold that gives the wanted share on all of the benchmark, over some of its prompts."""
    prompts = robustness.sample(data.distinct_prompts, settings.seed)
    texts = robustness.edited(prompts, settings.seed)
    distinct = list(dict.fromkeys([*prompts, *(text for edited in texts.values() for text in edited)]))
    read = how.read(distinct)
    found, _ = win_rates(loaded, read, how, _kept(loaded, read, settings), fresh=loaded.name in settings.overwrite)
    rate_of = dict(zip(distinct, found, strict=True))
    threshold = robustness.threshold_of(rates, settings.robustness_share)
    before = np.array([rate_of[prompt] for prompt in prompts])
    after = {name: np.array([rate_of[text] for text in edited]) for name, edited in texts.items()}
    return Robustness(settings.robustness_share, threshold, len(prompts), robustness.flips(before, after, threshold))


def _scored(loaded: LoadedRouter, data: BenchmarkData, how: Scoring, settings: Settings) -> _Scored:
    prompts = data.distinct_prompts
    texts = how.read(prompts)
    if loaded.router.deterministic:
        kept = _kept(loaded, texts, settings)
        rates, cached = win_rates(loaded, texts, how, kept, fresh=loaded.name in settings.overwrite)
        rates = rates[np.newaxis]
    else:
        rates, cached = _draw_anew(loaded, texts, how, settings), 0
    places = {prompt: place for place, prompt in enumerate(prompts)}
    return _Scored(loaded, rates[:, [places[prompt] for prompt in data.prompts]], cached)


def _kept(loaded: LoadedRouter, prompts: Sequence[str], settings: Settings) -> tuple[WinRateCache, CacheKey] | None:
    """Where the router's win rates on these prompts are kept; None for nowhere."""
    key = cache_key(loaded, hash_of(prompts))
    return None if settings.cache is None or key is None else (WinRateCache(settings.cache), key)


def _benchmark_result(
    pair: PairedBenchmark, scored: Sequence[_Scored], how: Scoring, settings: Settings
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
        [_router_result(each, pair, how, settings) for each in scored],
    )


def _router_result(scored: _Scored, pair: PairedBenchmark, how: Scoring, settings: Settings) -> RouterResult:
    loaded, router, rates = scored.loaded, scored.loaded.router, scored.rates
    curves = [full_curve(run, pair.strong, pair.weak) for run in rates]
    return RouterResult(
        name=loaded.name,
        type=router.type,
        revision=router.revision,
        models=loaded.pair,
        own_pair=loaded.own_pair,
        runs=len(rates),
        cached=scored.cached,
        distinct_rates=len(np.unique(rates[0])),
        routellm=routellm_metrics(rates, pair.strong, pair.weak, settings.bins),
        exact=ExactMetrics(
            float(np.mean([apgr(curve) for curve in curves])),
            {x: float(np.mean([_cpt(curve)[x] for curve in curves])) for x in CPT_LEVELS},
            np.mean([_quality(curve) for curve in curves], axis=0),
            bootstrap(rates, pair.strong, pair.weak, resamples=settings.resamples, seed=settings.seed),
        ),
        probabilities=_probabilities(rates[0], pair),
        sample=sample_of(router.manifest, pair.data, learns=router.learns),
        robustness=_robustness(loaded, rates[0], pair.data, how, settings)
        if settings.robustness and router.deterministic
        else None,
    )


def _probabilities(rates: Float64, pair: PairedBenchmark) -> ProbabilityMetrics:
    outcomes = (1 + np.sign(pair.strong - pair.weak)) / 2
    bins = reliability(rates, outcomes)
    constant = np.full(len(rates), outcomes.mean())
    return ProbabilityMetrics(log_loss(rates, outcomes), log_loss(constant, outcomes), calibration_error(bins), bins)


def _draw_anew(loaded: LoadedRouter, prompts: Sequence[str], how: Scoring, settings: Settings) -> Float64:
    """Draws of a router that was just loaded: what was drawn for another benchmark must not change these."""
    fresh = _loaded(how.config, loaded.name, settings)
    try:
        return draw(fresh, prompts, how, settings.runs)
    finally:
        fresh.close()


def _cpt(curve: Sweep) -> dict[float, float]:
    return {level: call_performance_threshold(curve, level) for level in CPT_LEVELS}


def _quality(curve: Sweep) -> Float64:
    return np.interp(BAND_SHARES, curve.strong_shares, curve.qualities)
