from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given
from routing_client.endpoints import Endpoint
from routing_gateway.headers import field_value, to_caller, to_upstream

ENDPOINT = Endpoint("http://upstream/v1", headers={"X-Own": "1"})


def test_what_concerns_one_connection_goes_no_further() -> None:
    received = [
        (b"host", b"gateway"),
        (b"connection", b"keep-alive, X-Hop"),
        (b"x-hop", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"5"),
        (b"te", b"trailers"),
        (b"expect", b"100-continue"),
        (b"accept-encoding", b"gzip"),
        (b"openai-organization", b"org"),
    ]
    assert to_upstream(received, ENDPOINT, None) == [
        ("accept-encoding", "gzip"),
        ("openai-organization", "org"),
        ("X-Own", "1"),
    ]


def test_what_a_browser_says_about_the_page_goes_no_further() -> None:
    received = [(b"origin", b"o"), (b"referer", b"r"), (b"cookie", b"c"), (b"sec-fetch-site", b"s"), (b"dnt", b"1")]
    assert to_upstream(received, ENDPOINT, None)[:-1] == [("dnt", "1")]


def test_the_endpoints_key_and_headers_replace_the_callers() -> None:
    received = [(b"authorization", b"Bearer caller"), (b"x-own", b"2")]
    assert to_upstream(received, ENDPOINT, "own") == [("X-Own", "1"), ("authorization", "Bearer own")]
    assert to_upstream(received, ENDPOINT, None) == [("authorization", "Bearer caller"), ("X-Own", "1")]


def test_the_answers_headers() -> None:
    received = [
        (b"Content-Type", b"text/event-stream"),
        (b"Content-Encoding", b"gzip"),
        (b"Content-Length", b"7"),
        (b"Connection", b"close"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Set-Cookie", b"a=1"),
        (b"X-Routing-Model", b"another gateway's"),
        (b"Retry-After", b"3"),
    ]
    assert to_caller(received, [(b"x-routing-model", b"m")]) == [
        (b"content-type", b"text/event-stream"),
        (b"content-encoding", b"gzip"),
        (b"content-length", b"7"),
        (b"retry-after", b"3"),
        (b"x-routing-model", b"m"),
    ]


@given(st.text())
def test_any_name_makes_a_sound_header(text: str) -> None:
    assert all(0x20 <= byte < 0x7F for byte in field_value(text))


@pytest.mark.parametrize("make", [str.upper, str.title])
def test_names_of_headers_have_no_case(make: Callable[[str], str]) -> None:
    assert to_caller([(make("transfer-encoding").encode(), b"chunked")], []) == []
