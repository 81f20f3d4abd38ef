"""The proxy variables, read in one way by all parts.

The libraries below disagree: gRPC sends even 127.0.0.1 through a proxy and reads lower case only, httpx raises for
`NO_PROXY=::1/128`, and `.example.com` has three meanings. So each of them is told which proxy to use, or none.

- What is on this machine is never reached through a proxy: loopback addresses, `localhost`, sockets of `unix:PATH`.
- Nor is what `no_proxy` has: `*`; a name, which stands for all names below it too, with or without a dot or `*.` in
  front; an IP address; a network such as `10.0.0.0/8`; any of them with a port. Entries are separated by commas or
  spaces. What is none of these names nothing.
- Else `https_proxy` holds for `https://` and `http_proxy` for `http://`, or `all_proxy` where that is not set. For gRPC
  it is the first of `grpc_proxy`, `https_proxy` and `http_proxy`, as gRPC has it, and `no_grpc_proxy` goes before
  `no_proxy`.
- A variable in lower case goes before the same in upper case, and turns it off when it is empty.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from routing_client.targets import read_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "HTTP_KINDS",
    "Proxy",
    "ProxyError",
    "channel_options",
    "httpx_kinds",
    "proxies_are_set",
    "proxy_for_target",
    "proxy_for_url",
]

HTTP_KINDS = ("http", "https")
_VARIABLES = {
    "http": ("http_proxy", "all_proxy"),
    "https": ("https_proxy", "all_proxy"),
    "grpc": ("grpc_proxy", "https_proxy", "http_proxy"),
}
_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_THIS_MACHINE = frozenset({"localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"})

_Host = IPv4Address | IPv6Address | str


class ProxyError(ValueError):
    """A proxy variable cannot be used. The message names it, without its value, which may hold a password."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. As text, it is without user name and password: `http://proxy.example:3128 (https_proxy)`."""

    variable: str
    """The environment variable that names it."""
    url: str = field(repr=False)
    """Its address, with user name and password if there are any, and always with a port."""

    def __str__(self) -> str:
        scheme, _, place = self.url.partition("://")
        return f"{scheme}://{place.rpartition('@')[2]} ({self.variable})"


def proxy_for_url(
    url: str, kinds: Sequence[str] = HTTP_KINDS, environ: Mapping[str, str] | None = None
) -> Proxy | None:
    """The proxy through which an HTTP URL is to be reached.

    Args:
        url: `http://...` or `https://...`.
        kinds: The kinds of proxies that the HTTP library knows, by their URLs' scheme.
        environ: The variables; by default the process's.

    Raises:
        ProxyError: A variable names what is no proxy, or one of another kind.
    """
    parts = urlsplit(url)
    place = (parts.hostname or "", parts.port or _PORTS.get(parts.scheme))
    return _proxy([place], parts.scheme, ("no_proxy",), kinds, environ)


def proxy_for_target(target: str, environ: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy through which a gRPC target is to be reached.

    Raises:
        ValueError: `target` is none.
        ProxyError: A variable names what is no proxy, or a proxy of a kind other than `http://`; gRPC knows only that.
    """
    read = read_target(target)
    if read.is_local:
        return None
    places = [(address.host, address.port) for address in read.addresses if address.path is None]
    if read.addresses and not places:
        return None
    return _proxy(places, "grpc", ("no_grpc_proxy", "no_proxy"), ("http",), environ)


def proxies_are_set() -> bool:
    """Whether any of the variables that HTTP libraries read for themselves is set."""
    return any(_variable(name, os.environ) for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"))


def httpx_kinds() -> tuple[str, ...]:
    """The kinds of proxies that httpx knows here: SOCKS only with the package socksio."""
    return (*HTTP_KINDS, "socks5", "socks5h") if find_spec("socksio") else HTTP_KINDS


def channel_options(proxy: Proxy | None) -> list[tuple[str, Any]]:
    """The options that make a gRPC channel use `proxy`, or none whatever the environment says."""
    return [("grpc.enable_http_proxy", 0)] if proxy is None else [("grpc.http_proxy", proxy.url)]


def _proxy(
    places: Iterable[tuple[str, int | None]],
    scheme: str,
    exempting: Sequence[str],
    kinds: Sequence[str],
    environ: Mapping[str, str] | None,
) -> Proxy | None:
    environ = os.environ if environ is None else environ
    found = next((each for name in _VARIABLES.get(scheme, ()) if (each := _variable(name, environ))), None)
    if found is None:
        return None
    _, exempt = next((each for name in exempting if (each := _variable(name, environ))), ("", ""))
    reached = [(_host(host), port) for host, port in places]
    if reached and all(_is_here(host) or _is_exempt(host, port, exempt) for host, port in reached):
        return None
    if "*" in _entries(exempt):
        return None
    return Proxy(found[0], _checked(*found, kinds))


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """A variable's name as it is set, and its value; None if it is not set or empty."""
    spelling = name if name in environ else name.upper()
    if spelling == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        return None  # under CGI, whoever calls can set it with a header
    value = environ.get(spelling, "").strip()
    return (spelling, value) if value else None


def _checked(variable: str, value: str, kinds: Sequence[str]) -> str:
    """The URL of the proxy, whole."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port == 0 or not value.isprintable() or " " in value or parts.scheme not in _PORTS:
        raise ProxyError(f"the environment variable {variable} does not name a proxy; it must be like http://HOST:PORT")
    if parts.scheme not in kinds:
        known = " or ".join(f"{kind}://" for kind in kinds)
        raise ProxyError(
            f"the environment variable {variable} names a proxy of the kind {parts.scheme}://, and here only {known} "
            "can be used; set another, or add the host that is to be reached without a proxy to no_proxy"
        )
    user = parts.netloc.rpartition("@")[0]
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{user}{'@' if user else ''}{place}:{port or _PORTS[parts.scheme]}"


def _host(name: str) -> _Host:
    """An IP address, or a name in lower case without the dot at its end."""
    name = name.strip("[]").rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        try:
            # As the system's resolver reads them: 127.1 is 127.0.0.1.
            return ip_address(socket.inet_aton(name)) if name[:1].isdecimal() else name
        except OSError:
            return name
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_here(host: _Host) -> bool:
    if isinstance(host, str):
        return host in _THIS_MACHINE or host.endswith(".localhost")
    # Whoever connects to 0.0.0.0 or :: reaches this machine.
    return host.is_loopback or host.is_unspecified


def _entries(exempt: str) -> list[str]:
    return [entry for entry in re.split(r"[\s,;]+", exempt) if entry]


def _is_exempt(host: _Host, port: int | None, exempt: str) -> bool:
    return any(_matches(entry, host, port) for entry in _entries(exempt))


def _matches(entry: str, host: _Host, port: int | None) -> bool:
    if entry == "*":
        return True
    entry = entry.partition("://")[2] or entry
    if "/" in entry:
        return not isinstance(host, str) and _in_network(entry, host)
    name, colon, suffix = entry.rpartition(":")
    if colon and suffix.isdecimal() and (":" not in name or name.endswith("]")):
        if int(suffix) != port:
            return False
        entry = name
    exempted = _host(entry.removeprefix("*").lstrip("."))
    if isinstance(exempted, str) and isinstance(host, str):
        return bool(exempted) and (host == exempted or host.endswith(f".{exempted}"))
    return host == exempted


def _in_network(entry: str, host: IPv4Address | IPv6Address) -> bool:
    try:
        network = ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False
    return host in network
