"""Why an upstream gave no answer: for the log in full, for the caller without saying where it is."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from routing_gateway.errors import SERVER, GatewayError

if TYPE_CHECKING:
    from routing_client.proxies import Proxy

    from routing_gateway.targets import Target

_ANSWERS = {
    "unreachable": (502, "cannot be reached"),
    "timeout": (504, "did not answer in time"),
    "broken": (502, "broke off its answer"),
}


class UpstreamError(Exception):
    """An upstream gave no answer, or not all of it.

    Args:
        target: Who it was.
        kind: `unreachable`, `timeout` or `broken`.
        cause: What happened, for the log: no credentials, and nothing of the request or the answer.
    """

    def __init__(self, target: Target, kind: str, cause: str = "") -> None:
        super().__init__(kind)
        self.target = target
        self.kind = kind
        self.cause = cause

    def __str__(self) -> str:
        whose = f"the upstream of {self.target.name!r} at {urlsplit(self.target.endpoint.base_url).netloc}"
        return f"{whose} {_ANSWERS[self.kind][1]}{f': {self.cause}' if self.cause else ''}"

    def as_answer(self) -> GatewayError:
        """What to tell the caller."""
        status, what = _ANSWERS[self.kind]
        whose = f"the upstream of model {self.target.model!r}" if self.target.model else "the default upstream"
        return GatewayError(status, f"{whose} {what}", kind=SERVER, code=f"upstream_{self.kind}")


def cause_of(error: BaseException, proxy: Proxy | None = None) -> str:
    """What happened, in the usual words. Never an exception's own text, which may quote what was sent or received.

    Args:
        error: As the HTTP client raised it.
        proxy: What the call went through.
    """
    through = "" if proxy is None else f" (through the proxy {proxy})"
    return _cause(error) + through


def _cause(error: BaseException) -> str:
    # With aiohttp 3.11, the error of a certificate has no `os_error`, though its class says so.
    inner = getattr(error, "os_error", error) if isinstance(error, aiohttp.ClientConnectorError) else error
    for each in (error, inner):
        if isinstance(each, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError):
            found = each if isinstance(each, ssl.SSLCertVerificationError) else each.certificate_error
            return f"TLS: its certificate is not valid ({getattr(found, 'verify_message', None) or 'not trusted'})"
        if isinstance(each, ssl.SSLError | aiohttp.ClientConnectorSSLError):
            return f"TLS: {getattr(inner, 'reason', None) or 'the handshake failed'}"
        if isinstance(each, aiohttp.ClientConnectorDNSError | socket.gaierror):
            return "DNS: its name is not known"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection within the timeout"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(inner, ConnectionRefusedError):
        return "connection refused"
    if isinstance(inner, ConnectionResetError):
        return "connection reset"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    if isinstance(inner, OSError) and inner.strerror and inner.errno is not None:
        # The words of the system, which the HTTP client has put the address into.
        return _os_error(inner)
    return type(error).__name__


def _os_error(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else type(error).__name__
