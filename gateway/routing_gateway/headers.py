"""Which headers cross the gateway, and in which form: the rules of RFC 9110, section 7.6, and a few of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing_gateway.credentials import may_hold_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routing_client.endpoints import Endpoint

RawHeaders = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# The length is the new body's, and the host the upstream's; bodies are sent decoded. What a browser says about our page
# is no business of a provider; Ollama, for one, refuses an origin that it does not know.
_NOT_SENT = _HOP_BY_HOP | {
    b"host",
    b"content-encoding",
    b"content-length",
    b"expect",
    b"cookie",
    b"origin",
    b"referer",
}
# The server writes its own date. The others speak of the upstream's own origin: here its cookies would go to all
# upstreams, and its other addresses are not the gateway's. Who may read answers is the gateway's to say.
_NOT_RETURNED = _HOP_BY_HOP | {b"date", b"set-cookie", b"alt-svc", b"strict-transport-security"}
_NOT_RETURNED_PREFIXES = (b"x-routing-", b"access-control-")


def to_upstream(received: RawHeaders, endpoint: Endpoint, key: str | None) -> list[tuple[str, str]]:
    """The headers to send upstream.

    Args:
        received: The caller's, names in lower case.
        endpoint: Where the request goes; its own headers replace the caller's of the same name.
        key: The endpoint's own key. With it, nothing that may hold a key of the caller's is passed on; None: all is.
    """
    dropped = _named_by_connection(received) | {name.lower().encode("latin-1") for name in endpoint.headers}
    headers = [
        (name.decode("latin-1"), _text(value))
        for name, value in received
        if name not in _NOT_SENT
        and name not in dropped
        and not name.startswith((b"sec-", b"x-routing-"))
        and (key is None or not may_hold_key(name, value))
    ]
    headers += endpoint.headers.items()
    if key is not None:
        headers.append(endpoint.key_header(key))
    return headers


def to_caller(received: Iterable[tuple[bytes, bytes]], added: RawHeaders) -> RawHeaders:
    """The headers to answer with: the upstream's, which may come in any case, and `added`."""
    lowered = [(name.lower(), value) for name, value in received]
    dropped = _named_by_connection(lowered)
    kept = [
        (name, value)
        for name, value in lowered
        if name not in _NOT_RETURNED and name not in dropped and not name.startswith(_NOT_RETURNED_PREFIXES)
    ]
    return kept + added


def header(headers: RawHeaders, name: bytes) -> bytes | None:
    """The value of the first header of that name, in lower case, or None."""
    return next((value for key, value in headers if key == name), None)


def tokens(headers: RawHeaders, name: bytes) -> list[bytes]:
    """The comma-separated values of all headers of that name, in lower case, empty ones left out."""
    values = [value for key, value in headers if key == name]
    if not values:
        return []
    return [token for part in b",".join(values).split(b",") if (token := part.strip().lower())]


def field_value(text: str) -> bytes:
    """`text` as a header's value: printable ASCII, everything else escaped as in Python."""
    return text.encode("unicode_escape")


def _text(value: bytes) -> str:
    """As the HTTP client, which writes UTF-8, sends the same bytes again; other bytes than UTF-8 it cannot send."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _named_by_connection(headers: RawHeaders) -> set[bytes]:
    return set(tokens(headers, b"connection"))
