"""The shared part of `RoutedOpenAI` and `AsyncRoutedOpenAI`: settings, and how a request becomes an attempt."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, Self, TypeVar

from routing_client.aio import AsyncRoutingClient
from routing_client.client import RoutingClient
from routing_client.costs import CostLedger
from routing_client.dispatch import Dispatcher, Send
from routing_client.endpoints import LITELLM, Endpoint, Endpoints, EndpointsError, load_endpoints
from routing_client.openai import _requests
from routing_client.openai._responses import RoutedResponse, no_json
from routing_client.openai._sdk import OFFICIAL_HOST, http, http_client, openai, proxy_of, why_failed
from routing_client.openai._upstreams import Upstreams
from routing_client.targets import DEFAULT_TARGET

S = TypeVar("S", RoutingClient, AsyncRoutingClient)
C = TypeVar("C")

EndpointsLike = Endpoints | Mapping[str, Endpoint] | str | os.PathLike[str]

_CREDENTIALS = ("api_key", "admin_api_key", "workload_identity", "provider")
# Here text is not a valid answer.
_JSON_PATHS = frozenset({"/chat/completions", "/completions", "/responses", "/embeddings"})


@dataclass(frozen=True)
class Shared(Generic[S, C]):
    """What a client and its copies (`with_options`) have in common."""

    dispatcher: Dispatcher
    service: S
    """The client of the decision service."""
    owns_service: bool
    """Whether to close `service` with the client."""
    upstreams: Upstreams[C] = field(repr=False)


class Routed(Generic[S, C]):
    """The part of both clients without I/O. It comes before the SDK's class among the bases."""

    _shared: Shared[S, C]
    has_own_timeout = False
    """Whether `with_options` gave this copy a timeout, which then overrides that of endpoints."""
    lacks_key = False
    """Whether this client's own base URL cannot be called."""

    @property
    def costs(self) -> CostLedger:
        """What the calls of this client and its copies cost."""
        return self._shared.dispatcher.costs

    @property
    def endpoints(self) -> Endpoints:
        """Where models are."""
        return self._shared.dispatcher.endpoints

    @property
    def routing_client(self) -> S:
        """The client of the decision service."""
        return self._shared.service

    def copy(self, *, _extra_kwargs: Mapping[str, Any] = MappingProxyType({}), **changes: Any) -> Self:
        """As the SDK's: a client with other options, which shares this one's connections, endpoints and costs."""
        sdk: Any = super()
        copied: Self = sdk.copy(_extra_kwargs={**_extra_kwargs, "_shared_with": self._shared}, **changes)
        given = {name for name, value in changes.items() if not isinstance(value, openai.NotGiven)}
        copied.has_own_timeout = self.has_own_timeout or "timeout" in given
        copied.lacks_key = self.lacks_key and not any(changes.get(name) for name in _CREDENTIALS)
        return copied

    with_options = copy


def make(
    endpoints: Endpoints,
    service: str | S | None,
    client_class: type[S],
    costs: CostLedger | None,
    upstreams: Upstreams[C],
) -> Shared[S, C]:
    """What a new client and its copies share; see `service_from` for `service`.

    Raises:
        ValueError: `service` is neither an address nor a client of `client_class`.
    """
    asked, owns_service = service_from(service, endpoints, client_class)
    return Shared(Dispatcher(endpoints, why_failed, costs), asked, owns_service, upstreams)


def endpoints_from(source: EndpointsLike | None, **settings: Any) -> Endpoints:
    """Endpoints from a client's arguments; settings that are not None override those of `source`.

    Raises:
        EndpointsError: They are wrong.
    """
    match source:
        case None:
            endpoints = Endpoints()
        case Endpoints():
            endpoints = source
        case str() | os.PathLike():
            endpoints = load_endpoints(source)
        case Mapping():
            endpoints = Endpoints(source)
        case _:
            raise EndpointsError(
                f"endpoints must be Endpoints, a mapping of names to them, or a path; not {type(source).__name__}"
            )
    return replace(endpoints, **{name: value for name, value in settings.items() if value is not None})


def service_from(given: str | S | None, endpoints: Endpoints, client_class: type[S]) -> tuple[S, bool]:
    """The client of the decision service, and whether it was made here and must be closed with the routed client.

    Args:
        given: The routed client's argument: an address, a client, or nothing.
        endpoints: Have the address if nothing is given.
        client_class: `RoutingClient` or `AsyncRoutingClient`; one cannot replace the other.

    Raises:
        ValueError: It is neither an address nor such a client.
    """
    service = next((each for each in (given, endpoints.service) if each is not None), DEFAULT_TARGET)
    if isinstance(service, str):
        return client_class(service), True
    if not isinstance(service, client_class):
        raise ValueError(  # noqa: TRY004 (as every wrong argument)
            f"service must be host:port or a {client_class.__name__}, not {type(service).__name__}"
        )
    return service, False


def with_placeholder_key(arguments: dict[str, Any], endpoints: Endpoints) -> tuple[dict[str, Any], bool]:
    """The SDK's arguments, and whether a dummy key had to be added.

    With endpoints, each model may have its own key; but the SDK refuses to be made without a key.
    """
    if not endpoints and endpoints.default is None:
        return arguments, False
    if any(arguments.get(name) is not None for name in _CREDENTIALS):
        return arguments, False
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_ADMIN_KEY"):
        return arguments, False
    return {**arguments, "api_key": "none"}, True


def with_http_client(client_class: Any, arguments: dict[str, Any], *, is_called: bool) -> dict[str, Any]:
    """The SDK's arguments, with an HTTP client that reads the proxy variables as all parts do.

    Raises:
        ProxyError: The environment names a proxy for the base URL that cannot be used.
    """
    if arguments.get("http_client") is not None:
        return arguments
    base_url = str(arguments.get("base_url") or os.environ.get("OPENAI_BASE_URL") or f"https://{OFFICIAL_HOST}/v1")
    return {**arguments, "http_client": http_client(client_class, base_url if is_called else None)}


@contextmanager
def naming_proxy(upstreams: Upstreams[Any]) -> Iterator[None]:
    """While an upstream is called: the error of a call that found nobody names the proxy that it went through."""
    try:
        yield
    except openai.APIConnectionError as error:
        proxy = None if upstreams.http_client is not None else proxy_of(str(error.request.url))
        if proxy is not None:
            error.message = f"{error.message} The call went through the proxy {proxy}."
            error.args = (error.message, *error.args[1:])
        raise


class Attempt:
    """One request to one upstream, ready to be sent."""

    def __init__(self, send: Send, client: Any, options: Any) -> None:
        endpoint = _endpoint(send, client)
        own = endpoint is None or _is_own(endpoint, client)
        self.endpoint = None if own else endpoint
        """None: the client itself sends it."""
        base_url = str(client.base_url) if endpoint is None else endpoint.base_url
        self._request = http.Request("POST", base_url.rstrip("/") + options.url)
        self.answer = RoutedResponse(send, client.costs, self._request if options.url in _JSON_PATHS else None)
        self.options = _requests.changed(
            options,
            model=_upstream_model(send, endpoint),
            max_retries=options.get_max_retries(client.max_retries) if send.is_last else 0,
            timeout=_timeout(endpoint, client),
            post_parser=self.answer.parsed,
        )
        if self.endpoint is not None:
            _requests.without_key(self.options, self.endpoint)

    def not_json(self) -> Exception:
        """The error for a body that cannot be read."""
        return no_json(self._request)


def unrouted(options: Any, endpoint: Endpoint | None, client: Any) -> Any:
    """The options of a request without a model, for the endpoint that gets it."""
    new = _requests.changed(
        options,
        model=None,
        max_retries=options.get_max_retries(client.max_retries),
        timeout=_timeout(endpoint, client),
        post_parser=None,
    )
    if endpoint is not None:
        _requests.without_key(new, endpoint)
    return new


def no_key(endpoints: Endpoints) -> openai.OpenAIError:
    """The error for a request to the client's own base URL, for which there is no key."""
    known = ", ".join(endpoints) or "none"
    return openai.OpenAIError(
        f"this request has no endpoint (there are some for: {known}) and the client no key of its own; add the model "
        "to the endpoints, give them a default, or pass api_key or set OPENAI_API_KEY"
    )


def _endpoint(send: Send, client: Any) -> Endpoint | None:
    if send.endpoint is not None:
        return send.endpoint
    provider, slash, _ = send.routing.model.partition("/")
    if slash and provider != "openai" and client.base_url.host == OFFICIAL_HOST:
        return Endpoint(LITELLM, upstream_model=send.routing.model)
    return None


def _is_own(endpoint: Endpoint, client: Any) -> bool:
    same = endpoint.base_url.rstrip("/") == str(client.base_url).rstrip("/")
    return same and endpoint.api_key is None and endpoint.api_key_env is None and not endpoint.headers


def _upstream_model(send: Send, endpoint: Endpoint | None) -> str:
    if endpoint is not None:
        return endpoint.upstream_model or send.routing.model
    return send.routing.model.removeprefix("openai/")


def _timeout(endpoint: Endpoint | None, client: Any) -> Any:
    if endpoint is None or endpoint.timeout is None or client.has_own_timeout:
        return client.timeout
    return endpoint.timeout
