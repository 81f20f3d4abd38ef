"""Wrong requests through a real channel: each gets its code, reason, field and sentence, and the service goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from routing_client.proto import error_reason_pb2, item_error_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.grpc_status import status_of

CASES = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text())
METHOD = "/llmrouting.v1.RoutingService/"


def request_of(case: dict[str, Any]) -> pb.DecideRequest:
    fields = {
        name: value["repeat"] * value["times"] if isinstance(value, dict) and "repeat" in value else value
        for name, value in case["request"].items()
    }
    return json_format.ParseDict({name: _spell(value) for name, value in fields.items()}, pb.DecideRequest())


def _spell(value: Any) -> Any:
    return str(value) if isinstance(value, float) and value != value else value


def details(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo, list[str]]:
    info, fields = error_details_pb2.ErrorInfo(), []
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        else:
            bad = error_details_pb2.BadRequest()
            assert detail.Unpack(bad)
            fields += [violation.field for violation in bad.field_violations]
    return info, fields


def check_error(error: grpc.RpcError, case: dict[str, Any]) -> None:
    status = status_of(error)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    check(status, case)


def check(status: status_pb2.Status, case: dict[str, Any]) -> None:
    info, fields = details(status)
    assert status.code == grpc.StatusCode[case["code"]].value[0]
    assert (info.reason, info.domain, fields) == (case["reason"], "llmrouting.v1", [case["field"]])
    assert case["says"] in status.message
    assert status.message.endswith(".")


def call_raw(channel: grpc.Channel, method: str, request: bytes) -> Any:
    """The bytes of the answer to a call with these bytes."""
    return channel.unary_unary(method, request_serializer=None, response_deserializer=None)(request)


def still_serves(channel: grpc.Channel) -> None:
    assert pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt="still there?")).decision.model


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_decide_says_what_is_wrong(channel: grpc.Channel, case: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pb_grpc.RoutingServiceStub(channel).Decide(request_of(case))
    check_error(caught.value, case)
    still_serves(channel)


def check_item(error: item_error_pb2.ItemError, case: dict[str, Any]) -> None:
    assert error.code == grpc.StatusCode[case["code"]].value[0]
    assert error_reason_pb2.ErrorReason.Name(error.reason) == f"ERROR_REASON_{case['reason']}"
    assert error.field == case["field"]
    assert case["says"] in error.message
    assert error.message.endswith(".")


def test_a_batch_answers_every_bad_item_with_its_own_error(channel: grpc.Channel) -> None:
    good = pb.DecideRequest(prompt="What is the capital of France?")
    items = [item for case in CASES for item in (request_of(case), good)]
    results = pb_grpc.RoutingServiceStub(channel).BatchDecide(pb.BatchDecideRequest(requests=items)).results
    assert len(results) == len(items)
    for case, bad, fine in zip(CASES, results[::2], results[1::2], strict=True):
        check_item(bad.error, case)
        assert fine.decision.strong_win_rate == results[1].decision.strong_win_rate


def test_batches_of_none_and_of_too_many(channel: grpc.Channel) -> None:
    stub = pb_grpc.RoutingServiceStub(channel)
    cases = [
        (0, {"code": "INVALID_ARGUMENT", "reason": "BATCH_EMPTY", "field": "requests", "says": "at least one"}),
        (101, {"code": "INVALID_ARGUMENT", "reason": "BATCH_TOO_LARGE", "field": "requests", "says": "100"}),
    ]
    for size, case in cases:
        with pytest.raises(grpc.RpcError) as caught:
            stub.BatchDecide(pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt="hi")] * size))
        check_error(caught.value, case)
    assert len(stub.BatchDecide(pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt="hi")] * 100)).results) == 100


def with_bytes(message: pb.DecideRequest | pb.BatchDecideRequest, marker: str, replacement: bytes) -> bytes:
    """The message's bytes with a text in it replaced by as many raw bytes."""
    raw: bytes = message.SerializeToString()
    assert len(replacement) == len(marker)
    assert raw.count(marker.encode()) == 1
    return raw.replace(marker.encode(), replacement)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.DecideRequest(prompt="good BAD!"), "prompt"),
        (pb.DecideRequest(prompt="good", router="BAD!"), "router"),
        (pb.DecideRequest(prompt="good", models={"weak": "BAD!"}), "models.weak"),
        (
            pb.DecideRequest(conversation={"messages": [{"role": 3, "content": [{"text": "a"}, {"text": "BAD!"}]}]}),
            "conversation.messages[0].content[1].text",
        ),
        (pb.DecideRequest(prompt="good", metadata={"team": "BAD!"}), "metadata"),
        (pb.DecideRequest(prompt="good", metadata={"fine": "fine", "BAD!": "x"}), "metadata"),
    ],
)
def test_invalid_utf8_names_the_field(channel: grpc.Channel, message: pb.DecideRequest, field: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call_raw(channel, METHOD + "Decide", with_bytes(message, "BAD!", b"\xff\xfe\xc3\x28"))
    check_error(
        caught.value,
        {"code": "INVALID_ARGUMENT", "reason": "INVALID_UTF8", "field": field, "says": "not valid UTF-8"},
    )
    still_serves(channel)


def test_invalid_utf8_in_a_batch_fails_that_item_only(channel: grpc.Channel) -> None:
    batch = pb.BatchDecideRequest(requests=[{"prompt": "fine"}, {"prompt": "BAD!"}, {"prompt": "fine too"}])
    raw = call_raw(channel, METHOD + "BatchDecide", with_bytes(batch, "BAD!", b"\xff\xfe\xc3\x28"))
    first, bad, last = pb.BatchDecideResponse.FromString(raw).results
    assert first.decision.model
    assert last.decision.model
    check_item(bad.error, {"code": "INVALID_ARGUMENT", "reason": "INVALID_UTF8", "field": "prompt", "says": "UTF-8"})


@pytest.mark.parametrize("method", ["Decide", "BatchDecide", "ListRouters"])
@pytest.mark.parametrize("raw", [b"\x0a\xff", b"not protobuf at all", b"\x0b\x0b\x0b"])
def test_bytes_that_are_no_message(channel: grpc.Channel, method: str, raw: bytes) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call_raw(channel, METHOD + method, raw)
    info, fields = details(status_of(caught.value))
    assert (caught.value.code(), info.reason, fields) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST", [])
    still_serves(channel)


def test_a_megabyte_is_cut_and_decided(channel: grpc.Channel) -> None:
    decide = pb_grpc.RoutingServiceStub(channel).Decide
    (static,) = (
        r for r in pb_grpc.RoutingServiceStub(channel).ListRouters(pb.ListRoutersRequest()).routers if r.is_default
    )
    for text in ("All work and no play. " * 46_000, "中文" * 166_000, "x " * 500_000):
        decision = decide(pb.DecideRequest(prompt=text)).decision
        assert decision.truncated
        assert decision.prompt_tokens <= static.max_tokens
    assert not decide(pb.DecideRequest(prompt="All work and no play.")).decision.truncated


def test_methods_of_later_releases_say_so(channel: grpc.Channel) -> None:
    stub = pb_grpc.RoutingServiceStub(channel)
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("StreamDecide", lambda: list(stub.StreamDecide(iter([pb.StreamDecideRequest()])))),
        ("ReportOutcome", lambda: stub.ReportOutcome(pb.ReportOutcomeRequest())),
        ("BatchReportOutcome", lambda: stub.BatchReportOutcome(pb.BatchReportOutcomeRequest())),
        ("Reload", lambda: call_raw(channel, "/llmrouting.v1.AdminService/Reload", b"")),
        ("GetConfig", lambda: call_raw(channel, "/llmrouting.v1.AdminService/GetConfig", b"")),
        ("Drain", lambda: call_raw(channel, "/llmrouting.v1.AdminService/Drain", b"")),
    ]
    for method, call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        info, _ = details(status_of(caught.value))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert (info.reason, dict(info.metadata)) == ("METHOD_NOT_IMPLEMENTED", {"method": method})
