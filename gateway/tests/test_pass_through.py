"""Requests that are not routed reach the server of their model, however they say it, or nobody."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from routing_client.endpoints import Endpoint
from routing_gateway.bodies import codings
from routing_gateway.errors import GatewayError

from .conftest import Gateway, MakeGateway
from .scripted import ScriptedUpstream

brotli: Any = pytest.importorskip("brotli")
zstd: Any = pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")

BODY = b'{"model": "big", "input": "' + b"some words " * 100 + b'"}'
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
    "identity": bytes,
}
FORM = "multipart/form-data; boundary=xx"


def multipart(*fields: tuple[str, bytes], end: bytes = b"--xx--\r\n") -> bytes:
    parts = [
        b"--xx\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (name.encode(), value) for name, value in fields
    ]
    return b"".join(parts) + end


SOUND = ('name="file"; filename="a.wav"', b"RIFF\r\n--x\x00" * 5000)


@pytest.fixture
def two(make_gateway: MakeGateway, scripted: ScriptedUpstream) -> Gateway:
    """A gateway whose `big` is at the scripted upstream, as `vendor/big`, and whose default is nowhere."""
    big = Endpoint(scripted.base_url, api_key="sk-big", upstream_model="vendor/big")
    return make_gateway(models={"big": big}, default=Endpoint("http://127.0.0.1:1/v1", api_key="sk-default"))


@pytest.fixture
def bystander(make_gateway: MakeGateway, scripted: ScriptedUpstream) -> Gateway:
    """A gateway whose default is the scripted upstream, which must not see what it is not sure to be for."""
    default = Endpoint(scripted.base_url, api_key="sk-default")
    return make_gateway(models={"big": Endpoint("http://127.0.0.1:1/v1")}, default=default)


@pytest.mark.parametrize("coding", ENCODERS)
def test_a_compressed_body_is_decoded(two: Gateway, scripted: ScriptedUpstream, coding: str) -> None:
    answer = two.request("POST", "/v1/embeddings", ENCODERS[coding](BODY), {"content-encoding": coding})
    assert answer.status == 200
    assert scripted.requests[-1][1] == BODY.replace(b'"big"', b'"vendor/big"')
    assert scripted.header("authorization") == "Bearer sk-big"
    assert scripted.header("content-encoding") is None


def test_so_is_one_that_is_routed(gateway: Gateway) -> None:
    body = json.dumps({"model": "router-fake-0.5", "messages": [{"role": "user", "content": "a hard one"}]}).encode()
    for coding, encode in ENCODERS.items():
        answer = gateway.request("POST", "/v1/chat/completions", encode(body), {"content-encoding": coding})
        assert (answer.status, answer.json()["model"]) == (200, "big"), coding


@pytest.mark.parametrize(
    ("coding", "body", "status", "code"),
    [
        ("compress", BODY, 415, "unsupported_content_encoding"),
        ("gzip, gzip, gzip, gzip", BODY, 415, "unsupported_content_encoding"),
        ("gzip", BODY, 400, "invalid_encoding"),
        # Without the time, which would be part of the test's name: all processes must find the same tests.
        ("gzip", gzip.compress(BODY, mtime=0)[:-1], 400, "invalid_encoding"),
        ("gzip", gzip.compress(BODY, mtime=0) + b"more", 400, "invalid_encoding"),
        ("deflate", zlib.compress(BODY)[:-1], 400, "invalid_encoding"),
        ("br", brotli.compress(BODY)[:-1], 400, "invalid_encoding"),
        ("zstd", zstd.compress(BODY)[:-1], 400, "invalid_encoding"),
        ("gzip", gzip.compress(b"a" * (200 << 20), 1, mtime=0), 413, "request_too_large"),
        ("zstd", zstd.compress(b"a" * (200 << 20)), 413, "request_too_large"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/chat/completions"])
def test_one_that_cannot_be_decoded_is_refused(
    bystander: Gateway, scripted: ScriptedUpstream, path: str, coding: str, body: bytes, status: int, code: str
) -> None:
    answer = bystander.request("POST", path, body, {"content-encoding": coding})
    assert (answer.status, answer.error["code"]) == (status, code)
    assert not scripted.requests


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_no_more_is_decoded_than_is_allowed(coding: str) -> None:
    made = 0

    def decode() -> None:
        nonlocal made
        for _ in codings.decode(ENCODERS[coding](b"a" * (64 << 20)), [coding.encode()], 1 << 20):
            made += 1

    with pytest.raises(GatewayError) as raised:
        decode()
    assert raised.value.status == 413
    assert made < 10, "it stops at the limit"


@pytest.mark.parametrize(
    "label",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/octet-stream",
        "",
        "application/json; charset=utf-16",
    ],
)
def test_json_is_read_whatever_its_label(two: Gateway, scripted: ScriptedUpstream, label: str) -> None:
    assert two.request("POST", "/v1/embeddings", b" \r\n" + BODY, {"content-type": label}).status == 200
    assert scripted.requests[-1][1] == b" \r\n" + BODY.replace(b'"big"', b'"vendor/big"')
    assert scripted.header("content-type") == (label or None) or not label


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", ['name="model"', "name=model", 'name="model"; x=y'])
def test_the_model_of_a_multipart_form(two: Gateway, scripted: ScriptedUpstream, place: int, name: str) -> None:
    fields = [SOUND, ('name="language"', b"en")]
    fields.insert(place, (name, b"big"))
    body = multipart(*fields)
    answer = two.request("POST", "/v1/audio/transcriptions", body, {"content-type": FORM})
    assert answer.status == 200
    fields[place] = (name, b"vendor/big")
    assert scripted.requests[-1][1] == multipart(*fields)
    assert scripted.header("content-type") == FORM


def test_the_model_of_a_form(two: Gateway, scripted: ScriptedUpstream) -> None:
    label = {"content-type": "application/x-www-form-urlencoded"}
    assert two.request("POST", "/v1/x", b"a=1&mod%65l=big&b=%20", label).status == 200
    assert scripted.requests[-1][1] == b"a=1&mod%65l=vendor%2Fbig&b=%20"


@pytest.mark.parametrize("query", ["model=big", "a=1&model=%62ig"])
def test_the_model_of_a_query(two: Gateway, scripted: ScriptedUpstream, query: str) -> None:
    assert two.request("GET", f"/v1/realtime?{query}").status == 200
    assert scripted.header("authorization") == "Bearer sk-big"


def test_the_model_of_a_path(two: Gateway, scripted: ScriptedUpstream) -> None:
    assert two.request("POST", "/v1/engines/b%69g/completions", b'{"prompt": "x"}').status == 200
    assert scripted.header("authorization") == "Bearer sk-big"


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (multipart(SOUND), FORM),
        (b"purpose=batch", "application/x-www-form-urlencoded"),
        (b'{"purpose": "batch"}', "application/json"),
        (b'{"model": null}', "application/json"),
        (b"[1, 2]", "application/json"),
        (b"", "application/octet-stream"),
    ],
)
def test_what_has_no_model_goes_to_the_default(
    bystander: Gateway, scripted: ScriptedUpstream, body: bytes, label: str
) -> None:
    assert bystander.request("POST", "/v1/files", body, {"content-type": label}).status == 200
    assert scripted.requests[-1][1] == body
    assert scripted.header("authorization") == "Bearer sk-default"


@pytest.mark.parametrize(
    ("body", "label", "status", "code"),
    [
        (b"RIFF\x00", "audio/wav", 415, "unsupported_media_type"),
        (b"\x81\xa5model\xa3big", "application/msgpack", 415, "unsupported_media_type"),
        ('{"model": "big"}'.encode("utf-16"), "application/json", 400, "invalid_json"),
        ('{"model": "big"}'.encode("utf-16-le"), "application/json", 400, "invalid_json"),
        (b'{"model": "big"', "application/json", 400, "invalid_json"),
        (b'{"model": 7}', "application/json", 400, "model_missing"),
        (b"not json", "application/json", 400, "invalid_json"),
        (multipart(SOUND, end=b""), FORM, 400, "invalid_form"),
        (multipart(SOUND), "multipart/form-data", 400, "invalid_form"),
        (multipart(('name="model"', b"big"), ('name="model"', b"other")), FORM, 400, "invalid_form"),
        (multipart(('name="model"', b"\xff")), FORM, 400, "invalid_form"),
        (multipart(('name="model"', b"x" * 2000)), FORM, 400, "invalid_form"),
        (multipart(*[('name="a"', b"")] * 1001), FORM, 400, "invalid_form"),
        (b"model=big&model=other", "application/x-www-form-urlencoded", 400, "invalid_form"),
    ],
)
def test_what_cannot_be_read_is_refused(
    bystander: Gateway, scripted: ScriptedUpstream, body: bytes, label: str, status: int, code: str
) -> None:
    answer = bystander.request("POST", "/v1/audio/transcriptions", body, {"content-type": label})
    assert (answer.status, answer.error["code"]) == (status, code)
    assert not scripted.requests


@pytest.mark.parametrize(
    "name", ["router-fake-0.5", "router-", "Router-Fake", "openai/router-fake-0.5", "router-fake-50pct[1m]", "auto"]
)
@pytest.mark.parametrize("how", ["json", "gzip", "multipart", "form", "query", "path"])
def test_a_routers_name_is_refused_where_nothing_is_routed(
    make_gateway: MakeGateway, scripted: ScriptedUpstream, name: str, how: str
) -> None:
    gateway = make_gateway(default=Endpoint(scripted.base_url), aliases={"auto": "router-fake-0.5"})
    plain = json.dumps({"model": name, "input": "x"}).encode()
    sent: dict[str, tuple[str, bytes | None, dict[str, str]]] = {
        "json": ("", plain, {}),
        "gzip": ("", gzip.compress(plain), {"content-encoding": "gzip"}),
        "multipart": ("", multipart(('name="model"', name.encode())), {"content-type": FORM}),
        "form": ("", f"model={name}".encode(), {"content-type": "application/x-www-form-urlencoded"}),
        "query": (f"embeddings?model={name}", b"{}", {}),
        "path": (f"engines/{quote(name.replace('/', ':'))}/embeddings", b"{}", {}),
    }
    path, body, headers = sent[how]
    answer = gateway.request("POST", f"/v1/{path or 'embeddings'}", body, headers)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "not_routed", "model")
    assert not scripted.requests


def test_a_model_without_an_endpoint_goes_to_the_default_with_its_key(
    bystander: Gateway, scripted: ScriptedUpstream
) -> None:
    assert bystander.request("POST", "/v1/embeddings", {"model": "another", "input": "x"}).status == 200
    assert json.loads(scripted.requests[-1][1])["model"] == "another"
    assert scripted.header("authorization") == "Bearer sk-default"


def test_an_alias_of_a_model(two: Gateway, make_gateway: MakeGateway, scripted: ScriptedUpstream) -> None:
    gateway = make_gateway(models={"big": Endpoint(scripted.base_url)}, default=None, aliases={"embed": "big"})
    assert gateway.request("POST", "/v1/embeddings", {"model": "Embed", "input": "x"}).status == 200
    assert json.loads(scripted.requests[-1][1])["model"] == "big"


@pytest.mark.parametrize(
    "name",
    [
        "auto",
        "AUTO",
        "auto[1m]",
        "openai/auto",
        "gw:Auto [1m]",
        "openai/router-fake-0.5",
        "gw/Router-Fake-0.5",
        "router-fake-0.5[1m]",
    ],
)
def test_chats_are_routed_by_every_name(make_gateway: MakeGateway, name: str) -> None:
    answer = make_gateway(aliases={"auto": "router-fake-0.5"}).chat(name, "a hard one")
    assert (answer.status, answer.headers["x-routing-model"]) == (200, "big")


@pytest.mark.parametrize("name", ["vendor/router-7b", "vendor/router-7b-0.5"])
def test_a_models_own_name_may_look_like_a_routers(
    make_gateway: MakeGateway, scripted: ScriptedUpstream, name: str
) -> None:
    gateway = make_gateway(models={name: Endpoint(scripted.base_url)}, default=None)
    for path, body in (("chat/completions", {"messages": []}), ("embeddings", {"input": "x"})):
        assert gateway.request("POST", f"/v1/{path}", {"model": name, **body}).status == 200
        assert json.loads(scripted.requests[-1][1])["model"] == name


@pytest.mark.parametrize("prompt", ["a hard one", ["a hard one"]])
def test_a_completion_of_one_text_is_routed(gateway: Gateway, prompt: Any) -> None:
    answer = gateway.request("POST", "/v1/completions", {"model": "router-fake-0.5", "prompt": prompt})
    assert (answer.status, answer.json()["model"], answer.headers["x-routing-tier"]) == (200, "big", "strong")


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], [], None, 7])
def test_others_are_not(scripted_gateway: Gateway, scripted: ScriptedUpstream, prompt: Any) -> None:
    answer = scripted_gateway.request("POST", "/v1/completions", {"model": "router-fake-0.5", "prompt": prompt})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "not_routed", "prompt")
    assert not scripted.requests
    assert scripted_gateway.request("POST", "/v1/completions", {"model": "big", "prompt": prompt}).status == 200
