"""Checking an ONNX graph before ONNX Runtime opens it: no loops, no foreign operators, no data from elsewhere.

Only the structure of the file is read (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); weights are skipped.
"""

from __future__ import annotations

import math
import mmap
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from routing_service import protobuf_wire as wire
from routing_service.artifacts.reading import open_file
from routing_service.errors import ArtifactError

# A protobuf message cannot be larger.
MAX_GRAPH_BYTES = 2**31 - 1
# A graph of a language model has some ten thousand.
MAX_FIELDS = 250_000
_MAX_DEPTH = 32
# Operators that repeat or choose parts of a graph, or read files, by name in any domain. Others with a graph inside are
# known by it.
_REFUSED = frozenset((b"If", b"Loop", b"Scan", b"SequenceMap", b"EPContext"))
_DOMAINS = frozenset((b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"))
_MAX_DIMENSIONS = 32
# The densest element type, of two bits, has so many elements a byte.
_ELEMENTS_PER_BYTE = 4

# The messages in each message, by field number.
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor", 6: "graph", 11: "graph"},
}
# What none of our graphs has, and what can hide operators and data, or be far larger than it looks.
_NEVER: Mapping[tuple[str, int], str] = {
    ("model", 20): "training graphs",
    ("model", 25): "functions of its own",
    ("graph", 15): "sparse tensors",
    ("attribute", 22): "sparse tensors",
    ("attribute", 23): "sparse tensors",
}
_OPERATOR, _DOMAIN = 4, 7
_DIMENSIONS, _EXTERNAL_DATA = 1, 13
_KEY, _VALUE = 1, 2


def check_graph(path: Path, allowed: Collection[str] = ()) -> None:
    """Check a graph's operators and where its data is.

    Args:
        path: the graph. Its data may also be in files beside it, of plain names.
        allowed: the operators with a graph inside, such as `Scan`, that the router's type needs.

    Raises:
        ArtifactError: it is no graph, has an operator or another part that the type doesn't need, or wants data from
            elsewhere than a file beside it, or more than is there.
    """
    try:
        with open_file(path, MAX_GRAPH_BYTES) as file:
            if not os.fstat(file.fileno()).st_size:
                raise ArtifactError(path, "cannot be loaded: it is empty; restore it, or make the artifact again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
                _Check(path, raw, frozenset(map(str.encode, allowed))).message("model", 0, len(raw), 0)
    except OSError as error:
        raise ArtifactError(path, f"cannot be read: {error.strerror}; restore the artifact") from error
    except wire.MalformedError as error:
        problem = f"cannot be loaded: it is no ONNX graph, as {error}; restore it, or make the artifact again"
        raise ArtifactError(path, problem) from error


class _Check:
    """The check of one file."""

    def __init__(self, path: Path, raw: mmap.mmap, allowed: frozenset[bytes]) -> None:
        self._path, self._raw, self._allowed, self._left = path, raw, allowed, MAX_FIELDS

    def message(self, kind: str, start: int, end: int, depth: int) -> None:
        """Check a message and those inside it."""
        if depth > _MAX_DEPTH:
            raise wire.MalformedError(f"it is nested more than {_MAX_DEPTH} deep")
        if kind == "tensor":
            self._tensor(start, end)
            return
        operators, has_graph, inside = [], False, _INSIDE[kind]
        for field in self._fields(start, end):
            if (kind, field.number) in _NEVER:
                raise self._error(f"has {_NEVER[kind, field.number]}, which no type of router needs")
            if field.wire_type != wire.LEN:
                continue
            if kind == "node" and field.number == _OPERATOR:
                operators.append(self._raw[field.start : field.end])
            elif kind == "node" and field.number == _DOMAIN:
                if (domain := self._raw[field.start : field.end]) not in _DOMAINS:
                    raise self._error(f"has an operator of the unknown domain {_shown(domain)}")
            elif child := inside.get(field.number):
                has_graph = has_graph or (kind == "node" and self._holds_graph(field))
                self.message(child, field.start, field.end, depth + 1)
        for operator in operators or ([b""] if has_graph else []):
            if (has_graph or operator in _REFUSED) and operator not in self._allowed:
                raise self._error(f"has the operator {_shown(operator)}, which this type of router doesn't need")

    def _holds_graph(self, attribute: wire.Field) -> bool:
        graphs = [number for number, kind in _INSIDE["attribute"].items() if kind == "graph"]
        return any(field.number in graphs for field in self._fields(attribute.start, attribute.end))

    def _fields(self, start: int, end: int) -> list[wire.Field]:
        found = []
        for field in wire.fields(self._raw, start, end):
            self._left -= 1
            if self._left < 0:
                raise wire.MalformedError(f"it has more than {MAX_FIELDS:,} parts")
            found.append(field)
        return found

    def _tensor(self, start: int, end: int) -> None:
        """Check that there is data for the tensor's elements, here or in a file beside the graph."""
        dimensions: list[int] = []
        places: dict[bytes, bytes] = {}
        for field in self._fields(start, end):
            if field.number == _DIMENSIONS:
                at = field.start
                while at < field.end:
                    dimension, at = wire.varint(self._raw, at)
                    dimensions.append(dimension)
                    if len(dimensions) > _MAX_DIMENSIONS:
                        raise wire.MalformedError(f"a tensor has more than {_MAX_DIMENSIONS} dimensions")
            elif field.number == _EXTERNAL_DATA and field.wire_type == wire.LEN:
                key, value = b"", b""
                for entry in self._fields(field.start, field.end):
                    text = self._raw[entry.start : entry.end]
                    key, value = (text if entry.number == _KEY else key), (text if entry.number == _VALUE else value)
                if key in places:
                    raise self._error(f"has a tensor that says the {_shown(key)} of its data twice")
                places[key] = value
        size = end - start + (self._external(places) if places else 0)
        if math.prod(dimensions) > _ELEMENTS_PER_BYTE * size:
            raise self._error(f"has a tensor of {math.prod(dimensions):,} elements, and data for fewer")

    def _external(self, places: Mapping[bytes, bytes]) -> int:
        """How many bytes of a file beside the graph are a tensor's."""
        location = places.get(b"location", b"")
        if not location or location.startswith(b".") or any(mark in location for mark in (b"/", b"\\", b"\0")):
            raise self._error(f"reads data from {_shown(location)}; it may only read files beside it")
        data = self._path.parent / os.fsdecode(location)
        try:
            status = data.stat()
        except OSError as error:
            raise self._error(f"reads data from {_shown(location)}, which cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise self._error(f"reads data from {_shown(location)}, which is not a file")
        offset = self._number(places, b"offset", 0)
        length = self._number(places, b"length", max(0, status.st_size - offset))
        if offset + length > status.st_size:
            problem = f"reads {length:,} bytes at {offset:,} of {_shown(location)}, which has {status.st_size:,}"
            raise self._error(problem)
        return length

    def _number(self, places: Mapping[bytes, bytes], key: bytes, default: int) -> int:
        value = places.get(key)
        if value is None:
            return default
        if not value.isdigit() or len(value) > len(str(2**63)):
            raise self._error(f"has a tensor whose data has the {_shown(key)} {_shown(value)}")
        return int(value)

    def _error(self, problem: str) -> ArtifactError:
        return ArtifactError(self._path, f"{problem}; export the artifact again")


def _shown(text: bytes) -> str:
    return repr(text[:80].decode("utf-8", "replace"))
