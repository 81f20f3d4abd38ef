"""What tests of the command line share: how a run ends, and what is routed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

PROMPTS = ["hello world", "Prove it, café 中文!", "x", "the hello the world 42", "What?"]
SECRET = "a secret prompt"


class Ran(NamedTuple):
    """The exit code, and what was written to standard output and standard error."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def complaint(ran: Ran, code: int = 1) -> str:
    """The one line that says what is wrong."""
    assert ran.code == code, ran
    assert ran.out == "", ran
    assert ran.err.count("\n") == 1, ran
    assert "Traceback" not in ran.err, ran
    assert ran.err.startswith("routing-service"), ran
    return ran.err
