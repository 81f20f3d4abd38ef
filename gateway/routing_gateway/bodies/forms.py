"""Forms, as speech, images and files are sent: where the model's name is in them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_plus

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from routing_gateway.bodies.body import Body
from routing_gateway.bodies.scan import Span
from routing_gateway.errors import GatewayError

if TYPE_CHECKING:
    from routing_gateway.bodies.scan import Steps

_STEP_BYTES = 1 << 14
_MAX_PARTS = 1000
_MAX_NAME_BYTES = 1000
# It logs pieces of the body.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)


def multipart(raw: bytes, content_type: str) -> Steps[Body]:
    """Read a multipart form.

    Raises:
        GatewayError: 400; it is none, it is cut, or it says several names.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _unreadable("it has no boundary")
    reader = _Multipart(boundary)
    for at in range(0, len(raw), _STEP_BYTES):
        reader.write(raw, at)
        yield
    if not reader.is_whole:
        raise _unreadable("its last boundary is missing")
    return _body(raw, reader.found, lambda value: value.decode(), str.encode)


def urlencoded(raw: bytes) -> Steps[Body]:
    """Read a form of `name=value` pairs.

    Raises:
        GatewayError: 400; it says several names.
    """
    found: list[Span] = []
    at = 0
    while at <= len(raw):
        stop = raw.find(b"&", at)
        stop = len(raw) if stop < 0 else stop
        name, equals, _ = raw[at : min(stop, at + _MAX_NAME_BYTES)].partition(b"=")
        if equals and unquote_plus(name.decode("latin-1")) == "model":
            found.append(Span(at + len(name) + 1, stop))
        at = stop + 1
        yield
    return _body(
        raw, found, lambda value: unquote_plus(value.decode(), errors="strict"), lambda name: quote_plus(name).encode()
    )


def _body(raw: bytes, found: list[Span], decode: Any, encode: Any) -> Body:
    if any(span.length > _MAX_NAME_BYTES for span in found):
        raise _unreadable("the model's name is too long")
    try:
        names = {decode(raw[span.start : span.stop]) for span in found}
    except UnicodeDecodeError:
        raise _unreadable("the model's name is no UTF-8") from None
    if len(names) > 1:
        raise _unreadable("it names several models")
    return Body(raw, {"model": names.pop()} if names else {}, found, encode)


class _Multipart:
    """Finds the values of the fields called `model`."""

    def __init__(self, boundary: bytes) -> None:
        self.found: list[Span] = []
        self.is_whole = False
        self._parts = 0
        self._base = 0
        self._piece = b""
        self._name, self._value = b"", b""
        self._is_model = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._content,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise _unreadable("its boundary is too long") from None

    def write(self, raw: bytes, at: int) -> None:
        self._base, self._piece = at, raw[at : at + _STEP_BYTES]
        try:
            self._parser.write(self._piece)
        except FormParserError:
            raise _unreadable("check its parts") from None

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise _unreadable(f"it has more than {_MAX_PARTS} parts")
        self._is_model = False

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._is_model = parse_options_header(self._value.decode("latin-1"))[1].get(b"name") == b"model"
        self._name, self._value = b"", b""

    def _content(self) -> None:
        if self._is_model:
            self.found.append(Span(-1, -1))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_model:
            return
        before = self.found.pop()
        if before.start >= 0:
            self.found.append(Span(before.start, before.stop + end - start))
        elif data is self._piece:
            self.found.append(Span(self._base + start, self._base + end))
        else:
            raise _unreadable("the model's name looks like a boundary")

    def _end(self) -> None:
        self.is_whole = True
        self.found = [span for span in self.found if span.start >= 0]  # the others are empty


def _unreadable(why: str) -> GatewayError:
    return GatewayError(400, f"the form cannot be read: {why}", code="invalid_form")
