"""The options that every kind of training has, and the keyword arguments that they become."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from routing_service.cli.options import emit, to_json
from routing_service.errors import UsageError
from routing_service.extras import pip_install

T = TypeVar("T")
Train = Callable[[argparse.Namespace], None]


def add_type(types: Any, name: str, train: Train, summary: str, example: str) -> argparse.ArgumentParser:
    """A router type's parser, with its one-line summary and the example that ends its help."""
    parser: argparse.ArgumentParser = types.add_parser(
        name, help=summary, description=summary, epilog=f"Example: {example}"
    )
    parser.set_defaults(train=train)
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add what is learnt from, what must not be, and where the artifact goes."""
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="F",
        help="JSON lines, CSV or Parquet of per-model scores or battles, folders of them, or benchmark folders in "
        "RouteLLM's layout (their dev half)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the artifact's folder; replaced whole"
    )
    parser.add_argument(
        "--strong-model", nargs="+", metavar="M", help="the strong model in your data, or several; the first is named"
    )
    parser.add_argument("--weak-model", nargs="+", metavar="M", help="the weak model in your data, or several")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same data and seed, same artifact (default 0)"
    )
    parser.add_argument(
        "--report-on",
        type=Path,
        nargs="+",
        default=[],
        metavar="F",
        help="benchmarks that the router will be reported on, as JSON lines with a prompt or folders in RouteLLM's "
        "layout: what they ask must not be learnt from",
    )
    overlap = parser.add_mutually_exclusive_group()
    overlap.add_argument(
        "--drop-overlap", action="store_true", help="leave out rows that ask what a benchmark of --report-on asks"
    )
    overlap.add_argument(
        "--allow-overlap", action="store_true", help="learn from such rows all the same; the manifest says so"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training that has a validation split and can be resumed."""
    parser.add_argument(
        "--validation-share",
        type=_validation_share,
        default=0.1,
        metavar="S",
        help="the share of prompts that only measures and stops the training, near-duplicates together (default 0.1)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="where checkpoints are kept until the artifact is done (default: OUTPUT.work); the same command goes on "
        "from there",
    )
    parser.add_argument("--restart", action="store_true", help="throw an interrupted training's work away first")


def data_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of a `train` function that come from `add_data_options`."""
    from routing_lab.data.splits import Overlap

    overlap = Overlap.DROP if options.drop_overlap else Overlap.ALLOW if options.allow_overlap else Overlap.REFUSE
    if overlap is not Overlap.REFUSE and not options.report_on:
        raise UsageError(f"--{overlap}-overlap is about the benchmarks of --report-on; name them, or leave it out")
    return {
        "strong_model": options.strong_model,
        "weak_model": options.weak_model,
        "seed": options.seed,
        "report_on": options.report_on,
        "overlap": overlap,
    }


def run_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of a `train` function that come from `add_run_options`."""
    return {"validation_share": options.validation_share, "work": options.work, "restart": options.restart}


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """A SIGTERM, as batch systems and containers send it, is an interruption as from the keyboard: it is cleaned up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def needing(extra: str, load: Callable[[], T]) -> T:
    """What `load` imports, or an error that says which extra to install.

    Raises:
        UsageError: a package that it needs is not installed.
    """
    try:
        return load()
    except ImportError as error:
        raise UsageError(f"training needs {error.name}; run: {pip_install('routing-lab', extra)}") from error


def train_and_report(train: Callable[[], Any], options: argparse.Namespace) -> None:
    """Train, and print the report, for people or, with `--json`, its `as_dict()`."""
    with stopping_on_sigterm():
        report = train()
    emit(to_json(report.as_dict()) if options.json else str(report))


def count(text: str) -> int:
    """An option's whole number, 1 or more."""
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 1000000")
    return int(text)


def _validation_share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 < value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is no share above 0 and at most 0.5")
    return value
