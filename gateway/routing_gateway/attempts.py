"""One attempt at an upstream, and passing its answer on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from routing_gateway.headers import to_caller
from routing_gateway.upstream import UpstreamError

if TYPE_CHECKING:
    from routing_gateway.exchange import Exchange
    from routing_gateway.headers import RawHeaders
    from routing_gateway.metrics import Metrics
    from routing_gateway.targets import Target
    from routing_gateway.upstream import UpstreamRequest, Upstreams

# So much is read before the answer begins, when its length is known: one write instead of several.
_WHOLE_ANSWER_BYTES = 1 << 16


class Answer(NamedTuple):
    """An upstream's answer, of which the rest of the body is still to come. Close its response when done."""

    target: Target
    response: aiohttp.ClientResponse
    first: bytes
    """What has been read of the body."""


class Attempts:
    """Makes attempts.

    Args:
        upstreams: The connections.
        metrics: Counts the answers.
    """

    def __init__(self, upstreams: Upstreams, metrics: Metrics) -> None:
        self._upstreams = upstreams
        self._metrics = metrics

    async def open(self, request: UpstreamRequest, target: Target, *, await_first_byte: bool) -> Answer:
        """Send, and wait for the answer's headers.

        Args:
            request: What to send.
            target: To whom.
            await_first_byte: Wait for that too, so that an answer which breaks before it can be had from another model.

        Raises:
            UpstreamError: There is no answer.
        """
        begun = time.perf_counter()
        seen = self._metrics.upstream_responses
        try:
            response = await self._upstreams.send(request, target)
        except UpstreamError as error:
            seen.labels(target.name, error.kind).inc()
            raise
        seen.labels(target.name, str(response.status)).inc()
        self._metrics.first_byte_seconds.labels(target.name).observe(time.perf_counter() - begun)
        try:
            return Answer(target, response, await _first(response, await_first_byte))
        except (TimeoutError, aiohttp.ClientError) as error:
            response.close()
            raise self._upstreams.broke(target, error) from error
        except BaseException:
            response.close()
            raise

    async def relay(self, answer: Answer, exchange: Exchange, added: RawHeaders) -> None:
        """Pass the answer on, each piece as it arrives, and close it.

        Args:
            answer: Whose.
            exchange: To whom.
            added: Headers of the gateway's own.

        Raises:
            UpstreamError: The answer broke off.
        """
        response = answer.response
        try:
            await exchange.start(response.status, to_caller(response.raw_headers, added))
            if response.content.at_eof():
                await exchange.body(answer.first, last=True)
                return
            if answer.first:
                await exchange.body(answer.first)
            async for data in response.content.iter_any():
                await exchange.body(data)
            await exchange.body(b"", last=True)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise self._upstreams.broke(answer.target, error) from error
        finally:
            response.close()  # of no effect on a connection whose answer was read to its end


async def _first(response: aiohttp.ClientResponse, await_first_byte: bool) -> bytes:
    if response.content_length is not None and response.content_length <= _WHOLE_ANSWER_BYTES:
        return await response.read()
    if await_first_byte:
        return await response.content.readany()
    return b""
