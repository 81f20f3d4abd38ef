"""Addresses, read in one way by all parts: where a server listens, and what a client connects to."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

DEFAULT_TARGET = "127.0.0.1:50051"
# What `sun_path` holds, less the byte that ends it.
MAX_UNIX_PATH_BYTES = 103 if sys.platform == "darwin" else 107

_UNIX = "unix:"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Names that only a resolver of gRPC's can read; nothing in them can be checked here.
_OPAQUE = ("unix-abstract:", "vsock:", "xds:", "google-c2p:")
_LOCAL = ("unix-abstract:", "vsock:")
_EXAMPLE_PORT = DEFAULT_TARGET.rpartition(":")[2]
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Address:
    """`HOST:PORT`, or the socket `unix:PATH`. As text, it is what `read_address` reads."""

    host: str = ""
    """A name, or an IP address without brackets; empty for a socket."""
    port: int = 0
    """From 0 to 65535."""
    path: Path | None = None
    """The socket's file."""

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def absolute(self) -> Address:
        """The same for whoever is in another folder; itself where a socket's whole path would be too long."""
        if self.path is None or len(os.fsencode(self.path.absolute())) > MAX_UNIX_PATH_BYTES:
            return self
        return Address(path=self.path.absolute())

    @property
    def target(self) -> str:
        """The address as gRPC takes it, which reads a path as a URL's."""
        return str(self) if self.path is None else f"{_UNIX}{quote(os.fsencode(self.path))}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a client connects to."""

    grpc: str
    """As gRPC takes it."""
    addresses: tuple[Address, ...]
    """Those in it; empty where only gRPC can tell."""
    is_local: bool = False
    """Whether it can only be on this machine, whatever the addresses."""


def read_address(text: str) -> Address:
    """Read `HOST:PORT`, with an IPv6 host in brackets, or `unix:PATH`. Port 0 is any free one.

    Raises:
        ValueError: It is neither. The message says what to write.
    """
    if text.startswith(_UNIX):
        return Address(path=_socket_path(text))
    if not text.strip():
        raise ValueError(f"the address is empty; write HOST:PORT, e.g. {DEFAULT_TARGET}")
    if any(char.isspace() or not char.isprintable() for char in text):
        raise _wrong(text, "it has white space in it", "it without")
    if "@" in text:  # perhaps with a password, which is not to be repeated
        raise ValueError(f"the address has a user name in it; write HOST:PORT, e.g. {DEFAULT_TARGET}")
    if found := _URL.match(text):
        rest = re.split(r"[/?#]", text[found.end() :])[0]
        advice = rest if _is_address(rest) else f"HOST:PORT, e.g. {DEFAULT_TARGET}"
        raise _wrong(text, "it is a URL", f"{advice}, without {found[0].lower()}")
    if any(char in text for char in "/?#,\\"):
        raise _wrong(text, "it has a path or a list in it", f"HOST:PORT, e.g. {DEFAULT_TARGET}")
    return _host_and_port(text)


def read_port(text: str) -> int:
    """Read a port, from 0 to 65535.

    Raises:
        ValueError: It is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError(f"{text[:_SHOWN]!r} is not a port from 0 to 65535")
    return int(text)


def read_target(text: str) -> Target:
    """Read what a client connects to: `HOST:PORT`, `unix:PATH`, or a target of gRPC's, such as `dns:///router:50051`.

    Raises:
        ValueError: gRPC would look for it at another place, or would not find it at any call.
    """
    if text.startswith(_OPAQUE):
        if not text.partition(":")[2].strip("/"):
            raise _wrong(text, "it has no name", f"HOST:PORT, e.g. {DEFAULT_TARGET}")
        return Target(text, (), is_local=text.startswith(_LOCAL))
    scheme, colon, rest = text.partition(":")
    if colon and scheme in ("ipv4", "ipv6"):
        found = tuple(_connectable(each, text) for each in rest.lstrip("/").split(","))
        if not all(_is_ip(each.host, 4 if scheme == "ipv4" else 6) for each in found):
            raise _wrong(text, f"{scheme}: is for addresses of that kind only", "dns: before a name")
        return Target(text, found)
    if colon and scheme == "dns":
        # `//SERVER/` in front names the DNS server to ask.
        return Target(text, (_connectable(re.sub(r"^(//[^/]*)?/", "", rest), text),))
    address = _connectable(text, text)
    return Target(address.target, (address,))


def check_target(target: str, name: str = "target") -> str:
    """`target`, if it can be a service's address; see `read_target`.

    Raises:
        ValueError: It cannot be. The message begins with `name`.
    """
    try:
        read_target(target)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return target


def _connectable(text: str, whole: str) -> Address:
    try:
        address = read_address(text)
    except ValueError as error:
        raise (error if text == whole else ValueError(f"{whole[:_SHOWN]!r} is not a target: {error}")) from None
    if address.path is None and not address.port:
        raise _wrong(whole, "port 0 is for listening only", "the port that the service listens on")
    return address


def _host_and_port(text: str) -> Address:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _is_ip(host, 6):
            raise _wrong(text, "in brackets there must be an IPv6 address", f"[::1]:{_EXAMPLE_PORT}")
    elif text.count(":") > 1:
        fits = _is_ip(text, 6)
        raise _wrong(
            text,
            "an IPv6 address needs brackets and a port" if fits else "it has more than one colon",
            f"[{text}]:{_EXAMPLE_PORT}" if fits else f"HOST:PORT, e.g. {DEFAULT_TARGET} or [::1]:{_EXAMPLE_PORT}",
        )
    else:
        host, colon, rest = text.partition(":")
        rest = colon + rest
        if host.isdecimal() and not colon:
            raise _wrong(text, "it has no host", f"127.0.0.1:{host}")
    shown = text.removesuffix(rest) if rest else text
    if not rest.startswith(":") or rest == ":":
        raise _wrong(text, "it has no port", f"{shown or 'HOST'}:{_EXAMPLE_PORT}")
    if not host:
        raise _wrong(text, "it has no host", f"127.0.0.1{rest}, or 0.0.0.0{rest} to listen at every address")
    if "[" in host or "]" in host or "*" in host:
        raise _wrong(text, f"{host!r} is not a host", f"HOST:PORT, e.g. 0.0.0.0:{_EXAMPLE_PORT} for every address")
    try:
        return Address(host, read_port(rest[1:]))
    except ValueError as error:
        raise _wrong(text, str(error), f"HOST:PORT, e.g. {shown}:{_EXAMPLE_PORT}") from None


def _socket_path(text: str) -> Path:
    path = text.removeprefix(_UNIX)
    if path.startswith("//"):
        if not path.startswith("///"):
            raise _wrong(text, "a path follows", "unix:PATH or unix:///PATH")
        path = path[2:]
    if not path or path.endswith("/") or not path.isprintable():
        raise _wrong(text, "it names no file", "unix:PATH, e.g. unix:/run/routing/routing.sock")
    if len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
        raise _wrong(text, f"the path has more than {MAX_UNIX_PATH_BYTES} bytes, the system's limit", "a shorter one")
    return Path(path)


def _is_ip(host: str, version: int) -> bool:
    try:
        return ip_address(host).version == version
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        return bool(read_address(text))
    except ValueError:
        return False


def _wrong(text: str, problem: str, advice: str) -> ValueError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return ValueError(f"{shown!r} is not an address: {problem}; write {advice}")
