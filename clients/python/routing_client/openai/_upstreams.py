"""One client of the SDK for each endpoint, made at its first call and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from routing_client.endpoints import LITELLM, Endpoint
from routing_client.openai._sdk import OFFICIAL_HOST, http_client

C = TypeVar("C")


class Upstreams(Generic[C]):
    """Clients by endpoint. Safe to share between threads.

    Args:
        client_class: `openai.OpenAI` or `openai.AsyncOpenAI`.
        litellm_client: Makes an HTTP client that calls LiteLLM.
        http_client: The caller's own HTTP client, for all endpoints. None: one for each.
    """

    def __init__(
        self, client_class: Callable[..., C], litellm_client: Callable[[Endpoint], Any], http_client: Any = None
    ) -> None:
        self._client_class = client_class
        self._litellm_client = litellm_client
        self.http_client = http_client
        self._clients: dict[Endpoint, C] = {}
        self._lock = threading.Lock()

    def client(self, endpoint: Endpoint) -> C:
        """The endpoint's client.

        Raises:
            EndpointsError: Its key is in an environment variable that is not set.
            ProxyError: The environment names a proxy for it that cannot be used.
            MissingExtraError: It needs LiteLLM, which is not installed.
        """
        client = self._clients.get(endpoint)
        if client is None:
            with self._lock:
                client = self._clients.get(endpoint)
                if client is None:
                    client = self._clients[endpoint] = self._make(endpoint)
        return client

    def take(self) -> list[C]:
        """Return all clients for the caller to close, and forget them."""
        with self._lock:
            clients = list(self._clients.values())
            self._clients.clear()
            return clients

    def _make(self, endpoint: Endpoint) -> C:
        key = endpoint.key()
        if endpoint.base_url == LITELLM:
            arguments = {"base_url": "http://litellm.invalid/v1", "http_client": self._litellm_client(endpoint)}
        else:
            calls = self.http_client or http_client(self._client_class, endpoint.base_url)
            arguments = {"base_url": endpoint.base_url, "http_client": calls}
        # An explicit header overrides one that the environment may have for OpenAI. The SDK insists on a key;
        # if there is none, or it goes in another header, `without_key` removes it.
        own = dict([endpoint.key_header(key)]) if key else {}
        client = self._client_class(api_key=key or "none", default_headers={**own, **endpoint.headers}, **arguments)
        if urlsplit(endpoint.base_url).hostname != OFFICIAL_HOST:
            # Read from the environment; only for the client's own base URL.
            for name in ("organization", "project", "admin_api_key"):
                setattr(client, name, None)
        return client
