"""Options of a command that are fields of a dataclass: their help and their default stand there and nowhere else.

    @dataclass(frozen=True, kw_only=True)
    class Request:
        data: Sequence[Path] = field(metadata=option("what is learnt from", parse=Path, metavar="F", many=True))
        seed: int = field(default=0, metadata=option("random seed", parse=whole(0, 9), metavar="N"))

`add_options(parser, Request)` adds `--data F [F ...]` and `--seed N`, whose help ends in "(default 0)".
`from_options(Request, parser.parse_args())` is the request, and `to_command` the options that ask for it again. A field
without an `option` is none. A subclass may give a field another default and leave the rest as it is. The `option_group`
of a class is the heading under which the help lists its own fields.
"""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

_KEY = "option"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option:
    """How a field is told on a command line.

    Args:
        help: what it is for, without its default.
        parse: makes its value of a text; none for flags and `choices`.
        metavar: what stands for its value in the help.
        many: takes several values.
        choices: the values that it may have: texts, or an Enum of texts.
        flags: the help of a flag by the value that it gives, of which one may be set; instead of an option of its own.
        name: what it is called, if not as the field.
        shown: what the help says of the default, if not the default itself; or what gives it of the dataclass.
        repeated: whether it is part of a command that repeats the work; not if it only says how that is run.
    """

    help: str = ""
    parse: Callable[[str], Any] | None = None
    metavar: str | None = None
    many: bool = False
    choices: type[Enum] | Sequence[str] | None = None
    flags: Mapping[Enum, str] | None = None
    name: str | None = None
    shown: str | Callable[[Any], str] | None = None
    repeated: bool = True


def option(help: str = "", **settings: Any) -> dict[str, Option]:  # noqa: A002 - as argparse calls it
    """The metadata of a field that is an option; for the arguments see `Option`."""
    return {_KEY: Option(help, **settings)}


@dataclass(frozen=True, slots=True)
class _Described:
    kind: type[Any]
    field: Field[Any]
    option: Option
    group: str | None

    @property
    def flag(self) -> str:
        return _flag(self.option.name or self.field.name)

    @property
    def required(self) -> bool:
        return self.field.default is MISSING and self.field.default_factory is MISSING

    @property
    def help(self) -> str:
        """With the default, unless it is nothing."""
        text, shown = self.option.help, self.option.shown
        if shown is not None:
            text += f" (default: {shown(self.kind) if callable(shown) else shown})"
        elif not (self.required or self.field.default is None or self.field.default == ()):
            text += f" (default {_text(self.field.default)})"
        return text.replace("%", "%%")  # which argparse would fill in


def _described(kind: type[Any]) -> Iterator[_Described]:
    """The fields of a dataclass that are options, in order."""
    for field in fields(kind):
        for base in kind.__mro__:
            # Where a subclass changes a default, what was said of the field before still holds.
            declared = vars(base).get("__dataclass_fields__", {}).get(field.name)
            if field.name in vars(base).get("__annotations__", {}) and _KEY in declared.metadata:
                yield _Described(kind, field, declared.metadata[_KEY], vars(base).get("option_group"))
                break


def add_options(parser: argparse.ArgumentParser, kind: type[Any]) -> None:
    """Add an option for each field of a dataclass that is one. What is not given stays out of the namespace."""
    groups: dict[str | None, Any] = {None: parser}
    for each in _described(kind):
        if each.group not in groups:
            groups[each.group] = parser.add_argument_group(each.group)
        group, its = groups[each.group], each.option
        given: dict[str, Any] = {"dest": each.field.name, "default": argparse.SUPPRESS}
        if its.flags is not None:
            exclusive = group.add_mutually_exclusive_group()
            for value, text in its.flags.items():
                exclusive.add_argument(_flag_of(each, value), action="store_const", const=value, help=text, **given)
        elif each.field.default is False:
            group.add_argument(each.flag, action="store_true", help=its.help, **given)
        else:
            given |= {"type": its.parse, "metavar": its.metavar} if its.choices is None else {"choices": _texts(its)}
            given |= {"nargs": "+"} if its.many else {}
            group.add_argument(each.flag, required=each.required, help=each.help, **given)


def from_options(kind: type[T], options: argparse.Namespace, **more: Any) -> T:
    """The dataclass with the values that were given, its defaults for the rest, and `more` for other fields."""
    given = dict(more)
    for each in _described(kind):
        name, choices = each.field.name, each.option.choices
        if hasattr(options, name):
            value = getattr(options, name)
            given[name] = choices(value) if isinstance(choices, type) else value
    return kind(**given)


def to_command(request: Any, **instead: Any) -> str:
    """The options that ask for the same, defaults written out, as a shell takes them.

    Args:
        request: the dataclass. Of paths only the names are told.
        instead: other values of some fields; None leaves the option out.
    """
    parts = []
    for each in _described(type(request)):
        its, value = each.option, instead.get(each.field.name, getattr(request, each.field.name))
        if not its.repeated or value is None or value is False:
            continue
        if its.flags is not None:
            parts += [_flag_of(each, value)] if value in its.flags else []
        elif value is True:
            parts.append(each.flag)
        elif values := list(value) if its.many and not isinstance(value, str) else [value]:
            parts += [each.flag, *(shlex.quote(_text(each)) for each in values)]
    return " ".join(parts)


def whole(least: int, most: int) -> Callable[[str], int]:
    """Parses whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def number(least: float = 0.0, most: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    """Parses finite numbers from `least` to `most`; `above` leaves `least` itself out."""
    start = f"above {least:g}" if above else f"of {least:g} or more" if most == math.inf else f"from {least:g}"
    limits = start if most == math.inf else f"{start} {'and at most' if above else 'to'} {most:g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value) or (above and value == least):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {limits}")
        return value

    return parse


# Of how much there is, and of a seed.
COUNT = whole(1, 1_000_000)
SEED = whole(0, 2**32 - 1)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _flag_of(each: _Described, value: Enum) -> str:
    return _flag(f"{value.value}_{each.field.name}")


def _texts(its: Option) -> list[str]:
    return [choice.value if isinstance(choice, Enum) else choice for choice in its.choices or ()]


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Path):
        return value.name
    return f"{value:g}" if isinstance(value, float) else str(value)
