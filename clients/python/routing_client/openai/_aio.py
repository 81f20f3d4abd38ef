"""The asynchronous client, for asyncio."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

from routing_client.aio import AsyncRoutingClient
from routing_client.costs import CostLedger
from routing_client.dispatch import Ask, Step
from routing_client.endpoints import Endpoint, Endpoints
from routing_client.flow import run_async
from routing_client.openai import _requests, _shared
from routing_client.openai._chat import AsyncRoutedChat
from routing_client.openai._litellm import async_litellm_client
from routing_client.openai._responses import routed_stream_class
from routing_client.openai._sdk import openai
from routing_client.openai._upstreams import Upstreams


class AsyncRoutedOpenAI(openai.AsyncOpenAI):
    """`RoutedOpenAI` for asyncio: `openai.AsyncOpenAI` with the same additions and arguments.

    `service` may be an `AsyncRoutingClient`. As with it, a client belongs to the event loop of its first call.
    """

    def __init__(
        self,
        *,
        service: str | AsyncRoutingClient | None = None,
        endpoints: _shared.EndpointsLike | None = None,
        strong_model: str | None = None,
        weak_model: str | None = None,
        fallback_model: str | None = None,
        failover: bool | None = None,
        costs: CostLedger | None = None,
        _shared_with: Any = None,
        **arguments: Any,
    ) -> None:
        self.has_own_timeout = False
        """Whether `with_options` gave this copy a timeout, which then goes before that of endpoints."""
        self.lacks_key = False
        """Whether this client's own base URL cannot be called."""
        self._shared: _shared.Shared[AsyncRoutingClient, openai.AsyncOpenAI]
        if _shared_with is None:
            known = _shared.endpoints_from(
                endpoints,
                strong_model=strong_model,
                weak_model=weak_model,
                fallback_model=fallback_model,
                failover=failover,
            )
            if known or known.default is not None:
                arguments, self.lacks_key = _shared.with_placeholder_key(arguments)
        super().__init__(**arguments)
        if _shared_with is not None:
            self._shared = _shared_with
            return
        asked, owns_service = _shared.service_from(service, known, AsyncRoutingClient)
        self._shared = _shared.Shared(
            dispatcher=_shared.make_dispatcher(known, costs),
            service=asked,
            owns_service=owns_service,
            upstreams=Upstreams(openai.AsyncOpenAI, async_litellm_client, arguments.get("http_client")),
        )

    @property
    def costs(self) -> CostLedger:
        """What the calls of this client and its copies cost."""
        return self._shared.dispatcher.costs

    @property
    def endpoints(self) -> Endpoints:
        """Where models are."""
        return self._shared.dispatcher.endpoints

    @property
    def routing_client(self) -> AsyncRoutingClient:
        """The client of the decision service."""
        return self._shared.service

    @cached_property
    def chat(self) -> AsyncRoutedChat:
        """As the SDK's."""
        return AsyncRoutedChat(self)

    def copy(self, *, _extra_kwargs: Mapping[str, Any] = MappingProxyType({}), **changes: Any) -> Self:
        """As the SDK's: a client with other options, which shares this one's connections, endpoints and costs."""
        copied = super().copy(_extra_kwargs={**_extra_kwargs, "_shared_with": self._shared}, **changes)
        _shared.mark_copy(copied, self, changes)
        return copied

    with_options = copy

    async def request(
        self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None, **others: Any
    ) -> Any:
        """Every request of the SDK comes through here. Not meant to be called.

        Raises:
            RoutingError: The model string is wrong, or there is neither a decision nor a fallback.
            openai.APIError: The upstream's.
        """
        body = _requests.body_of(options)
        model = _requests.asked_model(options, body)
        if model is None:
            return await self._request_unrouted(cast_to, options, stream=stream, stream_cls=stream_cls, **others)

        async def perform(step: Step) -> Any:
            if isinstance(step, Ask):
                return await step.of(self._shared.service)
            attempt = _shared.Attempt(step, self, options)
            try:
                response = await self._client_for(attempt.endpoint)(
                    cast_to, attempt.options, stream=stream, stream_cls=routed_stream_class(stream_cls), **others
                )
            except json.JSONDecodeError:
                raise attempt.not_json() from None
            return attempt.answer.begin(response)

        return await run_async(
            self._shared.dispatcher.dispatch(model, lambda: _requests.prompt_of(options.url, body)), perform
        )

    async def close(self) -> None:
        """Close all connections, those of copies too. A `AsyncRoutingClient` that was handed in stays open."""
        for client in self._shared.upstreams.take():
            await client.close()
        if self._shared.owns_service:
            await self._shared.service.close()
        await super().close()

    async def _request_unrouted(self, cast_to: Any, options: Any, **arguments: Any) -> Any:
        default = self.endpoints.default
        return await self._client_for(default)(cast_to, _shared.unrouted(options, default, self), **arguments)

    def _client_for(self, endpoint: Endpoint | None) -> Callable[..., Any]:
        """What sends a request to `endpoint`; None: this client itself."""
        if endpoint is not None:
            return self._shared.upstreams.client(endpoint).request
        if self.lacks_key:
            raise _shared.no_key(self.endpoints)
        return super().request
