"""A command: `routing-service how-long PROMPT`. It needs no import of the service's; what it has is the contract."""

from __future__ import annotations

import argparse

name = "how-long"
summary = "Say how long a prompt is."
example = 'routing-service how-long "Prove that e is irrational."'


class TooLongError(Exception):
    """What goes wrong is an exception with a message and an exit code."""

    exit_code = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a plain parser."""
    parser.add_argument("prompt", metavar="PROMPT", help="the text to measure")
    parser.add_argument("--at-most", type=int, metavar="N", help="fail above so many characters")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    length = len(options.prompt)
    if options.at_most is not None and length > options.at_most:
        raise TooLongError(f"{length} characters are more than {options.at_most}; shorten the prompt")
    print(length)
