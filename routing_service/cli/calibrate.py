"""`routing-service calibrate`: from wanted shares, a quality or a budget to a threshold; tables; drift."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NoReturn

from routing_service.cli.options import add_config_option, add_router_option, is_same_file, share, target
from routing_service.files import STDIO

name = "calibrate"
summary = "Find the threshold for a share of strong decisions, a quality or a budget; save a table; check for drift."
example = "routing-service calibrate --router static --strong-model-pct 0.5 --input prompts.csv"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.set_defaults(wrong_usage=parser.error)
    add_router_option(parser, "the configuration's")
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument(
        "--strong-model-pct", type=wanted_share, nargs="+", metavar="S", help="wanted shares of strong calls, 0 to 1"
    )
    goal.add_argument(
        "--target-quality",
        type=positive,
        metavar="Q",
        help="the part of the strong model's mean score to keep, e.g. 0.9; needs --input with both models' scores",
    )
    goal.add_argument(
        "--budget", type=positive, metavar="USD", help="the most US dollars for a request, on average; needs --prices"
    )
    parser.add_argument(
        "--input",
        type=Path,
        metavar="F",
        help="your prompts: JSON lines, CSV or Parquet with `prompt` or `messages`, or one a line; - is standard "
        "input, whose stream may be endless: Ctrl-C ends it (default: the router's own table)",
    )
    parser.add_argument("--max-prompts", type=whole, metavar="N", help="read at most this many prompts")
    add_config_option(parser)
    parser.add_argument("--address", type=target, metavar="A", help="let this running service score")
    _add_target_options(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="F.json",
        help="save the table of --input, for `calibration:` of the router; - is standard output",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="F",
        help="recent prompts, or rows with `strong_win_rate`: do they still match the table (of --input, else the "
        "router's)?",
    )
    parser.add_argument(
        "--fail-on-drift", action="store_true", help="with --compare: exit with 1 if the drift is major (PSI 0.25)"
    )
    parser.add_argument("--plot", type=Path, metavar="F.svg", help="draw scores and thresholds, as SVG, PNG or PDF")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_target_options(parser: argparse.ArgumentParser) -> None:
    from routing_service.calibration.labelled import DEFAULT_OUTPUT_TOKENS

    group = parser.add_argument_group("quality and cost")
    group.add_argument("--strong-model", metavar="M", help="the strong model in the data (default: the router's)")
    group.add_argument("--weak-model", metavar="M", help="the weak model in the data (default: the router's)")
    group.add_argument(
        "--prices",
        type=price,
        nargs=2,
        metavar="M=IN/OUT",
        help="US dollars per million input and output tokens of both models, e.g. strong=10/30 weak=0.5/1.5",
    )
    group.add_argument(
        "--input-tokens",
        type=positive,
        metavar="N",
        help="tokens of a prompt where the data does not say (default: its characters / 4)",
    )
    group.add_argument(
        "--output-tokens",
        type=positive,
        metavar="N",
        help=f"tokens of an answer where the data does not say (default {DEFAULT_OUTPUT_TOKENS:g})",
    )
    group.add_argument(
        "--confidence",
        type=confidence,
        metavar="C",
        help="meet the target on this part of bootstrap resamples, e.g. 0.95 (default: on the sample itself)",
    )
    group.add_argument("--seed", type=whole_or_zero, metavar="N", help="of the bootstrap (default 0)")


def wanted_share(text: str) -> float:
    """An argument that is a share from 0 to 1. Some write 50, because RouteLLM's option is named for a percentage."""
    try:
        return share(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; write 0.5 for 50 %") from error


def positive(text: str) -> float:
    """An argument that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def whole(text: str) -> int:
    """An argument that is a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def whole_or_zero(text: str) -> int:
    """An argument that is a whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def confidence(text: str) -> float:
    """An argument that is a number above 0 and at most 1."""
    value = share(text)
    if not value:
        raise argparse.ArgumentTypeError("0 asks for nothing; write a number above 0, e.g. 0.95")
    return value


def price(text: str) -> tuple[str, float, float]:
    """An argument of the form MODEL=INPUT/OUTPUT."""
    model, _, prices = text.rpartition("=")
    try:
        read, written = (float(part) for part in prices.split("/"))
    except ValueError:
        read = written = math.nan
    if not model or not (0 <= read < math.inf and 0 <= written < math.inf):
        raise argparse.ArgumentTypeError(f"{text!r} is not a price; write MODEL=INPUT/OUTPUT, e.g. strong=10/30")
    return model, read, written


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    _check(options)
    if options.compare is not None:
        from routing_service.cli.calibrate_compare import compare

        compare(options)
    elif options.target_quality is not None or options.budget is not None:
        from routing_service.cli.calibrate_target import calibrate_to_target

        calibrate_to_target(options)
    else:
        from routing_service.cli.calibrate_shares import calibrate_by_service, calibrate_here

        (calibrate_here if options.address is None else calibrate_by_service)(options)


def _check(options: argparse.Namespace) -> None:
    def wrong(message: str) -> NoReturn:
        options.wrong_usage(message)
        raise AssertionError("argparse exits")

    targeted = options.target_quality is not None or options.budget is not None
    if not (targeted or options.strong_model_pct or options.output or options.compare or options.plot):
        wrong("one of --strong-model-pct, --target-quality, --budget, --output, --compare and --plot is needed")
    if options.address:
        for name in ("target_quality", "budget", "output", "compare", "plot", "config"):
            if getattr(options, name) is not None:
                wrong(f"--{name.replace('_', '-')} needs the router here; leave out --address")
        if options.input is None and options.max_prompts is not None:
            wrong("--max-prompts needs --input")
    if options.budget is not None and options.prices is None:
        wrong("--budget needs --prices")
    for name in ("output", "max_prompts"):
        if getattr(options, name) is not None and options.input is None and not options.address:
            wrong(f"--{name.replace('_', '-')} needs --input")
    if targeted:
        if options.input is None:
            wrong("a target needs --input: prompts, with both models' scores for a quality")
        for name in ("output", "compare", "plot"):
            if getattr(options, name) is not None:
                wrong(f"--{name} does not go with a target; run the command once for each")
    else:
        for name in ("prices", "input_tokens", "output_tokens", "confidence", "seed"):
            if getattr(options, name) is not None:
                wrong(f"--{name.replace('_', '-')} needs --target-quality or --budget")
        if options.input is None and (options.strong_model or options.weak_model):
            wrong("--strong-model and --weak-model need --input: the router's table is of the router's pair")
    for name in ("output", "plot"):
        if options.compare is not None and getattr(options, name) is not None:
            wrong(f"--{name} does not go with --compare; run the command once for each")
    if options.input == options.compare == STDIO:
        wrong("--input and --compare cannot both read standard input; give one of them a file")
    if options.output is not None and is_same_file(options.output, options.input):
        wrong("--output would replace the prompts of --input; name another file")
    if options.output == STDIO and (options.strong_model_pct or options.json):
        wrong("--output - writes the table to standard output, where nothing else may stand; leave the rest out")
    if options.fail_on_drift and options.compare is None:
        wrong("--fail-on-drift needs --compare")
