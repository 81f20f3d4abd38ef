"""What a gateway is made from."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from routing_client.endpoints import LITELLM, Endpoint, Endpoints, EndpointsError
from routing_client.model_names import PREFIX
from routing_client.proxies import Proxy, ProxyError, proxy_for_target, proxy_for_url
from routing_client.targets import DEFAULT_TARGET, check_target

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PORT = 6060
MEBIBYTE = 1 << 20
DEFAULT_NAME = "default"
"""What logs, metrics and `/health` call the endpoint of every model that has none of its own."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
# RFC 6454, section 6.1: a page's origin, a program's or an extension's; `null` is what those without one send.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*?#@]+|null|\*")


@dataclass(frozen=True)
class GatewayConfig:
    """Where models are, where decisions come from, and the limits.

    Raises:
        EndpointsError: A value makes no sense, names a model that is not there, a key's variable is not set, or one
            that names a proxy cannot be used.
    """

    endpoints: Endpoints
    """Models, prices, keys, the pair, fallback and failover."""
    decision_timeout_s: float = 1.0
    """For a decision, attempts and connecting included: the most that an outage adds to a request."""
    connect_timeout_s: float = 10.0
    """To connect to an upstream."""
    upstream_timeout_s: float = 600.0
    """Until an upstream's first byte, and between any two; an endpoint's own `timeout` goes before it."""
    max_body_bytes: int = 32 * MEBIBYTE
    """The largest request."""
    max_concurrent: int = 2048
    """Requests in flight; further ones are refused at once with 503."""
    cors_origins: tuple[str, ...] = ()
    """The origins, as `https://app.example`, whose pages and programs may use the gateway from a browser; `*`: all."""
    echo: bool = False
    """Whether the upstream is the offline echo, which the page then says."""
    service_proxy: Proxy | None = field(init=False, default=None)
    """The proxy that the environment names for the decision service."""
    _keys: dict[str, str | None] = field(init=False, repr=False, default_factory=dict)
    _proxies: dict[str, Proxy | None] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("decision_timeout_s", "connect_timeout_s", "upstream_timeout_s"):
            seconds = getattr(self, name)
            if not 0 < seconds < math.inf:
                raise EndpointsError(f"{name} must be a positive number of seconds, not {seconds}")
        for name in ("max_body_bytes", "max_concurrent"):
            if getattr(self, name) < 1:
                raise EndpointsError(f"{name} must be at least 1")
        object.__setattr__(self, "cors_origins", tuple(_serialized(each) for each in self.cors_origins))
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise EndpointsError(
                    f"the origin {origin!r} must be like https://app.example or app://obsidian.md, without a path, or *"
                )
        for role in ("strong_model", "weak_model", "fallback_model"):
            model = getattr(self.endpoints, role)
            if model is not None and self.endpoints.find(model) is None:
                raise EndpointsError(f"{role} is {model!r}, for which there is no endpoint and no default")
        for name, endpoint in self.named_endpoints():
            try:
                self._keys[name] = _checked_key(endpoint)
                self._proxies[name] = proxy_for_url(endpoint.base_url)
            except (EndpointsError, ProxyError) as error:
                raise EndpointsError(f"model {name!r}: {error}") from None
        self._check_names()

    def _check_names(self) -> None:
        try:
            if self.endpoints.service is not None:
                check_target(self.endpoints.service, "service")
            object.__setattr__(self, "service_proxy", proxy_for_target(self.service))
        except ProxyError as error:
            raise EndpointsError(f"service: {error}") from None
        except ValueError as error:
            raise EndpointsError(str(error)) from None
        if self.endpoints.default is not None and DEFAULT_NAME in self.endpoints:
            raise EndpointsError(f"a model is called {DEFAULT_NAME!r}, and there is a default too; rename that model")
        for name in self.endpoints:
            if name.startswith(PREFIX):
                raise EndpointsError(f"model {name!r} begins with {PREFIX!r}, which asks for a decision; rename it")

    @property
    def service(self) -> str:
        """Where the decision service is: `host:port`, `unix:PATH`, or another target of gRPC's."""
        return self.endpoints.service or DEFAULT_TARGET

    def key(self, name: str) -> str | None:
        """The own key of the endpoint of that name, read when the configuration was made; None when it has none."""
        return self._keys[name]

    def proxy(self, name: str) -> Proxy | None:
        """The proxy that the environment names for the endpoint of that name, read when the configuration was made."""
        return self._proxies[name]

    def named_endpoints(self) -> Iterator[tuple[str, Endpoint]]:
        """Every endpoint with its name; the default's is `DEFAULT_NAME`."""
        yield from self.endpoints.items()
        if self.endpoints.default is not None:
            yield DEFAULT_NAME, self.endpoints.default


def _serialized(origin: str) -> str:
    """As browsers write it: in lower case, without the scheme's usual port."""
    origin = origin.lower()
    for scheme, port in (("http://", ":80"), ("https://", ":443")):
        if origin.startswith(scheme):
            return origin.removesuffix(port)
    return origin


def _checked_key(endpoint: Endpoint) -> str | None:
    """The endpoint's own key, when all that it says can be sent over HTTP.

    Raises:
        EndpointsError: It cannot, or the key's variable is not set.
    """
    if endpoint.base_url == LITELLM:
        raise EndpointsError(
            "it is called through LiteLLM, which the gateway does not do; give it the base_url of an OpenAI-compatible "
            "server (LiteLLM's own proxy is one)"
        )
    if urlsplit(endpoint.base_url).path.rstrip("/").endswith("/chat/completions"):
        raise EndpointsError("base_url must end before /chat/completions, which is added to it")
    for name in endpoint.headers:
        if not _HEADER_NAME.fullmatch(name):
            raise EndpointsError(f"the header {name!r} cannot be sent: its name must be letters, digits and dashes")
    return endpoint.key()
