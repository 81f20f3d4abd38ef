"""The asynchronous client, for asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

from routing_client import _flows
from routing_client._batch import as_requests
from routing_client._gen.llmrouting.v1.routing_service_pb2_grpc import RoutingServiceStub
from routing_client._prompt_stream import PromptStream
from routing_client._settings import (
    DEFAULT_BATCH_TIMEOUT,
    DEFAULT_CHUNK_SIZE,
    DEFAULT_TIMEOUT,
    Metadata,
    OnUnavailable,
    Settings,
)
from routing_client._status import error_from_call
from routing_client._thread_stream import call_streaming
from routing_client.flow import run_async
from routing_client.targets import DEFAULT_TARGET
from routing_client.types import Calibration, Decision, DecisionRequest, Messages, ModelPair, Requirements, RouterList

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
    from types import TracebackType

    from routing_client.exceptions import RoutingError


class AsyncRoutingClient:
    """`RoutingClient` for asyncio: the same arguments, methods, results and errors, awaited.

    It may be made anywhere. It connects at its first call, and then belongs to the event loop of that call.
    Cancelling a task that awaits a call cancels the call.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        batch_timeout: float = DEFAULT_BATCH_TIMEOUT,
        on_unavailable: OnUnavailable = "raise",
        strong_model: str | None = None,
        weak_model: str | None = None,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        max_attempts: int = 3,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Metadata | None = None,
        options: Iterable[tuple[str, Any]] = (),
    ) -> None:
        self._settings = Settings.make(
            target,
            timeout=timeout,
            batch_timeout=batch_timeout,
            on_unavailable=on_unavailable,
            strong_model=strong_model,
            weak_model=weak_model,
            chunk_size=chunk_size,
            max_attempts=max_attempts,
            credentials=credentials,
            metadata=metadata,
            options=options,
        )
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def decide(
        self,
        prompt: str | Messages,
        *,
        router: str | None = None,
        threshold: float | None = None,
        strong_share: float | None = None,
        policy: str | None = None,
        models: ModelPair | tuple[str, str] | None = None,
        session_id: str | None = None,
        request_id: str | None = None,
        explain: bool = False,
        requirements: Requirements | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (a gRPC deadline: it travels to the server, unlike asyncio's)
    ) -> Decision:
        """Decide for one prompt or chat, as `RoutingClient.decide` does."""
        request = DecisionRequest(
            prompt,
            router,
            threshold,
            strong_share,
            policy,
            models,
            session_id,
            request_id,
            explain,
            requirements,
            metadata,
        )
        return await run_async(_flows.decide(self._settings, request, timeout), self._invoke)

    async def decide_batch(
        self,
        items: Iterable[str | Messages | DecisionRequest],
        *,
        router: str | None = None,
        threshold: float | None = None,
        strong_share: float | None = None,
        policy: str | None = None,
        models: ModelPair | tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (as for decide)
    ) -> list[Decision | RoutingError]:
        """Decide for many at once, as `RoutingClient.decide_batch` does: a bad item is an exception in its place."""
        requests = as_requests(items, router, threshold, strong_share, policy, models)
        return await run_async(_flows.decide_batch(self._settings, requests, timeout), self._invoke)

    async def routers(self, *, timeout: float | None = None) -> RouterList:  # noqa: ASYNC109 (as for decide)
        """The routers that the server serves, and its policies, as `RoutingClient.routers` gives them."""
        return await run_async(_flows.routers(self._settings, timeout), self._invoke)

    async def calibrate(
        self,
        prompts: Iterable[str | Messages] | AsyncIterable[str | Messages] | None = None,
        *,
        strong_shares: Sequence[float],
        router: str | None = None,
        models: ModelPair | tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (as for decide)
    ) -> Calibration:
        """Thresholds for wanted shares of strong decisions, as `RoutingClient.calibrate` gives them.

        `prompts` may be an asynchronous iterable. A plain one is iterated on the event loop too. The call has a
        connection of its own.
        """
        flow = _flows.calibrate(self._settings, prompts, strong_shares, router, models, timeout)
        return await run_async(flow, self._invoke)

    async def close(self) -> None:
        """Close the connection. Running calls fail, later calls raise RuntimeError. Closing twice is fine."""
        self._closed = True
        channel, self._channel, self._stub = self._channel, None, None
        if channel is not None:
            await channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.target!r})"

    async def _invoke(self, call: _flows.Call) -> Any:
        """Make one RPC. A fake replaces only this."""
        if isinstance(call.request, PromptStream):
            return await self._invoke_streaming(call, call.request)
        stub = self._connected()
        try:
            return await getattr(stub, call.method)(
                call.request, timeout=call.timeout, metadata=self._settings.metadata
            )
        except grpc.RpcError as error:
            raise error_from_call(error, self._settings.proxy) from error

    async def _invoke_streaming(self, call: _flows.Call, stream: PromptStream) -> Any:
        self._connected()  # or says why not
        with self._settings.channel() as channel:
            method = getattr(RoutingServiceStub(channel), call.method)
            try:
                return await call_streaming(method, stream, timeout=call.timeout, metadata=self._settings.metadata)
            except grpc.RpcError as error:
                # gRPC cancels a call whose request iterator raises.
                if stream.failure is not None:
                    raise stream.failure from None
                raise error_from_call(error, self._settings.proxy) from error

    def _connected(self) -> Any:
        if self._closed:
            raise RuntimeError("this client is closed")
        loop = asyncio.get_running_loop()
        if self._stub is None:
            settings, options = self._settings, self._settings.channel_options()
            self._channel = (
                grpc.aio.insecure_channel(settings.grpc_target, options)
                if settings.credentials is None
                else grpc.aio.secure_channel(settings.grpc_target, settings.credentials, options)
            )
            self._stub = RoutingServiceStub(self._channel)
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("this client belongs to another event loop; make one in each")
        return self._stub
