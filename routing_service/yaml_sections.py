"""YAML to frozen dataclasses, with errors that say file, line, key and what to write instead.

A section is a dataclass; its fields are the known keys, its annotations the types, its `__post_init__` the validation
(a `ValueError` says what is wrong). Supported annotations: bool, int, float, str and unions of these, Path, a Literal,
another dataclass, `dict[str, X]`, `tuple[X, ...]`, `X | None`, and `Section` for a part that is read later. For a
mapping, a key without a value (`key:` alone) is an empty one.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from routing_service.errors import ConfigError, nearest

T = TypeVar("T")

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Reads `1e-3` as a number, as in YAML 1.2 and JSON; for PyYAML's YAML 1.1 it is text."""


_Loader.add_implicit_resolver(
    _TAG + "float", re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$", re.ASCII), list("-+.0123456789")
)


@dataclass(frozen=True)
class Section:
    """A part of a YAML file that has not been read into its dataclass yet.

    Relative paths start at the folder `base`; `where` is the section's key, with dots.
    """

    source: str
    base: Path
    where: str
    node: yaml.Node | None

    def parse(self, kind: type[T], *, ignore: frozenset[str] = frozenset()) -> T:
        """Read the section into the dataclass `kind`; keys in `ignore` are left out.

        Raises:
            ConfigError: an unknown key, a wrong type, a missing key or a value that `kind` refuses.
        """
        return _Reader(self.source, self.base).dataclass(kind, self.node, self.where, ignore)

    def parse_only(self, kind: type[T]) -> T:
        """Read only the keys of the dataclass `kind`; a later `parse` reads the others."""
        known = {f.name for f in fields(kind)}  # type: ignore[arg-type] # T is a dataclass, which typing cannot say
        return self.parse(kind, ignore=frozenset(name for name, _, _ in _pairs(self.node) if name not in known))

    def content(self) -> dict[str, Any]:
        """Its keys and values: mappings, lists, and single values as they are written."""
        found = _written(self.node)
        return found if isinstance(found, dict) else {}

    def error(self, problem: str, *keys: str | int) -> ConfigError:
        """An error at this section, or at the value under its keys, from the first downwards; a list's are places."""
        node, where = self.node, self.where
        for key in keys:
            if isinstance(key, int):
                items = node.value if isinstance(node, yaml.SequenceNode) else []
                node, where = items[key] if key < len(items) else node, f"{where}[{key}]"
                continue
            node = next((value for name, _, value in _pairs(node) if name == key), node)
            where = _join(where, key)
        return ConfigError(self.source, where, problem, _line(node))

    def __eq__(self, other: object) -> bool:
        """Sections are equal when their content is equal, at any place."""
        return isinstance(other, Section) and _plain(self.node) == _plain(other.node)

    def __hash__(self) -> int:
        return hash(_plain(self.node))


def read_yaml(text: str, source: str, base: Path) -> Section:
    """Parse a YAML document into a section. `source` is its name in errors; an empty document is an empty section.

    Raises:
        ConfigError: it is not YAML, or not a mapping.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        problem = f"is not valid YAML: it has the character {chr(error.character)!r}"
        raise ConfigError(source, "", problem, text.count("\n", 0, error.position) + 1) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigError(source, "", f"is not valid YAML: {error.problem}", mark.line + 1 if mark else None) from error
    except RecursionError as error:
        raise ConfigError(source, "", "is nested too deeply") from error
    if not (node is None or _is_null(node) or _is_mapping(node)):
        raise ConfigError(source, "", "must be a mapping of sections, as in `routers: {...}`", _line(node))
    _merge(node, source, {})
    return Section(source, base, "", node)


def _merge(node: yaml.Node | None, source: str, state: dict[int, bool]) -> None:
    """Put the keys that `<<: *anchor` stands for into their mappings, below a node; a mapping's own go first.

    `state` has, by identity, the nodes that are being merged (False) or are done (True): aliases repeat a node.

    Raises:
        ConfigError: what is merged is not a mapping, or holds itself.
    """
    if node is None or isinstance(node, yaml.ScalarNode) or state.get(id(node)):
        return
    state[id(node)] = False
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            if id(value) not in state:
                _merge(value, source, state)
    elif isinstance(node, yaml.MappingNode):
        own = [(key, value) for key, value in node.value if key.tag != _TAG + "merge"]
        names = {str(key.value) for key, _ in own}
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for key, value in node.value:
            if key.tag != _TAG + "merge":
                if id(value) not in state:
                    _merge(value, source, state)
                continue
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(part, yaml.MappingNode) or state.get(id(part)) is False:
                    raise ConfigError(source, "<<", "must name another mapping, or a list of some", _line(key))
                _merge(part, source, state)
                for pair in part.value:
                    if str(pair[0].value) not in names:
                        names.add(str(pair[0].value))
                        merged.append(pair)
        node.value = own + merged
    state[id(node)] = True


def _line(node: yaml.Node | None) -> int | None:
    return node.start_mark.line + 1 if node is not None and node.start_mark else None


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where and key else where or key


def _pairs(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key, value


def _plain(node: yaml.Node | None) -> Hashable:
    """A node's content, without its place and the order of its keys."""
    if node is None:
        return None
    if isinstance(node, yaml.MappingNode):
        return node.tag, frozenset((name, _plain(value)) for name, _, value in _pairs(node))
    if isinstance(node, yaml.SequenceNode):
        return node.tag, tuple(_plain(value) for value in node.value)
    return node.tag, node.value


def _written(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {name: _written(value) for name, _, value in _pairs(node)}
    if isinstance(node, yaml.SequenceNode):
        return [_written(value) for value in node.value]
    return None if node is None else node.value


class _Reader:
    """Turns nodes into values of annotated types."""

    def __init__(self, source: str, base: Path) -> None:
        self._source, self._base = source, base

    def fail(self, node: yaml.Node | None, where: str, problem: str) -> ConfigError:
        return ConfigError(self._source, where, problem, _line(node))

    def dataclass(self, kind: type[T], node: yaml.Node | None, where: str, ignore: frozenset[str]) -> T:
        if not (node is None or _is_null(node) or _is_mapping(node)):
            raise self.fail(node, where, f"must be a mapping of keys, not {_describe(node)}")
        hints = typing.get_type_hints(kind)
        known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type] # T is a dataclass, which typing cannot say
        values: dict[str, Any] = {}
        for name, key, value in self._unique_pairs(node, where):
            if name in ignore:
                continue
            if name not in known:
                guess = nearest(name, known)
                hint = f"did you mean {guess!r}?" if guess else f"known here: {', '.join(sorted({*known, *ignore}))}"
                raise self.fail(key, _join(where, name), f"is not a known key; {hint}")
            values[name] = self.value(hints[name], value, _join(where, name))
        for name, f in known.items():
            if name not in values and f.default is MISSING and f.default_factory is MISSING:
                guess = nearest(name, ignore)
                hint = f"; is {guess!r} meant to be it?" if guess else ""
                raise self.fail(node, where, f"lacks the key {name!r}{hint}")
        try:
            return kind(**values)
        except ValueError as error:
            raise self.fail(node, where, str(error)) from error

    def value(self, annotation: Any, node: yaml.Node, where: str) -> Any:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in (types.UnionType, typing.Union):
            if type(None) in arguments and _is_null(node):
                return None
            kinds = tuple(a for a in arguments if a is not type(None))
            return self.value(kinds[0], node, where) if len(kinds) == 1 else self._scalar(kinds, node, where)
        if annotation is Section:
            return Section(self._source, self._base, where, node)
        if is_dataclass(annotation):
            return self.dataclass(typing.cast("type[Any]", annotation), node, where, frozenset())
        if origin in (dict, Mapping):
            return self._mapping(arguments[1], node, where)
        if origin is tuple:
            return self._sequence(arguments[0], node, where)
        if origin is Literal:
            return self._literal(arguments, node, where)
        return self._scalar((annotation,), node, where)

    def _mapping(self, kind: Any, node: yaml.Node, where: str) -> dict[str, Any]:
        if not (_is_null(node) or _is_mapping(node)):
            raise self.fail(node, where, f"must be a mapping from names, not {_describe(node)}")
        return {name: self.value(kind, value, _join(where, name)) for name, _, value in self._unique_pairs(node, where)}

    def _sequence(self, kind: Any, node: yaml.Node, where: str) -> tuple[Any, ...]:
        if not (isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq"):
            raise self.fail(node, where, f"must be a list, not {_describe(node)}")
        return tuple(self.value(kind, value, f"{where}[{i}]") for i, value in enumerate(node.value))

    def _literal(self, known: tuple[str, ...], node: yaml.Node, where: str) -> Any:
        value = self._constructed(node, where)
        if value not in known:
            guess = nearest(str(value), known)
            hint = f"; did you mean {guess!r}?" if guess else ""
            raise self.fail(node, where, f"must be one of {', '.join(known)}, not {value!r}{hint}")
        return value

    def _scalar(self, kinds: tuple[type, ...], node: yaml.Node, where: str) -> Any:
        value = self._constructed(node, where)
        try:
            if type(value) is int and int not in kinds and float in kinds:
                value = float(value)
            elif type(value) is str and Path in kinds:
                return self._base / Path(value).expanduser()
        except (OverflowError, RuntimeError) as error:
            raise self.fail(node, where, f"cannot be used: {error}") from error
        if type(value) not in kinds:
            names = " or ".join("text" if kind in (str, Path) else kind.__name__ for kind in kinds)
            raise self.fail(node, where, f"must be {names}, not {_describe(node)}")
        return value

    def _constructed(self, node: yaml.Node, where: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self.fail(node, where, f"must be a single value, not {_describe(node)}")
        try:
            return _Loader("").construct_object(node)
        except Exception as error:  # PyYAML raises any error when a value does not fit its tag
            raise self.fail(node, where, f"cannot be read: {_describe(node)}") from error

    def _unique_pairs(self, node: yaml.Node | None, where: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        seen: dict[str, int | None] = {}
        for name, key, value in _pairs(node):
            if not isinstance(key, yaml.ScalarNode):
                raise self.fail(key, where, f"has {_describe(key)} as a key; a key is text")
            if name in seen:
                raise self.fail(key, _join(where, name), f"is given twice; the first is on line {seen[name]}")
            seen[name] = _line(key)
            yield name, key, value


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


def _is_mapping(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map"


def _describe(node: yaml.Node) -> str:
    kind = node.tag.removeprefix(_TAG)
    if isinstance(node, yaml.MappingNode):
        return "a mapping" if kind == "map" else f"a mapping with the tag {kind!r}"
    if isinstance(node, yaml.SequenceNode):
        return "a list" if kind == "seq" else f"a list with the tag {kind!r}"
    return "nothing" if kind == "null" else f"{node.value!r} ({kind})"
