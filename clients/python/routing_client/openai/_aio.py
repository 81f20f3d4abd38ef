"""The asynchronous client, for asyncio."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from routing_client.aio import AsyncRoutingClient
from routing_client.costs import CostLedger
from routing_client.dispatch import Ask, Step
from routing_client.endpoints import Endpoint
from routing_client.flow import run_async
from routing_client.openai import _requests, _shared
from routing_client.openai._chat import AsyncRoutedChat
from routing_client.openai._litellm import async_litellm_client
from routing_client.openai._responses import routed_stream_class
from routing_client.openai._sdk import openai
from routing_client.openai._upstreams import Upstreams


class AsyncRoutedOpenAI(_shared.Routed[AsyncRoutingClient, openai.AsyncOpenAI], openai.AsyncOpenAI):
    """`RoutedOpenAI` for asyncio: `openai.AsyncOpenAI` with the same additions and arguments.

    `service` may be an `AsyncRoutingClient`. A client belongs to the event loop of its first call.
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
        if _shared_with is not None:
            super().__init__(**arguments)
            self._shared = _shared_with
            return
        known = _shared.endpoints_from(
            endpoints,
            strong_model=strong_model,
            weak_model=weak_model,
            fallback_model=fallback_model,
            failover=failover,
        )
        arguments, self.lacks_key = _shared.with_placeholder_key(arguments, known)
        super().__init__(**_shared.with_http_client(openai.AsyncOpenAI, arguments, is_called=not self.lacks_key))
        upstreams = Upstreams(openai.AsyncOpenAI, async_litellm_client, arguments.get("http_client"))
        self._shared = _shared.make(known, service, AsyncRoutingClient, costs, upstreams)

    @cached_property
    def chat(self) -> AsyncRoutedChat:
        """As the SDK's."""
        return AsyncRoutedChat(self)

    async def request(
        self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None, **others: Any
    ) -> Any:
        """Every request of the SDK passes through here. Not for direct use.

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
                with _shared.naming_proxy(self._shared.upstreams):
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
        """Close all connections, also those of copies. A given `AsyncRoutingClient` stays open."""
        for client in self._shared.upstreams.take():
            await client.close()
        if self._shared.owns_service:
            await self._shared.service.close()
        await super().close()

    async def _request_unrouted(self, cast_to: Any, options: Any, **arguments: Any) -> Any:
        default = self.endpoints.default
        with _shared.naming_proxy(self._shared.upstreams):
            return await self._client_for(default)(cast_to, _shared.unrouted(options, default, self), **arguments)

    def _client_for(self, endpoint: Endpoint | None) -> Callable[..., Any]:
        """The client that sends a request to `endpoint`; None: this client itself."""
        if endpoint is not None:
            return self._shared.upstreams.client(endpoint).request
        if self.lacks_key:
            raise _shared.no_key(self.endpoints)
        return super().request
