"""Content codings of request bodies: gzip, deflate, br and zstd, undone in steps and within limits.

A few hundred bytes can stand for gigabytes, so that both the size and its ratio to what was sent are bounded, and
nothing beyond is ever made.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from routing_gateway.errors import GatewayError

if TYPE_CHECKING:
    from routing_gateway.bodies.scan import Steps

MAX_RATIO = 100
"""Chats of all one word reach 40; nothing that is meant to be read reaches this."""
_FREE_BYTES = 1 << 20
"""Smaller bodies may have any ratio."""
_MAX_CODINGS = 3
_STEP_BYTES = 1 << 18
_MAX_WINDOW_LOG = 23
"""8 MiB, the most that RFC 9659 lets a sender ask for."""


def decode(body: bytes, codings: list[bytes], limit: int) -> Steps[bytes]:
    """The body as it was before it was encoded.

    Args:
        body: As it came.
        codings: In the order in which they were applied, in lower case.
        limit: The most bytes that may come out.

    Raises:
        GatewayError: 415 for a coding that is not known, 413 beyond a limit, 400 when it is not encoded so.
    """
    applied = [coding.removeprefix(b"x-") for coding in codings if coding != b"identity"]
    for coding in applied:
        if coding not in _DECODERS or len(applied) > _MAX_CODINGS:
            raise GatewayError(
                415,
                "a request body may be encoded as gzip, deflate, br or zstd",
                code="unsupported_content_encoding",
                headers={"accept-encoding": "gzip, deflate, br, zstd"},
            )
    for coding in reversed(applied):
        body = yield from _decode(body, coding, min(limit, max(_FREE_BYTES, MAX_RATIO * len(body))), limit)
    return body


def _decode(body: bytes, coding: bytes, most: int, limit: int) -> Steps[bytes]:
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _DECODERS[coding](body):
            size += len(piece)
            if size > most:
                raise _too_large(most, limit)
            pieces.append(piece)
            yield
    except (ValueError, EOFError, zlib.error):
        raise GatewayError(
            400, f"the request body is not {coding.decode()}, as it says, or not all of it", code="invalid_encoding"
        ) from None
    return b"".join(pieces)


def _too_large(most: int, limit: int) -> GatewayError:
    what = f"is larger than {limit} bytes" if most == limit else f"grows more than {MAX_RATIO} times"
    return GatewayError(413, f"the request body {what} when it is decoded", code="request_too_large")


# Each decoder is given its input in small pieces too: they copy what they cannot use yet.


def _gzip(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):  # of members, one after another
        at = yield from _inflated(zlib.decompressobj(16 + zlib.MAX_WBITS), body, at)


def _deflate(body: bytes) -> Iterator[bytes]:
    # Meant is zlib's format; some send what is inside it, whose first two bytes are no header of it.
    is_zlib = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    end = yield from _inflated(zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS), body, 0)
    if end < len(body):
        raise ValueError


def _inflated(decoder: Any, body: bytes, at: int) -> Generator[bytes, None, int]:
    """What the decoder makes of the body from `at` on. Returns the place behind its end."""
    while not decoder.eof:
        given = body[at : at + _STEP_BYTES]
        at += len(given)
        piece = decoder.decompress(given, _STEP_BYTES)
        at -= len(decoder.unconsumed_tail)
        if not piece and not given and not decoder.eof:
            raise EOFError
        yield piece
    return at - len(decoder.unused_data)


def _brotli(body: bytes) -> Iterator[bytes]:
    import brotli

    decoder, at = brotli.Decompressor(), 0
    while not decoder.is_finished():
        given = body[at : at + _STEP_BYTES] if decoder.can_accept_more_data() else b""
        at += len(given)
        try:
            piece = decoder.process(given, output_buffer_limit=_STEP_BYTES)
        except brotli.error:
            raise ValueError from None
        if not piece and at >= len(body) and decoder.can_accept_more_data() and not decoder.is_finished():
            raise EOFError
        yield piece
    if at < len(body):
        raise ValueError


def _zstd(body: bytes) -> Iterator[bytes]:
    zstd, at = _zstd_module(), 0
    options = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
    while at < len(body):  # of frames, one after another
        decoder = zstd.ZstdDecompressor(options=options)
        while not decoder.eof:
            given = body[at : at + _STEP_BYTES] if decoder.needs_input else b""
            at += len(given)
            try:
                piece = decoder.decompress(given, _STEP_BYTES)
            except zstd.ZstdError:
                raise ValueError from None
            if not piece and at >= len(body) and decoder.needs_input and not decoder.eof:
                raise EOFError
            yield piece
        at -= len(decoder.unused_data)


def _zstd_module() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


_DECODERS: dict[bytes, Callable[[bytes], Iterator[bytes]]] = {
    b"gzip": _gzip,
    b"deflate": _deflate,
    b"br": _brotli,
    b"zstd": _zstd,
}
