"""A JSON request body whose top-level strings can be replaced without touching anything else of it.

Serialising anew would change what only looks the same: big numbers, escapes, the order of keys, spaces. So the top
level is read with the standard library's scanner, which says where each value begins and ends, and a new one is spliced
in.
"""

from __future__ import annotations

import json
import re
from typing import Any

from routing_gateway.errors import GatewayError

_SPACE = re.compile(r"[ \t\n\r]*")
_read_value = json.JSONDecoder().raw_decode


class JsonBody:
    """A parsed request body: `fields` are the top level's, as `json.loads` would give them.

    Args:
        raw: The body as it came, UTF-8.

    Raises:
        GatewayError: 400; it is no JSON object. The message never quotes the body.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.fields: dict[str, Any] = {}
        self._spans: list[tuple[str, int, int]] = []
        try:
            self._text = raw.decode()
        except UnicodeDecodeError as error:
            raise _no_json(f"it is no UTF-8 at byte {error.start}") from None
        try:
            self._read()
        except ValueError:
            # Of the position only; the scanner's own words may quote the body.
            raise _no_json("check its syntax") from None
        except RecursionError:
            raise _no_json("it is nested too deeply") from None

    def replaced(self, key: str, value: str) -> bytes:
        """The body with `value` under the top level's `key`, wherever that occurs, and every other byte as it came."""
        new = json.dumps(value)
        pieces, end = [], 0
        for name, start, stop in self._spans:
            if name == key:
                pieces += [self._text[end:start], new]
                end = stop
        pieces.append(self._text[end:])
        return "".join(pieces).encode()

    def _read(self) -> None:
        text = self._text
        at = _skip(text, 1 if text.startswith("\ufeff") else 0)
        if text[at : at + 1] != "{":
            raise ValueError
        at = _skip(text, at + 1)
        if text[at : at + 1] == "}":
            at += 1
        else:
            at = self._members(at)
        if _skip(text, at) != len(text):
            raise ValueError

    def _members(self, at: int) -> int:
        """Read `"key": value` pairs from `at` on. Returns the place after the closing brace."""
        text = self._text
        while True:
            if text[at : at + 1] != '"':
                raise ValueError
            key, at = _read_value(text, at)
            at = _skip(text, at)
            if text[at : at + 1] != ":":
                raise ValueError
            start = _skip(text, at + 1)
            self.fields[key], stop = _read_value(text, start)
            self._spans.append((key, start, stop))
            at = _skip(text, stop)
            if text[at : at + 1] == "}":
                return at + 1
            if text[at : at + 1] != ",":
                raise ValueError
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _no_json(why: str) -> GatewayError:
    return GatewayError(400, f"the request body is not a JSON object: {why}", code="invalid_json")
