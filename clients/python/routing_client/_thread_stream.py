"""A streamed call through gRPC's synchronous API, awaited.

gRPC's asyncio API loses the status of a call that the server ends while a message is being written: it reports
INTERNAL, "Internal error from Core", in place of the server's status. Its synchronous API does not.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import grpc

M = TypeVar("M")


async def call_streaming(method: Any, messages: AsyncIterable[M], **options: Any) -> Any:
    """The response of a method that takes a stream. Cancelling this cancels the call.

    Args:
        method: the stub's, of a synchronous channel.
        messages: iterated on this event loop.
        options: what the method takes beside the messages.

    Raises:
        grpc.RpcError: the call failed.
    """
    loop = asyncio.get_running_loop()
    bridge = _Bridge(aiter(messages), loop)
    call: grpc.Future[Any] = method.future(iter(bridge), **options)
    ended = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    def tell(_call: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed; nobody waits
            loop.call_soon_threadsafe(end)

    call.add_done_callback(tell)
    try:
        await ended
    finally:
        call.cancel()
        bridge.close()
    return call.result()


class _Bridge(Generic[M]):
    """Messages of an asynchronous iterator for gRPC's thread."""

    def __init__(self, messages: AsyncIterator[M], loop: asyncio.AbstractEventLoop) -> None:
        self._messages, self._loop = messages, loop
        self._next: concurrent.futures.Future[M] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[M]:
        while not self._closed:
            self._next = asyncio.run_coroutine_threadsafe(self._advance(), self._loop)
            if self._closed:
                self._next.cancel()
            try:
                message = self._next.result()
            except StopAsyncIteration:
                return
            yield message

    async def _advance(self) -> M:
        return await anext(self._messages)

    def close(self) -> None:
        """Let gRPC's thread go, should it wait for a message."""
        self._closed = True
        if self._next is not None:
            self._next.cancel()
