"""The one wrapper around every call: it counts, times and answers errors. It parses and decides nothing.

Handlers take and give bytes. gRPC's own deserializer would turn a request that is not valid UTF-8 into an INTERNAL
error without a reason. Here the handler parses, and the error has a reason like any other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import structlog

from routing_service.errors import DecisionError, Reason
from routing_service.observability.logging import exception_summary
from routing_service.observability.metrics import Metrics

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

log = structlog.get_logger(__name__)

STATUS_DETAILS_KEY = "grpc-status-details-bin"

AsyncUnary = Callable[[bytes], Awaitable[bytes]]
AsyncStreamUnary = Callable[[AsyncIterator[bytes]], Awaitable[bytes]]


async def abort(context: Any, error: DecisionError) -> NoReturn:
    """End the call with the error's code, message and `google.rpc.Status` details."""
    details = ((STATUS_DETAILS_KEY, error.to_status().SerializeToString()),)
    await context.abort(error.code, error.message, details)
    raise AssertionError("abort returned")


class Calls:
    """Makes gRPC method handlers from functions from bytes to bytes.

    Args:
        metrics: where calls and errors are counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def unary(self, method: str, function: AsyncUnary) -> Handler:
        """A handler for a method with one request and one response."""
        return grpc.unary_unary_rpc_method_handler(self._answered(method, function))

    def stream_unary(self, method: str, function: AsyncStreamUnary) -> Handler:
        """A handler for a method with a stream of requests and one response.

        `function` need not read the stream to its end. It is cancelled when the caller goes.
        """
        return grpc.stream_unary_rpc_method_handler(self._answered(method, function))

    def not_implemented(self, method: str, *, request_streams: bool = False, response_streams: bool = False) -> Handler:
        """A handler for a method in the protos that this release does not offer."""
        error = DecisionError(
            Reason.METHOD_NOT_IMPLEMENTED, f"{method} is not offered by this release.", metadata={"method": method}
        )

        async def handle(_request: Any, context: Any) -> bytes:
            await self._fail(method, error, context)

        async def handle_stream(_request: Any, context: Any) -> Any:
            await self._fail(method, error, context)
            yield b""  # pragma: no cover - makes this an async generator, which a streamed response must be

        if request_streams and response_streams:
            return grpc.stream_stream_rpc_method_handler(handle_stream)
        return (
            grpc.stream_unary_rpc_method_handler(handle)
            if request_streams
            else grpc.unary_unary_rpc_method_handler(handle)
        )

    def _answered(self, method: str, function: Callable[[Any], Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
        async def handle(request: Any, context: Any) -> bytes:
            start = perf_counter()
            try:
                response = await function(request)
            except Exception as error:
                self._metrics.seconds(method, perf_counter() - start)
                await self._fail(method, error, context)
            self._metrics.seconds(method, perf_counter() - start)
            return response

        return handle

    async def _fail(self, method: str, error: Exception, context: Any) -> NoReturn:
        if not isinstance(error, DecisionError):
            # No internals for the caller, and no prompt for the log.
            log.error("internal_error", method=method, raised=exception_summary(error))
            error = DecisionError(Reason.INTERNAL, "The server failed on this request; its log has the cause.")
        self._metrics.error(method, error.reason)
        await abort(context, error)
