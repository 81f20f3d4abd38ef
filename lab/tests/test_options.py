"""Options that are a dataclass's fields: their help tells the default that is used, and a command can be repeated."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pytest
from routing_lab.options import COUNT, add_options, from_options, number, option, to_command, whole


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    option_group: ClassVar = "recipe"

    epochs: int = field(default=3, metadata=option("at most, 100 % of them", parse=COUNT, metavar="N"))
    rate: float = field(default=1e-5, metadata=option("of learning", parse=number(0, 1), metavar="R"))


@dataclass(frozen=True, kw_only=True)
class Request(Recipe):
    data: Sequence[Path] = field(metadata=option("the data", parse=Path, metavar="F", many=True))
    colour: Colour = field(default=Colour.RED, metadata=option("of it", choices=Colour))
    side: Colour = field(
        default=Colour.NONE, metadata=option(flags={Colour.RED: "it is red", Colour.GREEN: "it is green"})
    )
    seed: int = field(default=0, metadata=option("of chance", parse=whole(0, 9), metavar="N"))
    bins: int = field(default=10, metadata=option("how many", parse=COUNT, metavar="N", name="num-results"))
    names: Sequence[str] = field(default=(), metadata=option("of them", parse=str, metavar="M", many=True))
    work: Path | None = field(
        default=None, metadata=option("kept there", parse=Path, metavar="DIR", shown="beside it", repeated=False)
    )
    fast: bool = field(default=False, metadata=option("hurry"))
    inner: int = 7  # no option


@dataclass(frozen=True, kw_only=True)
class Longer(Request):
    epochs: int = 30


def parser(kind: type[Any] = Request) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="it", exit_on_error=False)
    add_options(made, kind)
    return made


def parse(*arguments: str, kind: type[Any] = Request) -> Any:
    return from_options(kind, parser(kind).parse_args(["--data", "d", *arguments]))


def help_of(kind: type[Any], flag: str) -> str:
    text = parser(kind).format_help()
    lines = text[text.index("\n  " + flag) :].split("\n")[1:]
    last = next((i for i, line in enumerate(lines[1:], 1) if not line.startswith("   ")), len(lines))
    return " ".join(" ".join(lines[:last]).split())


def test_what_is_not_given_is_the_dataclass_s_default() -> None:
    assert parse() == Request(data=[Path("d")])
    assert parse(kind=Longer) == Longer(data=[Path("d")])


def test_what_is_given_is_parsed() -> None:
    given = "--colour green --green-side --seed 4 --num-results 3 --names a b --work w --fast --epochs 9 --rate 0.5"
    assert parse(*given.split()) == Request(
        data=[Path("d")],
        colour=Colour.GREEN,
        side=Colour.GREEN,
        seed=4,
        bins=3,
        names=["a", "b"],
        work=Path("w"),
        fast=True,
        epochs=9,
        rate=0.5,
    )


def test_the_help_tells_the_default_that_is_used_and_follows_it() -> None:
    assert help_of(Request, "--epochs") == "--epochs N at most, 100 % of them (default 3)"
    assert help_of(Longer, "--epochs") == "--epochs N at most, 100 % of them (default 30)"
    assert help_of(Request, "--seed") == "--seed N of chance (default 0)"
    assert help_of(Request, "--rate").endswith("(default 1e-05)")
    assert help_of(Request, "--colour").endswith("of it (default red)")
    assert help_of(Request, "--num-results").endswith("(default 10)")
    assert help_of(Request, "--work").endswith("kept there (default: beside it)")
    for flag in ("--data", "--names", "--fast", "--green-side"):
        assert "default" not in help_of(Request, flag)


def test_fields_are_listed_under_their_class_s_heading() -> None:
    general, _, recipe = parser().format_help().partition("\nrecipe:\n")
    assert "--epochs" in recipe
    assert "--rate" in recipe
    assert "--colour" in general
    assert "--colour" not in recipe
    assert "inner" not in general + recipe


@pytest.mark.parametrize(
    "arguments", ["--colour blue", "--red-side --green-side", "--seed 10", "--epochs 0", "--rate 2", "--inner 3"]
)
def test_what_is_wrong_is_refused(arguments: str) -> None:
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parse(*arguments.split())


def test_a_command_asks_for_the_same_with_defaults_written_out() -> None:
    asked = Request(data=[Path("a folder/my file"), Path("b")], colour=Colour.GREEN, side=Colour.RED, work=Path("w"))
    told = to_command(asked)
    assert told == ("--epochs 3 --rate 1e-05 --data 'my file' b --colour green --red-side --seed 0 --num-results 10")
    again = from_options(Request, parser().parse_args(shlex.split(told)))
    assert again == Request(data=[Path("my file"), Path("b")], colour=Colour.GREEN, side=Colour.RED)
    assert "--data" not in to_command(asked, data=None)
    assert to_command(asked, colour="blue", fast=True).split()[-5:] == ["--seed", "0", "--num-results", "10", "--fast"]


@pytest.mark.parametrize(
    ("text", "parse", "says"),
    [
        ("0", whole(1, 9), "'0' is not a whole number from 1 to 9"),
        ("10", whole(1, 9), "from 1 to 9"),
        ("1.5", whole(1, 9), "not a whole number"),
        ("-1", number(), "'-1' is not a number of 0 or more"),
        ("inf", number(), "'inf' is not a number of 0 or more"),
        ("nan", number(), "'nan' is not a number"),
        ("x", number(), "'x' is not a number"),
        ("1.1", number(0, 1), "'1.1' is not a number from 0 to 1"),
        ("0", number(0, 0.5, above=True), "'0' is not a number above 0 and at most 0.5"),
    ],
)
def test_numbers_outside_their_limits_are_told(text: str, parse: Any, says: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=says):
        parse(text)


def test_numbers_at_their_limits_are_taken() -> None:
    assert (whole(1, 9)("1"), whole(1, 9)("9")) == (1, 9)
    assert (number(0, 1)("0"), number(0, 1)("1"), number(0, 0.5, above=True)("0.5"), number()("1e30")) == (
        0,
        1,
        0.5,
        1e30,
    )
