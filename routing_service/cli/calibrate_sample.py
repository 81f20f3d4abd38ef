"""What every way to calibrate needs: an engine, and the scores of the prompts at hand."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from routing_service.cli.options import progress
from routing_service.errors import UsageError

if TYPE_CHECKING:
    from routing_service.artifacts.manifest import CalibrationTable
    from routing_service.calibration.distribution import ScoreDistribution
    from routing_service.engine.engine import Engine
    from routing_service.models import ModelPair


def engine_to_score(options: argparse.Namespace) -> Engine:
    """An engine that scores, whatever became of the tables of the configuration, which this may be there to renew."""
    from routing_service.config import load_config
    from routing_service.engine.build import build_engine

    config = load_config(options.config)
    routers = {name: replace(router, calibration=None) for name, router in config.routers.items()}
    return build_engine(replace(config, routers=routers, policies={}, default_policy=None))


def own_table(engine: Engine, name: str) -> CalibrationTable:
    """The table in force of a router.

    Raises:
        UsageError: it has none.
    """
    table = engine.routers[name].calibration
    if table is None:
        raise UsageError(f"router {name!r} has no calibration table; give prompts of your own with --input")
    return table


def collect(engine: Engine, router: str, path: Path, options: argparse.Namespace) -> ScoreDistribution:
    """The scores of a file's or standard input's prompts, in bounded memory.

    Raises:
        UsageError: there is no prompt, or one cannot be read or scored.
    """
    from routing_service.calibration.distribution import ScoreDistribution
    from routing_service.calibration.prompts import STDIN, read_prompts
    from routing_service.engine.offline import score_prompts

    scores, prompts = ScoreDistribution(), read_prompts(path)
    if path == STDIN:
        prompts = _until_interrupted(prompts)
    # Without labelled data they can only be names to the router.
    models = engine.routers[router].models.with_options(options.strong_model, options.weak_model)
    rates = score_prompts(engine, router, limited(prompts, options), models)
    try:
        for rate in progress(rates, None):
            scores.add(rate)
    except KeyboardInterrupt:
        # It met a batch that was being scored, which is lost, and not the reader, which would have ended.
        if path != STDIN or not scores.size:
            raise
    if not scores.size:
        raise UsageError(f"{path}: has no prompts; calibrating needs at least one")
    return scores


def _until_interrupted(prompts: Iterator[str]) -> Iterator[str]:
    """Ctrl-C is the end of a live stream, which has no other; before the first prompt it is what it always is."""
    count = 0
    try:
        for count, prompt in enumerate(prompts, start=1):  # noqa: B007 - the handler reads how far it came
            yield prompt
    except KeyboardInterrupt:
        if not count:
            raise


def scored_pair(engine: Engine, router: str, options: argparse.Namespace) -> ModelPair:
    """The models that the options name, where the router knows them under that name, else its own."""
    known = engine.routers[router]
    return known.models.with_options(
        options.strong_model if options.strong_model in known.strong_names else None,
        options.weak_model if options.weak_model in known.weak_names else None,
    )


def limited(prompts: Iterator[str], options: argparse.Namespace) -> Iterator[str]:
    """No more prompts than `--max-prompts` says."""
    return islice(prompts, options.max_prompts)


def source_of(path: Path) -> str:
    """What `--input` is, for people."""
    from routing_service.calibration.prompts import STDIN

    return "standard input" if path == STDIN else str(path)
