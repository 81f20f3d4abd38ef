"""Make docs/configuration.md from the dataclasses of the configuration, or check that it is up to date.

Usage: python scripts/configuration.py generate|check

A section's text and example are its dataclass's docstring. A key's meaning is the string below its field. A number's
range is the last sentence of that string: `From 1 to 256.`, `At least 0 seconds.`, `Above 0, at most 10 seconds.`, or
`Any whole number.`
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from routing_client import endpoints

from routing_service import asks_config, config
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.embedders.registry import EMBEDDERS
from routing_service.models import ModelPair
from routing_service.plugins import Plugins
from routing_service.routers.registry import ROUTERS
from routing_service.yaml_sections import Section

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "configuration.md"
INTRODUCTION = """\
<!-- Made by `make docs` (scripts/configuration.py) from comments in the source. Do not edit. -->

# Configuration

`routing-service serve --config routing.yaml` reads a YAML file. Every key is optional unless its default says
"required". Relative paths start at the file's folder. An unknown key is refused, with its line and the nearest key.
`routing-service check-config routing.yaml` checks a file and every artifact that it names.
"""
GATEWAY = """\
## The gateway's file

`routing-gateway --config endpoints.yaml` and `RoutedOpenAI(endpoints="endpoints.yaml")` read this file. Command-line
options override it. [gateway.md](gateway.md) explains how it is used.
"""
RANGE = re.compile(
    r"(?:From (?P<low>[\d.]+) to (?P<high>[\d.]+)|At least (?P<least>[\d.]+)|Above (?P<above>[\d.]+)"
    r"(?:, at most (?P<most>[\d.]+))?|(?P<any>Any whole number))(?: (?P<unit>[a-z]+))?\.$"
)
Dataclass = type[Any]


@dataclass(frozen=True)
class Key:
    """One key of a section, as a row of its table."""

    name: str
    annotation: Any
    default: str
    meaning: str
    """Without the sentence that gives the range."""
    range: re.Match[str] | None
    """A match of `RANGE`. None if the key is not a number."""


def keys(kind: Dataclass, without: Dataclass | None = None) -> Iterator[Key]:
    """The documented keys of a dataclass, without those of the dataclass `without`.

    Raises:
        SystemExit: a field has no string below it, or a number's does not end with its range.
    """
    comments = {name: text for base in reversed(kind.__mro__) for name, text in _comments(base)}
    annotations = typing.get_type_hints(kind)
    inherited = {field.name for field in dataclasses.fields(without)} if without else set()
    for field in dataclasses.fields(kind):
        if field.name in inherited or annotations[field.name] is Section or field.name.startswith("_"):
            continue
        if field.name not in comments:
            raise SystemExit(f"{kind.__module__}.{kind.__name__}.{field.name} has no string below it that explains it")
        comment = comments[field.name]
        found = RANGE.search(comment)
        if found is None and {int, float} & set(_parts(annotations[field.name])):
            raise SystemExit(f"{kind.__module__}.{kind.__name__}.{field.name}: its comment must end with the range")
        meaning = comment[: found.start()].strip() if found else comment
        yield Key(field.name, annotations[field.name], _default(field), meaning, found)


def options(plugins: Plugins[Any], name: str) -> Dataclass:
    """The options of a router or embedder type, as it says."""
    kind = plugins.find(name, Section(name, Path(), "", None))
    return typing.cast("Dataclass", kind.options)


def sections() -> Iterator[tuple[str, Dataclass, Dataclass | None]]:
    """Every section: its heading, its dataclass, and a base whose keys are documented elsewhere."""
    yield "## All sections", config.Config, None
    yield "## models", ModelPair, None
    yield "## routers", config.RouterKeys, None
    for plugins, kind, heading in (
        (ROUTERS, config.RouterKeys, "## routers"),
        (EMBEDDERS, config.EmbedderKeys, "## embedders"),
    ):
        if kind is not config.RouterKeys:
            yield heading, kind, None
        for name in sorted(plugins.shipped):
            own = options(plugins, name)
            yield f"#{heading}: {name}", own, SessionConfig if issubclass(own, SessionConfig) else None
    yield "### routers and embedders: how a graph is run", SessionConfig, None
    yield "## policies", config.PolicyConfig, None
    yield "## asks", asks_config.AsksConfig, None
    yield "### asks.rules", asks_config.RuleConfig, None
    yield "## fallback", config.FallbackConfig, None
    yield "## cache", config.CacheConfig, None
    yield "## server", config.ServerConfig, None
    yield "### server.limits", config.LimitsConfig, None
    yield "### server.shutdown", config.ShutdownConfig, None
    yield "## observability", config.ObservabilityConfig, None
    yield "### observability.digest_key", config.DigestKeyConfig, None


def gateway_sections() -> Iterator[tuple[str, Dataclass]]:
    """The sections of the gateway's file."""
    yield "### All keys", endpoints.Endpoints
    yield "### models.NAME and default", endpoints.Endpoint


def split_docstring(kind: Dataclass) -> tuple[str, str]:
    """The text and the example (YAML) of a dataclass's docstring, without its errors."""
    text, _, example = inspect.cleandoc(kind.__doc__ or "").partition("\nExample:\n")
    example, _, _ = example.partition("\n\n")
    return text.partition("\nRaises:\n")[0].strip(), textwrap.dedent(example).strip()


def render() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for heading, kind, without in sections():
        note = (
            "It also has the keys of [how a graph is run](#routers-and-embedders-how-a-graph-is-run).\n"
            if without
            else ""
        )
        parts.append(_section(heading, kind, without, note))
    parts.append(GATEWAY)
    parts.extend(_section(heading, kind, None, "") for heading, kind in gateway_sections())
    return "\n".join(parts)


def _section(heading: str, kind: Dataclass, without: Dataclass | None, note: str) -> str:
    text, example = split_docstring(kind)
    if not example:
        raise SystemExit(f"{kind.__module__}.{kind.__name__}: its docstring has no example")
    rows = [
        f"| `{key.name}` | {_type(key.annotation)} | {_range(key)} | {key.default} | {_cell(key.meaning)} |\n"
        for key in keys(kind, without)
    ]
    table = "| key | type | range | default | meaning |\n| --- | --- | --- | --- | --- |\n" + "".join(rows)
    return "\n".join(filter(None, [f"{heading}\n", f"{text}\n", note, f"```yaml\n{example}\n```\n", table]))


def _comments(kind: type) -> Iterator[tuple[str, str]]:
    """Each field that a class itself declares, with the string below it."""
    if not dataclasses.is_dataclass(kind):
        return
    body = typing.cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]).body
    for field, below in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            yield field.target.id, " ".join(below.value.value.split())


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, without None; else the annotation itself."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return tuple(part for part in typing.get_args(annotation) if part is not type(None))
    return (annotation,)


def _type(annotation: Any) -> str:
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
    parts = _parts(annotation)
    if len(parts) > 1:
        return " or ".join(_type(part) for part in parts)
    (part,) = parts
    origin, arguments = typing.get_origin(part), typing.get_args(part)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin in (dict, Mapping):
        nested = typing.get_origin(arguments[1]) in (dict, Mapping)
        return "section by name" if nested else f"{_type(arguments[1])} by name"
    return "section" if dataclasses.is_dataclass(part) else names[part]


def _range(key: Key) -> str:
    if key.range is None or key.range["any"]:
        return ""
    found = key.range
    if found["low"]:
        text = f"{found['low']} to {found['high']}"
    elif found["least"]:
        text = f"{found['least']} or more"
    else:
        text = f"above {found['above']}" + (f", at most {found['most']}" if found["most"] else "")
    return f"{text} {found['unit']}" if found["unit"] else text


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return "required"
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is None or value == {} or dataclasses.is_dataclass(value):
        return ""
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Run the command in the arguments."""
    if arguments == ["generate"]:
        TARGET.write_text(render(), encoding="utf-8")
        return 0
    if arguments == ["check"]:
        if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == render():
            return 0
        print("docs/configuration.md is out of date; run `make docs` and commit what it changes", file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
