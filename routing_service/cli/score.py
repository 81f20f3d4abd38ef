"""`routing-service score`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from routing_service.cli.options import (
    add_config_option,
    add_router_option,
    load_engine,
    progress,
    router_name,
    to_json,
)

name = "score"
summary = "Add strong_win_rate to each row of a JSON lines file, without a server."
example = "routing-service score --input prompts.jsonl --output scored.jsonl"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--input", type=Path, required=True, metavar="F.jsonl", help="rows with a prompt")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="F.jsonl", help="the same rows with strong_win_rate"
    )
    add_config_option(parser)
    add_router_option(parser, "the configuration's")


def run(options: argparse.Namespace) -> None:
    """Score each row's prompt and write the rows anew."""
    from routing_service.calibration.prompts import PROMPT_KEY, read_rows
    from routing_service.engine.offline import score_prompts
    from routing_service.files import writing

    engine = load_engine(options)
    rows = [row for _, row in read_rows(options.input)]
    rates = score_prompts(engine, router_name(engine, options.router), (row[PROMPT_KEY] for row in rows))
    with writing(options.output) as file:
        for row, rate in zip(rows, progress(rates, len(rows)), strict=True):
            file.write(to_json({**row, "strong_win_rate": rate}) + "\n")
    print(f"{len(rows)} rows written to {options.output}", file=sys.stderr)
