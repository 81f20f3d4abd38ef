"""What the gateway passes on, and what it changes."""

from __future__ import annotations

import gzip
import socket
from typing import Any

import pytest
from routing_client.endpoints import Endpoint
from routing_client.testing import FakeService
from routing_gateway.echo import RunningEcho

from .conftest import Gateway, MakeGateway
from .scripted import ScriptedUpstream

SOUND = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def answering(data: bytes) -> Any:
    def script(connection: socket.socket) -> None:
        connection.sendall(data)

    return script


@pytest.mark.parametrize(("text", "model", "tier"), [("hard one", "big", "strong"), ("easy", "small", "weak")])
def test_the_decided_model_answers(gateway: Gateway, text: str, model: str, tier: str) -> None:
    answer = gateway.chat("router-fake-0.5", text)
    assert answer.status == 200
    assert answer.json()["model"] == model
    shown = {name: value for name, value in answer.headers.items() if name.startswith("x-routing-")}
    assert shown.pop("x-routing-decision-id").startswith("fake-")
    assert shown == {
        "x-routing-model": model,
        "x-routing-tier": tier,
        "x-routing-win-rate": "0.9" if tier == "strong" else "0.1",
        "x-routing-threshold": "0.5",
        "x-routing-router": "fake",
    }


@pytest.mark.parametrize(
    ("model", "threshold"),
    [("router-fake-0.05", 0.05), ("router-fake-30pct", 0.7), ("router-cheap", 0.95), ("router-fake", 0.5)],
)
def test_every_form_of_a_routers_name(gateway: Gateway, model: str, threshold: float) -> None:
    answer = gateway.chat(model)
    assert float(answer.headers["x-routing-threshold"]) == pytest.approx(threshold)


def test_only_the_models_name_is_changed(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    raw = (
        b'{ "new_field": {"model": "router-fake-0.5"}, "temperature":1.000000000000000000001,\n'
        b'  "model" : "router-fake-0.5", "seed": 123456789012345678901234567890,\t"stop":"\\u00e9\\/\xc3\xa9",\n'
        b'  "messages": [{"role":"user","content":"hard \\"model\\":\\"x\\"","name":null}]}'
    )
    assert scripted_gateway.request("POST", "/v1/chat/completions", raw).status == 200
    assert scripted.requests[-1][1] == raw.replace(b'"model" : "router-fake-0.5"', b'"model" : "big"')
    assert scripted.header("content-length") == str(len(scripted.requests[-1][1]))


def test_the_upstreams_own_name_for_a_model(make_gateway: MakeGateway, scripted: ScriptedUpstream) -> None:
    gateway = make_gateway(models={"big": Endpoint(scripted.base_url, upstream_model="vendor/big-7b")})
    raw = b'{"model":"big","messages":[{"role":"user","content":"x"}]}'
    answer = gateway.request("POST", "/v1/chat/completions", raw)
    assert scripted.requests[-1][1] == raw.replace(b'"big"', b'"vendor/big-7b"')
    assert not any(name.startswith("x-routing-") for name in answer.headers), "nothing was decided"


def test_another_models_name_goes_to_the_default_as_it_came(gateway: Gateway, fake: FakeService) -> None:
    answer = gateway.chat("gpt-something-new")
    assert answer.json()["model"] == "gpt-something-new"
    assert not fake.calls


def test_tiers_are_mapped_to_the_configured_pair(make_gateway: MakeGateway, echo: RunningEcho) -> None:
    endpoint = Endpoint(echo.base_url)
    gateway = make_gateway(models={"s": endpoint, "w": endpoint}, strong_model="s", weak_model="w", default=None)
    assert gateway.chat(text="hard").json()["model"] == "s"
    assert gateway.chat(text="easy").headers["x-routing-model"] == "w"


def test_the_target_and_its_headers(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    scripted_gateway.request(
        "POST",
        "/v1/chat/completions?beta=1&x=%2F",
        {"model": "big", "messages": [{"role": "user", "content": "x"}]},
        {"Authorization": "Bearer caller", "OpenAI-Beta": "x", "Accept-Encoding": "gzip", "Connection": "x-hop, close",
         "X-Hop": "1", "User-Agent": "sdk/1", "Cookie": "a=1", "Origin": f"http://{scripted_gateway.address}"},
    )  # fmt: skip
    assert scripted.head.split("\r\n")[0] == "POST /v1/chat/completions?beta=1&x=%2F HTTP/1.1"
    assert scripted.header("host") == scripted.base_url.removeprefix("http://").removesuffix("/v1")
    assert scripted.header("authorization") == "Bearer caller"
    assert scripted.header("openai-beta") == "x"
    assert scripted.header("accept-encoding") == "gzip"
    assert scripted.header("user-agent") == "sdk/1"
    assert scripted.head.lower().count("content-type:") == 1
    for name in ("x-hop", "cookie", "origin", "connection"):
        assert scripted.header(name) is None, name


def test_an_endpoints_own_key_replaces_the_callers(make_gateway: MakeGateway, scripted: ScriptedUpstream) -> None:
    gateway = make_gateway(models={"big": Endpoint(scripted.base_url, api_key="own"), "small": Endpoint("http://x/v1")})
    body = {"model": "big", "messages": [{"role": "user", "content": "x"}]}
    gateway.request("POST", "/v1/chat/completions", body, {"Authorization": "Bearer caller"})
    assert scripted.header("authorization") == "Bearer own"
    gateway.request("POST", "/v1/chat/completions", body)
    assert scripted.header("authorization") == "Bearer own"


def test_a_caller_without_a_key_sends_none(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    scripted_gateway.chat("big")
    assert scripted.header("authorization") is None


def test_compressed_answers_are_passed_on_as_they_are(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    packed = gzip.compress(b'{"id": "x"}')
    scripted.script = answering(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%s"
        % (len(packed), packed)
    )
    answer = scripted_gateway.chat("big")
    assert (answer.body, answer.headers["content-encoding"]) == (packed, "gzip")
    assert answer.headers["content-length"] == str(len(packed))


@pytest.mark.parametrize("status", [b"400 Bad Request", b"401 Unauthorized", b"404 Not Found", b"422 x", b"302 Found"])
def test_an_upstreams_error_is_passed_on(scripted_gateway: Gateway, scripted: ScriptedUpstream, status: bytes) -> None:
    body = b'{"error":{"message":"no such thing","vendor_field":[1,2.50]}}'
    scripted.script = answering(
        b"HTTP/1.1 %s\r\nretry-after: 7\r\nlocation: /x\r\nx-request-id: r1\r\ncontent-length: %d\r\n\r\n%s"
        % (status, len(body), body)
    )
    answer = scripted_gateway.chat(text="hard")
    assert (answer.status, answer.body) == (int(status[:3]), body)
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-request-id"] == "r1"
    assert answer.headers["x-routing-model"] == "big"
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_an_answer_that_is_no_json_is_passed_on(
    scripted_gateway: Gateway, scripted: ScriptedUpstream, kind: str
) -> None:
    page = b"<!doctype html><p>Welcome"
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(page)}\r\n\r\n"
    scripted.script = answering(head.encode() + page)
    assert scripted_gateway.chat("big").body == page


def test_an_answer_without_a_length_ends_with_its_connection(
    scripted_gateway: Gateway, scripted: ScriptedUpstream
) -> None:
    scripted.script = answering(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + b"x" * 100_000)
    answer = scripted_gateway.chat("big")
    assert answer.body == b"x" * 100_000
    assert answer.headers["transfer-encoding"] == "chunked"


def test_pieces_of_a_stream_are_passed_on_as_they_arrive(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    # Cut in the middle of an event and of a character: the next piece is sent when the caller has got this one.
    pieces = [b'data: {"a": "\xf0\x9f', b"\x98\x80", b'"}\n', b"\ndata: [DO", b"NE]\n\n"]
    got: list[bytes] = []
    turns = [socket.socketpair() for _ in pieces]

    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece, (mine, _) in zip(pieces, turns, strict=True):
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            mine.recv(1)
        connection.sendall(b"0\r\n\r\n")

    scripted.script = script
    body = {"model": "router-fake-0.5", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    with scripted_gateway.connect(body) as connection:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(1 << 16)
        head, _, received = received.partition(b"\r\n\r\n")
        for piece, (_, theirs) in zip(pieces, turns, strict=True):
            expected = b"%x\r\n%s\r\n" % (len(piece), piece)
            while len(received) < len(expected):
                received += connection.recv(1 << 16)
            assert received == expected
            got.append(received)
            received = b""
            theirs.send(b"x")
        assert connection.recv(100) == b"0\r\n\r\n"
    for pair in turns:
        for end in pair:
            end.close()
    assert b"x-routing-model: small" in head
    assert len(got) == len(pieces)


def test_other_paths_go_to_the_endpoint_of_their_model(make_gateway: MakeGateway, scripted: ScriptedUpstream) -> None:
    gateway = make_gateway(
        models={"emb": Endpoint(scripted.base_url, upstream_model="text-embedding-3", api_key="own")}, default=None
    )
    answer = gateway.request("POST", "/v1/embeddings", {"model": "emb", "input": "x"})
    assert (answer.status, answer.body) == (200, b"{}")
    assert scripted.head.startswith("POST /v1/embeddings ")
    assert scripted.requests[-1][1] == b'{"model": "text-embedding-3", "input": "x"}'
    assert gateway.request("POST", "/v1/embeddings", {"model": "unknown", "input": "x"}).error["code"] == (
        "model_not_found"
    )
    assert gateway.request("GET", "/v1/files").error["code"] == "no_upstream"


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "PUT", "PATCH"])
def test_paths_that_name_no_model_go_to_the_default(
    scripted_gateway: Gateway, scripted: ScriptedUpstream, method: str
) -> None:
    body = None if method in {"GET", "DELETE"} else b'{"purpose": "batch"}'
    assert scripted_gateway.request(method, "/v1/files/a%2Fb?purpose=x", body).status == 200
    assert scripted.head.startswith(f"{method} /v1/files/a%2Fb?purpose=x ")
    assert scripted.requests[-1][1] == (body or b"")


@pytest.mark.parametrize("path", ["/v1/../secret", "/v1/%2e%2e/secret", "/v1/files/.%2E/x", "/v1/./x"])
def test_no_path_leads_above_the_base_url(scripted_gateway: Gateway, scripted: ScriptedUpstream, path: str) -> None:
    assert scripted_gateway.request("GET", path).status == 404
    assert not scripted.requests


def test_a_kept_connection_that_the_upstream_closes_is_no_error(
    scripted_gateway: Gateway, scripted: ScriptedUpstream
) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(SOUND)
        connection.recv(1 << 16)  # takes the next request, and closes instead of answering it

    scripted.script = script
    assert [scripted_gateway.chat("big").status for _ in range(5)] == [200] * 5


def test_an_upstream_that_closes_every_connection_is_asked_twice_and_no_more(
    scripted_gateway: Gateway, scripted: ScriptedUpstream
) -> None:
    scripted.script = lambda _: None
    assert scripted_gateway.chat("big").error["code"] == "upstream_broken"
    assert len(scripted.requests) == 2


def test_cookies_of_one_caller_do_not_reach_the_next(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    scripted.script = answering(SOUND.replace(b"\r\n\r\n", b"\r\nset-cookie: session=1\r\n\r\n"))
    assert "set-cookie" not in scripted_gateway.chat("big").headers
    scripted_gateway.chat("big")
    assert scripted.header("cookie") is None


@pytest.mark.parametrize(
    "path",
    ["/v1%2F@evil.example/x", "/v1%2Fchat/completions", "/%76%31/files", "/v1%2F..%2Fadmin", "/v1/x%2F..%2F..%2Fadmin",
     "/v1/..%5cadmin", "/v1/%2e%2e/admin", "/v1/./x", "/v1/..;/admin", "/v1/x/..;a=b/admin", "/v1/%252e%252e/admin",
     "/v1/%25252e%25252e%25252fadmin", "/v1/%2e%2e%3b/admin", "/v1/a%00b", "/v1/a%0d%0ab", "/v1/.%20/x",
     "/v1/%25252525252e/x"],
)  # fmt: skip
@pytest.mark.parametrize("base", ["with", "without"])
def test_no_path_leads_out_of_the_base_url(
    make_gateway: MakeGateway, scripted: ScriptedUpstream, path: str, base: str
) -> None:
    # http://127.0.0.1 and %2F@evil.example/x would be http://127.0.0.1%2F@evil.example/x: another host.
    url = scripted.base_url if base == "with" else scripted.base_url.removesuffix("/v1")
    gateway = make_gateway(default=Endpoint(url))
    for method in ("GET", "POST"):
        body = {"model": "any", "messages": [{"role": "user", "content": "x"}]} if method == "POST" else None
        answer = gateway.request(method, path, body)
        assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert not scripted.requests


def test_escapes_in_a_path_stay(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    scripted_gateway.request("GET", "/v1/files/a%2Fb%20c/..d?x=%2e%2e/")
    assert scripted.requests[-1][0].startswith(b"GET /v1/files/a%2Fb%20c/..d?x=%2e%2e/ HTTP/1.1\r\n")


def test_headers_in_utf8_arrive_as_they_were_sent(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    title = "Caf\u00e9 \u2615".encode()
    scripted_gateway.request("GET", "/v1/files", None, {"X-Title": title.decode("latin-1")})
    assert title in scripted.requests[-1][0]


def test_what_an_upstream_says_of_its_own_origin_is_not_the_gateways(
    scripted_gateway: Gateway, scripted: ScriptedUpstream
) -> None:
    said = (
        b'Access-Control-Allow-Origin: *\r\nAlt-Svc: h3=":443"\r\nStrict-Transport-Security: max-age=9\r\nX-Own: 1\r\n'
    )
    scripted.script = answering(SOUND.replace(b"content-length", said + b"content-length"))
    answer = scripted_gateway.chat()
    assert answer.headers["x-own"] == "1"
    assert not {"access-control-allow-origin", "alt-svc", "strict-transport-security"} & set(answer.headers)
