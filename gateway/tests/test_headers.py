from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given
from routing_client.endpoints import Endpoint
from routing_gateway.credentials import without_keys
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
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMA"),
        (b"x-routing-model", b"the caller's own"),
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
    assert to_upstream(received, ENDPOINT, "own") == [("X-Own", "1"), ("Authorization", "Bearer own")]
    assert to_upstream(received, ENDPOINT, None) == [("authorization", "Bearer caller"), ("X-Own", "1")]


@pytest.mark.parametrize(
    "name",
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "ocp-apim-subscription-key", "x-auth-token", "apikey",
     "helicone-auth", "x-litellm-api-key", "cf-aig-authorization", "x-amz-security-token", "x-access-token", "jwt",
     "x-my-secret", "x-signature", "proxy-authorization", "cookie", "x_api_key"],
)  # fmt: skip
def test_no_key_of_the_callers_goes_where_another_is_sent(name: str) -> None:
    received = [(name.encode(), b"caller"), (b"x-kept", b"1")]
    assert to_upstream(received, ENDPOINT, "own") == [("x-kept", "1"), ("X-Own", "1"), ("Authorization", "Bearer own")]


@pytest.mark.parametrize("value", [b"Bearer caller", b"basic Y2FsbGVy", b" sk-caller", b"eyJhbGciOi.eyJzdWIi.c2ln"])
def test_nor_does_one_under_a_name_of_its_own(value: bytes) -> None:
    assert to_upstream([(b"x-mine", value)], ENDPOINT, "own") == [("X-Own", "1"), ("Authorization", "Bearer own")]


@pytest.mark.parametrize(
    "name",
    ["idempotency-key", "openai-organization", "openai-beta", "anthropic-version", "x-request-id", "session-id",
     "traceparent", "x-stainless-lang", "user-agent", "accept", "content-type", "x-session-affinity", "thread-id"],
)  # fmt: skip
def test_what_holds_no_key_is_passed_on_there_too(name: str) -> None:
    assert (name, "1") in to_upstream([(name.encode(), b"1")], ENDPOINT, "own")


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-goog-api-key"])
def test_a_server_without_a_key_of_its_own_gets_the_callers(name: str) -> None:
    assert (name, "caller") in to_upstream([(name.encode(), b"caller")], ENDPOINT, None)


def test_a_key_goes_into_the_header_that_the_server_wants() -> None:
    endpoint = Endpoint("http://upstream/v1", api_key_header="api-key")
    received = [(b"authorization", b"Bearer caller"), (b"api-key", b"caller")]
    assert to_upstream(received, endpoint, "own") == [("api-key", "own")]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("key=caller&alt=sse", "alt=sse"),
        ("api-version=1&api%2Dkey=caller", "api-version=1"),
        ("x=sk-caller&access_token=c&after=1", "after=1"),
        ("limit=20&after=a%2Fb&page_token=t&empty", "limit=20&after=a%2Fb&page_token=t&empty"),
        ("", ""),
    ],
)
def test_nor_does_one_in_the_query(query: str, kept: str) -> None:
    assert without_keys(query) == kept


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
