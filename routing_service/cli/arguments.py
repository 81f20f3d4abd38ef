"""The command line: every command's arguments, and which function of `commands` runs it."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from routing_service.cli.calibrate import add_calibrate
from routing_service.cli.chat import add_chat
from routing_service.cli.commands import check_config, decide, health, score, serve
from routing_service.cli.evaluate import add_evaluate
from routing_service.cli.shared import add_command, add_config_option, address, share
from routing_service.cli.train import add_train
from routing_service.config import DEFAULT_ADDRESS


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
    add_chat(commands)
    _add_decide(commands)
    _add_score(commands)
    add_calibrate(commands)
    add_evaluate(commands)
    add_train(commands)
    _add_check_config(commands)
    _add_health(commands)
    return parser


def _add_serve(commands: Any) -> None:
    parser = add_command(
        commands,
        "serve",
        serve,
        "Serve decisions over gRPC until SIGTERM.",
        "routing-service serve --config routing.yaml --address 0.0.0.0:50051 --workers 4",
    )
    add_config_option(parser)
    parser.add_argument(
        "--address", type=address, metavar="HOST:PORT", help=f"where to listen (default {DEFAULT_ADDRESS})"
    )
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes that share the port (default 1)")
    parser.add_argument("--metrics-address", type=address, metavar="HOST:PORT", help="serve Prometheus metrics there")
    parser.add_argument(
        "--ready-file", type=Path, metavar="F", help="gets the bound address when the service is SERVING"
    )
    parser.add_argument("--reuse-port", action="store_true", help=argparse.SUPPRESS)


def _add_decide(commands: Any) -> None:
    parser = add_command(
        commands,
        "decide",
        decide,
        "Ask a running service about one prompt.",
        'routing-service decide "Prove that √2 is irrational" --strong-share 0.2',
    )
    parser.add_argument("prompt", metavar="PROMPT", help="the text to route")
    parser.add_argument(
        "--address",
        type=address,
        default=DEFAULT_ADDRESS,
        metavar="A",
        help=f"the service (default {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--router", metavar="R", help="the router (default: the service's)")
    policy = parser.add_mutually_exclusive_group()
    policy.add_argument("--threshold", type=share, metavar="T", help="strong from this win rate on, in 0..1")
    policy.add_argument("--strong-share", type=share, metavar="S", help="wanted share of strong decisions, in 0..1")
    parser.add_argument("--json", action="store_true", help="print the whole decision as JSON")


def _add_score(commands: Any) -> None:
    parser = add_command(
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
    add_config_option(parser)
    parser.add_argument("--router", metavar="R", help="the router (default: the configuration's)")


def _add_check_config(commands: Any) -> None:
    parser = add_command(
        commands,
        "check-config",
        check_config,
        "Check a configuration and every artifact that it names.",
        "routing-service check-config routing.yaml",
    )
    parser.add_argument("file", type=Path, metavar="F", help="the YAML file")


def _add_health(commands: Any) -> None:
    parser = add_command(
        commands,
        "health",
        health,
        "Exit with 0 when a service is SERVING, else with 1.",
        "routing-service health --address 127.0.0.1:50051",
    )
    parser.add_argument(
        "--address",
        type=address,
        default=DEFAULT_ADDRESS,
        metavar="A",
        help=f"the service (default {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--timeout", type=float, default=2.0, metavar="S", help="seconds to wait (default 2)")


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes from 1 to 256")
    return int(text)
