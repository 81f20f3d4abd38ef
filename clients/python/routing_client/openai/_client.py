"""The synchronous client."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from routing_client.client import RoutingClient
from routing_client.costs import CostLedger
from routing_client.dispatch import Ask, Step
from routing_client.endpoints import Endpoint
from routing_client.flow import run
from routing_client.openai import _requests, _shared
from routing_client.openai._chat import RoutedChat
from routing_client.openai._litellm import litellm_client
from routing_client.openai._responses import routed_stream_class
from routing_client.openai._sdk import openai
from routing_client.openai._upstreams import Upstreams


class RoutedOpenAI(_shared.Routed[RoutingClient, openai.OpenAI], openai.OpenAI):
    """`openai.OpenAI` whose `model` may be a string such as `router-mf-0.11593`.

    For chat completions, completions and responses, the service decides such a string and the chosen model is
    called; `response.model` is its name, and `response.routing` has the details, on plain, raw and streamed responses
    alike. Every other model is called directly. Arguments, results and errors are the SDK's own.

    Each model is called at its endpoint. Models without one, and requests without a model, go to the endpoints'
    `default`, or else to this client's own `base_url`. This client's key, `default_headers`, `default_query`,
    organization and project go to its own `base_url` only. A call's own `extra_headers` go with the call.

    With `failover`, the chosen model is asked once. If it fails with 408, 429, 5xx, a timeout or a lost connection,
    the pair's other model is asked with the SDK's `max_retries`. Without it, the SDK retries the chosen model. A
    stream fails over only before its response begins; a later break is raised.

    One client serves any number of threads; make one and keep it.

    Args:
        service: The decision service's `host:port`, or a `RoutingClient`, which the caller closes. None: the
            endpoints' `service`, else 127.0.0.1:50051.
        endpoints: Where models are; also a mapping of names to `Endpoint`s, or the path of a YAML file.
        strong_model: The model that answers when the strong one is chosen. None: the endpoints' model, else the one
            that the decision names. The same is true for the next arguments.
        weak_model: As `strong_model`.
        fallback_model: The model that answers when there is no decision. None: the service's error is raised.
        failover: Whether to try the pair's other model when the chosen one fails.
        costs: Where to add up the costs. None: the client's own ledger, with the endpoints' prices.
        **arguments: `openai.OpenAI`'s own. No key is needed if every called model has an endpoint.

    Raises:
        EndpointsError: The endpoints are wrong.
        ValueError: The service's address makes no sense, or the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        *,
        service: str | RoutingClient | None = None,
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
        super().__init__(**_shared.with_http_client(openai.OpenAI, arguments, is_called=not self.lacks_key))
        upstreams = Upstreams(openai.OpenAI, litellm_client, arguments.get("http_client"))
        self._shared = _shared.make(known, service, RoutingClient, costs, upstreams)

    @cached_property
    def chat(self) -> RoutedChat:
        """As the SDK's."""
        return RoutedChat(self)

    def request(
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
            return self._request_unrouted(cast_to, options, stream=stream, stream_cls=stream_cls, **others)

        def perform(step: Step) -> Any:
            if isinstance(step, Ask):
                return step.of(self._shared.service)
            attempt = _shared.Attempt(step, self, options)
            try:
                with _shared.naming_proxy(self._shared.upstreams):
                    response = self._client_for(attempt.endpoint)(
                        cast_to, attempt.options, stream=stream, stream_cls=routed_stream_class(stream_cls), **others
                    )
            except json.JSONDecodeError:
                raise attempt.not_json() from None
            return attempt.answer.begin(response)

        return run(self._shared.dispatcher.dispatch(model, lambda: _requests.prompt_of(options.url, body)), perform)

    def close(self) -> None:
        """Close all connections, also those of copies. A given `RoutingClient` stays open."""
        for client in self._shared.upstreams.take():
            client.close()
        if self._shared.owns_service:
            self._shared.service.close()
        super().close()

    def _request_unrouted(self, cast_to: Any, options: Any, **arguments: Any) -> Any:
        default = self.endpoints.default
        with _shared.naming_proxy(self._shared.upstreams):
            return self._client_for(default)(cast_to, _shared.unrouted(options, default, self), **arguments)

    def _client_for(self, endpoint: Endpoint | None) -> Callable[..., Any]:
        """The client that sends a request to `endpoint`; None: this client itself."""
        if endpoint is not None:
            return self._shared.upstreams.client(endpoint).request
        if self.lacks_key:
            raise _shared.no_key(self.endpoints)
        return super().request
