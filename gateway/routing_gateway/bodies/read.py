"""From the bytes of a request to its model, whatever their format, coding and label."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, TypeVar

from routing_gateway.bodies import forms
from routing_gateway.bodies.body import Body
from routing_gateway.bodies.codings import decode
from routing_gateway.bodies.json_body import WHOLE_BYTES, no_json, parse_steps, parsed
from routing_gateway.bodies.large import Wanted
from routing_gateway.errors import GatewayError
from routing_gateway.headers import header, tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routing_gateway.bodies.scan import Steps
    from routing_gateway.headers import RawHeaders

T = TypeVar("T")

_TURN_S = 0.001
"""After so much work on one body, everybody else has a turn."""
_MAX_AT_ONCE = 2
"""Bodies that are worked on in turns; others wait, so that a turn of the loop stays short."""
_JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\n\r]*+([{\[])")
_MODEL: Mapping[str, Wanted] = {"model": Wanted.SHORT}


class BodyReader:
    """Reads bodies without holding the event loop: at once when they are small, and in turns with others when not.

    Args:
        limit: The most bytes of a body, decoded.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places = asyncio.Semaphore(_MAX_AT_ONCE)

    async def json(self, headers: RawHeaders, raw: bytes, wanted: Mapping[str, Wanted]) -> Body:
        """A body that must be a JSON object.

        Args:
            headers: The request's.
            raw: The body as it came.
            wanted: What to read of it when it is large.

        Raises:
            GatewayError: It is none, or its content coding is wrong.
        """
        return await self._json(await self._decoded(headers, raw), wanted)

    async def any(self, headers: RawHeaders, raw: bytes) -> Body:
        """A body of any format that says its model, or that it has none.

        Raises:
            GatewayError: It cannot be read, so that nobody knows whom it is for.
        """
        raw = await self._decoded(headers, raw)
        if not raw:
            return Body(raw)
        label = (header(headers, b"content-type") or b"").decode("latin-1")
        kind = label.partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            return await self._in_turns(forms.multipart(raw, label))
        start = _JSON_START.match(raw)
        if start is not None and start[1] == b"{":
            return await self._json(raw, _MODEL)
        if start is not None:
            return Body(raw)  # a list has no model
        if kind == "application/json" or kind.endswith("+json"):
            raise no_json("check its syntax")
        if kind == "application/x-www-form-urlencoded":
            return await self._in_turns(forms.urlencoded(raw))
        raise GatewayError(
            415,
            "the gateway reads a request's model from JSON or a form, and this body is neither",
            code="unsupported_media_type",
        )

    async def _decoded(self, headers: RawHeaders, raw: bytes) -> bytes:
        codings = tokens(headers, b"content-encoding")
        return await self._in_turns(decode(raw, codings, self._limit)) if codings and raw else raw

    async def _json(self, raw: bytes, wanted: Mapping[str, Wanted]) -> Body:
        return parsed(raw) if len(raw) <= WHOLE_BYTES else await self._in_turns(parse_steps(raw, wanted))

    async def _in_turns(self, steps: Steps[T]) -> T:
        async with self._places:
            begun = time.perf_counter()
            while True:
                try:
                    next(steps)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                if time.perf_counter() - begun > _TURN_S:
                    await asyncio.sleep(0)
                    begun = time.perf_counter()
