"""What a decision says beside its tier, and what a request may ask for beside it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from routing_client.proto import decision_pb2, error_reason_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.grpc_status import status_of
from tests.support.services import StartService

KEY = "a secret of the tests, long enough"
TEXTS = ["What is the capital of France?", "¿Cuál es la diferencia entre «por» y «para»?", "🙂"]


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> pb_grpc.RoutingServiceStub:
    return pb_grpc.RoutingServiceStub(channel)


def decide(stub: pb_grpc.RoutingServiceStub, **fields: Any) -> decision_pb2.Decision:
    response: pb.DecideResponse = stub.Decide(json_format.ParseDict(fields, pb.DecideRequest()))
    return response.decision


def refusal(stub: pb_grpc.RoutingServiceStub, **fields: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as caught:
        decide(stub, **fields)
    info = error_details_pb2.ErrorInfo()
    assert status_of(caught.value).details[0].Unpack(info)
    return caught.value.code(), info.reason, dict(info.metadata)


@pytest.mark.parametrize("text", TEXTS)
def test_the_length_of_what_was_scored_is_that_of_its_utf8(stub: pb_grpc.RoutingServiceStub, text: str) -> None:
    asked = decide(stub, prompt=text).asked
    assert (asked.length_bytes, asked.digest) == (len(text.encode()), "")


def test_with_a_key_what_was_scored_has_its_digest(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DIGEST_KEY", KEY)
    service = start_service(config="observability: {digest_key: {env: TEST_DIGEST_KEY}}")
    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        for text in TEXTS:
            asked = decide(stub, prompt=text).asked
            assert asked.digest == hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()
            chat = {"messages": [{"role": "ROLE_USER", "content": [{"text": text}]}]}
            assert decide(stub, conversation=chat).asked == asked
            (result,) = stub.BatchDecide(pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt=text)])).results
            assert result.decision.asked == asked


@pytest.mark.parametrize("value", [None, "", "too short"])
def test_without_its_key_a_service_does_not_start(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("TEST_DIGEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_DIGEST_KEY", value)
    service = start_service(config="observability:\n  digest_key:\n    env: TEST_DIGEST_KEY\n")
    assert service.process.wait(30) == 1
    assert "routing.yaml:3: observability.digest_key.env: " in service.log
    assert "TEST_DIGEST_KEY" in service.log
    assert not value or value not in service.log


def test_a_decision_names_its_policy_and_its_generation(start_service: StartService) -> None:
    service = start_service(
        config="""
default_policy: even
policies: {even: {strong_share: 0.5}, rare: {threshold: 0.9}}
"""
    )
    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        assert decide(stub, prompt="hi").policy == "even"
        assert decide(stub, prompt="hi", policy="rare").policy == "rare"
        assert decide(stub, prompt="hi", threshold=0.9).policy == ""
        assert decide(stub, prompt="hi", strongShare=0.5).policy == ""
        assert decide(stub, prompt="hi").generation == 1


def test_what_this_release_cannot_say_is_absent(stub: pb_grpc.RoutingServiceStub) -> None:
    decision = decide(stub, prompt="hi", explain=True)
    assert not [name for name in ("propensity", "rung", "turn") if decision.HasField(name)]
    assert (decision.switched, decision.identity, list(decision.candidates)) == (False, "", [])
    assert list(decision.explanation.influences) == []


def test_the_shipped_router_s_signal_and_topic(stub: pb_grpc.RoutingServiceStub) -> None:
    decision = decide(stub, prompt="Prove that there are infinitely many prime numbers.", explain=True)
    assert (decision.signal, decision.explanation.topic) == (1, "math")
    assert decide(stub, prompt="?").signal < 0.5


def test_explaining_says_what_was_read(stub: pb_grpc.RoutingServiceStub) -> None:
    def spans(**fields: Any) -> list[tuple[int, int, int, int]]:
        found = decide(stub, explain=True, **fields)
        return [(span.message, span.part, span.begin, span.end) for span in found.explanation.spans]

    assert spans(prompt="¿Qué?") == [(0, 0, 0, 7)]
    parts = [{"text": "Qué"}, {"other": {"kind": "image_url"}}, {"text": ""}, {"text": "es esto"}]
    messages = [
        {"role": "ROLE_USER", "content": [{"text": "older"}]},
        {"role": "ROLE_USER", "content": parts},
        {"role": "ROLE_ASSISTANT", "content": [{"text": "newer"}]},
        {"role": "ROLE_USER", "content": [{"other": {"kind": "tool_result"}}]},
    ]
    assert spans(conversation={"messages": messages}) == [(1, 0, 0, 4), (1, 3, 0, 7)]
    assert spans(prompt="<note>é</note>\n¿Qué?") == [(0, 0, 16, 23)]
    parts = [{"text": "Qué\n<system-reminder>é</system-reminder>"}, {}, {"text": '<note a="é"/>'}, {"text": "es esto"}]
    harness = [{"role": "ROLE_USER", "content": [{"text": "Begin."}]}]
    messages = [{"role": "ROLE_USER", "content": parts}, *harness]
    assert spans(conversation={"messages": messages}) == [(0, 0, 0, 5), (0, 3, 0, 7)]
    assert not decide(stub, prompt="hi").HasField("explanation")


@pytest.mark.parametrize("wanted", [{"vision": True}, {"inputTokens": 0}, {"outputTokens": 5}, {"json": True}])
def test_requirements_are_refused_not_passed_over(stub: pb_grpc.RoutingServiceStub, wanted: dict[str, Any]) -> None:
    assert refusal(stub, prompt="hi", requirements=wanted) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "FIELD_NOT_IMPLEMENTED",
        {"field": "requirements"},
    )


def test_no_requirements_are_met(stub: pb_grpc.RoutingServiceStub) -> None:
    assert decide(stub, prompt="hi", requirements={"tools": False}).model


def test_metadata_is_bounded(stub: pb_grpc.RoutingServiceStub) -> None:
    full = {str(number): "x" for number in range(32)}
    assert decide(stub, prompt="hi", metadata=full).model
    assert decide(stub, prompt="hi", metadata={"é" * 128: "é" * 128}).model
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    too_many = {**full, "one more": ""}
    assert refusal(stub, prompt="hi", metadata=too_many) == (invalid, "METADATA_TOO_LARGE", {"limit_entries": "32"})
    for long in ({"é" * 129: "x"}, {"x": "é" * 129}):
        assert refusal(stub, prompt="hi", metadata=long) == (invalid, "METADATA_TOO_LARGE", {"limit_bytes": "256"})


def test_a_batchs_results_carry_the_items_ids_and_whole_errors(stub: pb_grpc.RoutingServiceStub) -> None:
    items = [
        pb.DecideRequest(prompt="hi", request_id="a"),
        pb.DecideRequest(prompt="hi", request_id="b", router="ststic"),
    ]
    good, bad = stub.BatchDecide(pb.BatchDecideRequest(requests=items)).results
    assert (good.request_id, good.decision.request_id, bad.request_id) == ("a", "a", "b")
    error = bad.error
    assert (error.code, error.reason) == (5, error_reason_pb2.ERROR_REASON_ROUTER_NOT_FOUND)
    assert (error.field, dict(error.metadata)) == ("router", {"router": "ststic", "nearest": "static"})
    assert not error.HasField("retry_delay")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Decide(items[1])
    assert error.message == caught.value.details()
