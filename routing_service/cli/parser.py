"""The command line: the command and its options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from routing_service.cli.commands import ELSEWHERE, Command, installed, load_command
from routing_service.errors import UsageError, nearest, unknown_name


class Parser(argparse.ArgumentParser):
    """Says what is wrong and names the help page, instead of printing the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown arguments. argparse asks the command's parser first, so the message names its help page."""
        options, extra = super().parse_known_args(args, namespace)
        if extra:
            self.error(f"unrecognized arguments: {' '.join(extra)}{self._meant(extra)}")
        return options, extra

    def _meant(self, extra: list[str]) -> str:
        flag = next((argument.partition("=")[0] for argument in extra if argument.startswith("--")), None)
        meant = None if flag is None else nearest(flag, self._option_string_actions)
        return "" if meant is None else f"; did you mean {meant}?"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line into options; `run` is the command's function.

    Only the named command is imported, so `serve` starts fast and with little memory. All are imported for
    the list in `--help`.

    Raises:
        UsageError: the command's package is missing or broken.
        SystemExit: the usage is wrong (2), or help was asked for and printed (0).
    """
    parser = Parser(
        prog="routing-service",
        description="Decides for each prompt whether the strong or the weak LLM should answer it.",
        epilog="Example: routing-service serve --address 127.0.0.1:50051",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('routing-service')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    names = list(installed())
    if asked in names or asked in ELSEWHERE:
        _add(commands, load_command(asked), asked)
    elif asked is None:
        for name in names:
            _add_for_help(commands, name)
    else:
        parser.error(unknown_name("command", asked, {*names, *ELSEWHERE}))
    return parser.parse_args(arguments)


def _add(commands: Any, command: Command, name: str) -> None:
    example = getattr(command, "example", None)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=_plain(command.summary),
        description=command.summary,
        epilog=None if example is None else f"Example: {example}",
    )
    parser.set_defaults(run=command.run)
    command.arguments(parser)


def _add_for_help(commands: Any, name: str) -> None:
    """A command with a broken package is listed with the reason. The others still work."""
    try:
        shown = load_command(name).summary
    except UsageError as error:
        shown = str(error)
    commands.add_parser(name, help=_plain(shown))


def _plain(text: str) -> str:
    """A help text with `%` escaped for argparse."""
    return text.replace("%", "%%")
