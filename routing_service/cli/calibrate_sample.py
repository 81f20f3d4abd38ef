"""Shared by all ways to calibrate: an engine, and the scores of the given prompts."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from routing_service.cli.options import progress
from routing_service.errors import UsageError
from routing_service.files import STDIO

if TYPE_CHECKING:
    from routing_service.artifacts.manifest import CalibrationTable
    from routing_service.calibration.distribution import ScoreDistribution
    from routing_service.engine.engine import Engine
    from routing_service.models import ModelPair
    from routing_service.routers.base import Router
    from routing_service.rows.reader import Row, RowFile

T = TypeVar("T")


def engine_to_score(options: argparse.Namespace) -> Engine:
    """An engine for scoring. It does not read the configuration's tables, because the command may replace them."""
    from routing_service.config import load_config
    from routing_service.engine.build import build_engine

    config = load_config(options.config)
    routers = {name: replace(router, calibration=None) for name, router in config.routers.items()}
    return build_engine(replace(config, routers=routers, policies={}, default_policy=None))


def read_for(engine: Engine, router: str, file: RowFile) -> RowFile:
    """The file, to be read as the engine reads; without what its rules keep from the router."""
    from routing_service.asks.rules import Facts
    from routing_service.rows.prompts import has_of, whole_prompt_of

    file.asks, rules = engine.asks, engine.rules
    if rules is not None:

        def leave_out(row: Row, text: str) -> bool:
            metadata = row.values.get("metadata")
            facts = Facts(whole_prompt_of(row), text, has_of(row), metadata if isinstance(metadata, dict) else None)
            return rules.leave_out(facts, router)

        file.leave_out = leave_out
    return file


def own_table(engine: Engine, name: str) -> CalibrationTable:
    """A router's table in use.

    Raises:
        UsageError: it has none.
    """
    table = engine.routers[name].calibration
    if table is None:
        raise UsageError(f"router {name!r} has no calibration table; give prompts of your own with --input")
    return table


def collect(
    engine: Engine, router: str, file: RowFile, options: argparse.Namespace, *, scored: bool = False
) -> ScoreDistribution:
    """The scores of the prompts in a file or standard input, in limited memory.

    If rows may be `scored` already, and the first row is, the rows' own scores are used.

    Raises:
        UsageError: there is no prompt, or one cannot be read or scored.
    """
    from routing_service.calibration.distribution import ScoreDistribution
    from routing_service.calibration.scores import SCORE_KEY, score_of
    from routing_service.engine.offline import score_prompts
    from routing_service.rows.prompts import read_asked

    scores, rows = ScoreDistribution(), iter(file)
    if file.path == STDIO:
        rows = _until_interrupted(rows)
    first = list(islice(rows, 1))
    rows = chain(first, rows)
    if scored and first and SCORE_KEY in first[0].values:
        rates = limited(map(score_of, rows), options)
    else:
        asked = ((row.place, text) for row, text in read_asked(rows))
        rates = score_prompts(engine, router, limited(asked, options), shares_pair(engine.routers[router], options))
    try:
        for rate in progress(rates, None):
            scores.add(rate)
    except KeyboardInterrupt:
        # It stopped a batch during scoring. This batch is lost; a reader would have ended normally.
        if file.path != STDIO or not scores.size:
            raise
    if not scores.size:
        raise file.no_use("rules decide them" if file.left_out else "they have no text")
    return scores


def _until_interrupted(rows: Iterator[T]) -> Iterator[T]:
    """Ctrl-C ends a live stream, which has no other end. Before the first row it ends the command."""
    count = 0
    try:
        for count, row in enumerate(rows, start=1):  # noqa: B007 - the handler reads the last number
            yield row
    except KeyboardInterrupt:
        if not count:
            raise


def shares_pair(router: Router, options: argparse.Namespace) -> ModelPair:
    """The models of the options, else the router's own. Without labelled data they must be known to the router."""
    strong, weak = options.strong_model, options.weak_model
    return router.models.with_options(
        _known(strong, router.strong_names) or strong, _known(weak, router.weak_names) or weak
    )


def scored_pair(engine: Engine, router: str, options: argparse.Namespace) -> ModelPair:
    """The models of the options if the router knows them, else its own."""
    known = engine.routers[router]
    return known.models.with_options(
        _known(options.strong_model, known.strong_names), _known(options.weak_model, known.weak_names)
    )


def _known(model: str | None, names: Collection[str]) -> str | None:
    from routing_service.rows.model_names import find_model

    return None if model is None else find_model(model, names)


def limited(prompts: Iterator[T], options: argparse.Namespace) -> Iterator[T]:
    """At most `--max-prompts` prompts."""
    return islice(prompts, options.max_prompts)


def source_of(path: Path) -> str:
    """A name for `--input`, for people."""
    return "standard input" if path == STDIO else str(path)
