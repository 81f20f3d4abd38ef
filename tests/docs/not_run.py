"""The documents' commands that cannot run in a test: why, and what is checked instead."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

from export_onnx import cli as export_cli
from routing_service.cli.parser import parse
from tests.docs.blocks import Command

ROOT = Path(__file__).resolve().parents[2]

# Commands that a package brings which is not installed here.
OF_EXAMPLES = {"how-long"}

Check = Callable[[Command], None]


def check_make(command: Command) -> None:
    """The target is there, with its line of help."""
    target = next(word for word in shlex.split(command.text, comments=True)[1:] if "=" not in word)
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), command.text


def check_pip(command: Command) -> None:
    """The folders are distributions, and have these extras."""
    words = shlex.split(command.text, comments=True)
    for word in words[words.index("install") + 1 :]:
        found = re.fullmatch(r"(\.[\w./-]*)(?:\[([\w,]+)\])?", word)
        assert found is not None, f"{word} is not a folder of the checkout"
        project = tomllib.loads((ROOT / found[1] / "pyproject.toml").read_text())["project"]
        assert set(filter(None, (found[2] or "").split(","))) <= set(project.get("optional-dependencies", {})), word


def check_arguments(command: Command) -> None:
    """The parser takes the arguments. Other programs, and what a shell does with the command, are passed over."""
    words = shlex.split(command.text.partition("|")[0], comments=True)
    arguments = [word for word in words[1:] if word not in {"&", ">"}]
    if words[0] == "routing-service" and words[1] not in OF_EXAMPLES:
        parse(arguments[: words.index(">") - 1] if ">" in words else arguments)
    elif words[0] == "export-onnx":
        export_cli._parser().parse_args(arguments)


def check_nothing(_command: Command) -> None:
    """There is nothing to check it with."""


# How the command begins, why it cannot run, what is checked.
NOT_RUN: tuple[tuple[str, str, Check], ...] = (
    (r"(\w+=\S+ )?make ", "sets up an environment of its own", check_make),
    (r"bash \.ci/run", "the same, and runs this test", check_nothing),
    (r"(\w+=\w+ )?pip install", "downloads", check_pip),
    (r"grpcurl ", "a tool that PyPI does not have", check_nothing),
    (r"routing-service train (static|mf) ", "fetches word vectors, takes minutes; lab/tests trains", check_arguments),
    (r"routing-service train (bert|causal_llm) ", "needs a model hub, torch and hours", check_arguments),
    (r"export-onnx (bert|causal_llm) ", "needs torch and minutes; tests/parity exports", check_arguments),
)


def not_run(command: Command) -> Check | None:
    """What to check of a command that is not run; None for one that is."""
    return next((check for start, _, check in NOT_RUN if re.match(start, command.text)), None)
