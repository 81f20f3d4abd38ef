"""The commands of `routing-service`: its own, each in a file here, and those that other packages add by entry point.

A command is a module or an object with these four attributes. Nothing has to be imported to make one:

    name       the command's name
    summary    one line for `--help`
    arguments  takes a plain `argparse.ArgumentParser` and adds the command's arguments to it
    run        takes the parsed options; a failure is an exception with a message and an `exit_code`

and optionally `example`: a command line at the end of its help. An entry point of the group `routing_service.commands`
has the same name and points to it. Its module is imported only for `--help` and when the command is used.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from routing_service.errors import UsageError
from routing_service.extras import pip_install

GROUP = "routing_service.commands"
SHIPPED = {
    "serve": "routing_service.cli.serve",
    "decide": "routing_service.cli.decide",
    "score": "routing_service.cli.score",
    "calibrate": "routing_service.cli.calibrate",
    "check-config": "routing_service.cli.check_config",
    "health": "routing_service.cli.health",
}
# Commands of our other distributions.
ELSEWHERE = {"train": "routing-lab", "evaluate": "routing-lab", "chat": "routing-gateway"}


class Command(Protocol):
    """The attributes of a command."""

    @property
    def name(self) -> str:
        """The command's name."""
        ...

    @property
    def summary(self) -> str:
        """One line for `--help`."""
        ...

    def arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the command's arguments."""

    def run(self, options: argparse.Namespace, /) -> None:
        """Run the command."""


def installed() -> dict[str, EntryPoint | str]:
    """Every command by name, not yet imported: our own, then those of other packages, which cannot replace ours."""
    added = {point.name: point for point in sorted(entry_points(group=GROUP)) if point.name not in SHIPPED}
    return {**SHIPPED, **added}


def load_command(name: str) -> Command:
    """Import a command.

    Raises:
        UsageError: it is not installed, or its package is broken.
    """
    found = installed().get(name)
    if found is None:
        distribution = ELSEWHERE[name]
        raise UsageError(
            f"`{name}` comes with {distribution}, which is not installed; run: {pip_install(distribution)}"
        )
    try:
        command: Command = import_module(found) if isinstance(found, str) else found.load()
        texts = all(isinstance(text, str) and text for text in (command.name, command.summary))
        complete = texts and callable(command.arguments) and callable(command.run)
    except (Exception, SystemExit) as error:  # a script that was named by mistake may end the process at its import
        if isinstance(found, str):
            raise
        raise UsageError(_broken(found, f"{type(error).__name__}: {error}")) from error
    if not complete:
        raise UsageError(_broken(found, "a command has a name, a summary, arguments and run"))
    return command


def _broken(found: EntryPoint | str, problem: str) -> str:
    if isinstance(found, str):
        return f"{found}: {problem}"
    package = found.dist.name if found.dist is not None else found.module
    return f"the command {found.name!r}, which {package} brings, cannot be used: {problem}"
