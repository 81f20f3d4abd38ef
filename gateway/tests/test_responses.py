"""POST /v1/responses: routed, and gone on with by the model that has what came before."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from routing_client.endpoints import Endpoint
from routing_client.testing import FakeService
from routing_gateway import response_ids
from routing_gateway.response_ids import ResponseModels

from .conftest import Gateway, HttpResponse, MakeGateway
from .scripted import ScriptedUpstream

RESULT = [{"type": "function_call_output", "call_id": "c", "output": "sunny"}]


def answering(body: bytes, kind: bytes = b"application/json") -> Any:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(body))
    return lambda connection: connection.sendall(head + body)


def respond(gateway: Gateway, given: Any, **fields: Any) -> HttpResponse:
    return gateway.request("POST", "/v1/responses", {"model": "router-fake-0.5", "input": given, **fields})


@pytest.mark.parametrize(
    "given",
    [
        "a hard one",
        [{"role": "user", "content": "a hard one"}],
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a hard one"}]}, *RESULT],
    ],
)
def test_the_newest_words_decide(scripted_gateway: Gateway, scripted: ScriptedUpstream, given: Any) -> None:
    answer = respond(scripted_gateway, given)
    assert (answer.status, answer.headers["x-routing-model"], answer.headers["x-routing-tier"]) == (
        200,
        "big",
        "strong",
    )
    assert json.loads(scripted.requests[-1][1]) == {"model": "big", "input": given}


@pytest.mark.parametrize("given", [None, [], 7, RESULT])
def test_without_words_there_is_nothing_to_decide_on(scripted_gateway: Gateway, given: Any) -> None:
    answer = respond(scripted_gateway, given)
    assert (answer.status, answer.error["code"]) == (400, "no_user_turn" if given is RESULT else "input_missing")


def test_a_stored_prompt_goes_to_the_default(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    assert scripted_gateway.request("POST", "/v1/responses", {"prompt": {"id": "p"}}).status == 200
    assert scripted.requests[-1][1] == b'{"prompt": {"id": "p"}}'


STREAM = (
    b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1","object":"response"}}\n\n'
)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"id": "resp_1", "object": "response", "output": []}', b"application/json"),
        (b'{"created_at":1,"id":"resp_1","output":[{"id":"resp_2"}]}', b"application/json"),
        (STREAM + b'data: {"response":{"id":"resp_2"}}\n\n' * 10_000, b"text/event-stream"),
    ],
)
def test_a_tools_results_go_to_the_model_that_asked_for_them(
    make_gateway: MakeGateway, scripted: ScriptedUpstream, fake: FakeService, body: bytes, kind: bytes
) -> None:
    endpoint = Endpoint(scripted.base_url)
    gateway = make_gateway(models={"big": endpoint, "small": endpoint}, aliases={"auto": "router-fake-0.5"})
    scripted.script = answering(body, kind)
    gateway.request("POST", "/v1/responses", {"model": "auto", "input": "a hard one"}, {"accept-encoding": "gzip, br"})
    assert scripted.header("accept-encoding") == "identity"
    decided = len(fake.calls)
    for model in ("auto", "router-cheap"):
        answer = respond(gateway, RESULT, model=model, previous_response_id="resp_1")
        assert (answer.status, answer.headers["x-routing-model"]) == (200, "big")
        assert json.loads(scripted.requests[-1][1])["model"] == "big"
    assert len(fake.calls) == decided, "there was nothing to decide on"
    assert respond(gateway, RESULT, previous_response_id="resp_2").status == 400
    assert respond(gateway, "easy", previous_response_id="resp_1").headers["x-routing-model"] == "small"


def test_what_an_error_says_is_no_response(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    def refuse(connection: socket.socket) -> None:
        body = b'{"id": "resp_1"}'
        connection.sendall(b"HTTP/1.1 400 x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    scripted.script = refuse
    respond(scripted_gateway, "a hard one")
    assert respond(scripted_gateway, RESULT, previous_response_id="resp_1").error["code"] == "no_user_turn"


def test_no_other_server_is_asked_to_go_on(make_gateway: MakeGateway, scripted: ScriptedUpstream) -> None:
    elsewhere = Endpoint("http://127.0.0.1:1/v1")
    gateway = make_gateway(models={"big": Endpoint(scripted.base_url), "small": elsewhere}, default=elsewhere)
    scripted.script = answering(b'{"id": "resp_1"}')
    respond(gateway, "a hard one")
    answer = respond(gateway, "an easy one", previous_response_id="resp_1")
    assert (answer.status, answer.headers["x-routing-model"], answer.headers["x-routing-tier"]) == (200, "big", "weak")
    # What names a response by its path is for the same server.
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items?limit=1")):
        assert gateway.request(method, f"/v1/responses/resp_1{path}").status == 200
        assert scripted.head.startswith(f"{method} /v1/responses/resp_1{path} ")
    assert gateway.request("GET", "/v1/responses/resp_9").status == 502, "others are the default's"


def test_ids_are_bounded_and_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_ids, "MAX_RESPONSES", 3)
    now = [0.0]
    models = ResponseModels(lambda: now[0])
    for number in range(5):
        models.remember(f"resp_{number}", f"m{number}")
    assert [models.model(f"resp_{number}") for number in range(5)] == [None, None, "m2", "m3", "m4"]
    models.remember("resp_2", "again")
    models.remember("resp_5", "m5")
    assert (models.model("resp_2"), models.model("resp_3")) == ("again", None)
    now[0] = response_ids.TTL_S
    assert models.model("resp_2") is None
    assert models.model(None) is models.model(["resp_4"]) is None


def test_an_id_that_comes_in_pieces_is_read_and_later_ones_are_not() -> None:
    models = ResponseModels()
    read = models.reader("big")
    for byte in STREAM + STREAM.replace(b"resp_1", b"resp_2"):
        read(bytes([byte]))
    assert (models.model("resp_1"), models.model("resp_2")) == ("big", None)
    late = models.reader("big")
    late(b" " * (1 << 16))
    late(b'{"id": "resp_3"}')
    assert models.model("resp_3") is None, "no more than the beginning is kept"
