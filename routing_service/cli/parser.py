"""The command line: which command is meant, and its options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from routing_service.cli.commands import ELSEWHERE, Command, installed, load_command
from routing_service.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Says what is wrong first and names the help, instead of printing the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line into options, of which `run` is the command's own function.

    Only the command that is asked for is imported, so that `serve` starts as fast and as light as it can; all are for
    the list in `--help`.

    Raises:
        UsageError: the command's package is missing or broken.
        SystemExit: the usage is wrong (2), or help was asked for and printed (0).
    """
    parser = Parser(
        prog="routing-service",
        description="Decides, per prompt, whether the strong or the weak LLM should answer it.",
        epilog="Example: routing-service serve --address 127.0.0.1:50051",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('routing-service')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    names = list(installed())
    if asked in names or asked in ELSEWHERE:
        _add(commands, load_command(asked), asked)
    else:
        for name in names:
            _add_for_help(commands, name)
    return parser.parse_args(arguments)


def _add(commands: Any, command: Command, name: str) -> None:
    example = getattr(command, "example", None)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=command.summary,
        description=command.summary,
        epilog=None if example is None else f"Example: {example}",
    )
    parser.set_defaults(run=command.run)
    command.arguments(parser)


def _add_for_help(commands: Any, name: str) -> None:
    """A command whose package is broken is listed with the reason, and harms no other."""
    try:
        commands.add_parser(name, help=load_command(name).summary)
    except UsageError as error:
        commands.add_parser(name, help=str(error).replace("%", "%%"))
