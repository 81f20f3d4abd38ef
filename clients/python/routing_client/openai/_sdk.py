"""Facts about the SDK: its HTTP library, its failures."""

from __future__ import annotations

import importlib
from typing import Any

from routing_client._extras import missing_extra
from routing_client.proxies import Proxy, ProxyError, httpx_kinds, proxies_are_set, proxy_for_url

__all__ = ["OFFICIAL_HOST", "http", "http_client", "openai", "proxy_of", "why_failed"]

try:
    import openai
except ModuleNotFoundError as error:
    if error.name != "openai":
        raise
    raise missing_extra("openai", "openai", "routing_client.openai") from None

http: Any = importlib.import_module(
    next(base.__module__.partition(".")[0] for base in openai.DefaultHttpxClient.__mro__ if "httpx" in base.__module__)
)
"""The library whose clients and transports the SDK takes: `httpx2`, and `httpx` in its older versions."""

OFFICIAL_HOST = "api.openai.com"

# The SDK itself retries 408, 409 and 5xx. 409 is left out: another model does not solve a conflict.
_FAILED = frozenset({408, 429})


def http_client(client_class: Any, base_url: str | None) -> Any:
    """The HTTP client for a client of the SDK, with the proxy that the environment names for `base_url`.

    The SDK's own client reads the proxy variables in another way, and raises for some of their values.

    Args:
        client_class: `openai.OpenAI`, `openai.AsyncOpenAI`, or a subclass.
        base_url: What it will call. None: nothing, so that no proxy matters.

    Returns:
        The HTTP client; None for the SDK's own, where no such variable is set.

    Raises:
        ProxyError: A variable cannot be used.
    """
    if not proxies_are_set():
        return None
    proxy = None if base_url is None else proxy_for_url(base_url, httpx_kinds())
    is_async = issubclass(client_class, openai.AsyncOpenAI)
    transport = (http.AsyncHTTPTransport if is_async else http.HTTPTransport)(
        limits=openai.DEFAULT_CONNECTION_LIMITS, proxy=None if proxy is None else http.Proxy(proxy.url)
    )
    return (openai.DefaultAsyncHttpxClient if is_async else openai.DefaultHttpxClient)(transport=transport)


def proxy_of(url: str) -> Proxy | None:
    """The proxy that a call to `url` went through, as far as the environment names it."""
    try:
        return proxy_for_url(url, httpx_kinds())
    except ProxyError:
        return None


def why_failed(error: Exception) -> str | None:
    """The failure's name, if another model may not have it; None for all others."""
    if isinstance(error, openai.APITimeoutError):
        return "timeout"
    if isinstance(error, openai.APIConnectionError):
        return "connection"
    if isinstance(error, openai.APIStatusError) and (error.status_code in _FAILED or error.status_code >= 500):
        return str(error.status_code)
    return None
