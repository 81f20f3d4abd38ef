"""JSON request bodies: small ones are parsed whole, and of large ones what is asked for is looked up."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from routing_gateway.bodies import scan
from routing_gateway.bodies.body import Body
from routing_gateway.bodies.large import Wanted, read_wanted
from routing_gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping

WHOLE_BYTES = 1 << 16
"""So much is parsed at once, in 5 ms at most; of larger bodies only what is asked for."""
_SPACE = re.compile(r"[ \t\n\r]*")
_BOM = b"\xef\xbb\xbf"
_read_value = json.JSONDecoder().raw_decode


def parsed(raw: bytes) -> Body:
    """Parse all of a body that is not large.

    Raises:
        GatewayError: 400; it is no JSON object. The message never quotes the body.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise no_json(f"it is no UTF-8 at byte {error.start}") from None
    try:
        fields, spans = _members(text)
    except ValueError:
        # Of the position only; the scanner's own words may quote the body.
        raise no_json("check its syntax") from None
    except RecursionError:
        raise no_json("it is nested too deeply") from None
    places = [span for name, span in spans if name == "model"]
    return Body(raw, fields, places if text.isascii() else [_in_bytes(text, span) for span in places], _encoded)


def parse_steps(raw: bytes, wanted: Mapping[str, Wanted]) -> scan.Steps[Body]:
    """Parse what is wanted of a large body, in steps.

    Raises:
        GatewayError: As `parsed`.
    """
    try:
        fields, places = yield from read_wanted(raw, len(_BOM) if raw.startswith(_BOM) else 0, wanted)
    except (ValueError, RecursionError):
        raise no_json("check its syntax") from None
    return Body(raw, fields, places, _encoded)


def no_json(why: str) -> GatewayError:
    """The error for a body that is no JSON object."""
    return GatewayError(400, f"the request body is not a JSON object: {why}", code="invalid_json")


def _encoded(value: str) -> bytes:
    return json.dumps(value).encode()


def _in_bytes(text: str, span: scan.Span) -> scan.Span:
    start = len(text[: span.start].encode())
    return scan.Span(start, start + len(text[span.start : span.stop].encode()))


def _members(text: str) -> tuple[dict[str, Any], list[tuple[str, scan.Span]]]:
    """The top level's fields, and where their values are, in characters."""
    at = _skip(text, 1 if text.startswith("\ufeff") else 0)
    if text[at : at + 1] != "{":
        raise ValueError
    fields: dict[str, Any] = {}
    spans: list[tuple[str, scan.Span]] = []
    at = _skip(text, at + 1)
    more = text[at : at + 1] != "}"
    while more:
        if text[at : at + 1] != '"':
            raise ValueError
        key, at = _read_value(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError
        start = _skip(text, at + 1)
        fields[key], stop = _read_value(text, start)
        spans.append((key, scan.Span(start, stop)))
        at = _skip(text, stop)
        more = text[at : at + 1] == ","
        at = _skip(text, at + 1) if more else at
    if text[at : at + 1] != "}" or _skip(text, at + 1) != len(text):
        raise ValueError
    return fields, spans


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
