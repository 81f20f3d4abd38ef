"""`routing-service score`."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from routing_service.cli.options import (
    add_config_option,
    add_router_option,
    is_same_file,
    load_engine,
    progress,
    router_name,
    to_json,
)
from routing_service.files import STDIO

if TYPE_CHECKING:
    from routing_service.rows.reader import Row

name = "score"
summary = "Add strong_win_rate to each row of a file of prompts, without a server."
example = "routing-service score --input prompts.csv --output scored.jsonl"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        metavar="F",
        help="rows with a prompt or messages: JSON lines, CSV or Parquet, or one prompt a line; - is standard input",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="F.jsonl",
        help="the same rows with strong_win_rate, as JSON lines; - is standard output",
    )
    add_config_option(parser)
    add_router_option(parser, "the configuration's")


def run(options: argparse.Namespace) -> None:
    """Score each row's prompt and write the rows with it, in limited memory."""
    from routing_service.calibration.scores import SCORE_KEY
    from routing_service.engine.offline import score_prompts
    from routing_service.files import writing
    from routing_service.rows.formats import suffix_of
    from routing_service.rows.prompts import read_asked
    from routing_service.rows.reader import RowFile

    if is_same_file(options.output, options.input):
        options.wrong_usage("--output would replace the rows of --input; name another file")
    if suffix_of(options.output) in (".csv", ".tsv", ".parquet"):
        options.wrong_usage(f"--output {options.output}: rows are written as JSON lines; name the file .jsonl")
    engine = load_engine(options)
    file = RowFile(options.input, asks=engine.asks)
    waiting: deque[Row] = deque()

    def asked() -> Iterator[tuple[str, str]]:
        for row, text in read_asked(file):
            waiting.append(row)
            yield row.place, text

    count = 0
    with writing(options.output) as output:
        for rate in progress(score_prompts(engine, router_name(engine, options.router), asked()), None):
            output.write(to_json({**waiting.popleft().values, SCORE_KEY: rate}) + "\n")
            count += 1
        if not count:
            raise file.no_use("they have no text")
    file.tell()
    where = "standard output" if options.output == STDIO else options.output
    print(f"{count} rows written to {where}", file=sys.stderr)
