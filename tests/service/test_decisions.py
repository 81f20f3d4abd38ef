"""What the running service answers, through a real channel."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from routing_client.proto import decision_pb2, error_reason_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

PROMPT = "Prove that there are infinitely many primes congruent to 3 modulo 4."


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> pb_grpc.RoutingServiceStub:
    return pb_grpc.RoutingServiceStub(channel)


def decide(stub: pb_grpc.RoutingServiceStub, **fields: object) -> decision_pb2.Decision:
    response: pb.DecideResponse = stub.Decide(json_format.ParseDict(fields, pb.DecideRequest()))
    return response.decision


def test_a_decision_says_what_was_decided_and_why(stub: pb_grpc.RoutingServiceStub) -> None:
    prompt = "Prove that there are infinitely many primes congruent to 5 modulo 6."  # asked nowhere else
    decision = decide(stub, prompt=prompt, request_id="r-1", session_id="s-1")
    assert decision.source == decision_pb2.SCORE_SOURCE_FRESH
    assert decision.model == {1: "gpt-4-1106-preview", 2: "mixtral-8x7b-instruct-v0.1"}[decision.tier]
    assert 0 < decision.strong_win_rate < 1
    assert (decision.tier == decision_pb2.TIER_STRONG) == (decision.strong_win_rate >= decision.threshold)
    assert decision.reason == decision_pb2.DECISION_REASON_THRESHOLD
    assert decision.fallback_reason == error_reason_pb2.ERROR_REASON_UNSPECIFIED
    assert (decision.router, len(decision.router_revision)) == ("static", 16)
    assert (decision.request_id, decision.skipped_parts, decision.truncated) == ("r-1", 0, False)
    assert 10 < decision.prompt_tokens < 25
    assert not decision.candidates
    timing = decision.timing
    assert timing.tokenize_us > 0
    assert timing.inference_us > 0
    assert timing.queue_us == 0
    assert timing.tokenize_us + timing.inference_us <= timing.total_us
    again = decide(stub, prompt=prompt)
    assert (again.source, again.strong_win_rate) == (decision_pb2.SCORE_SOURCE_CACHED, decision.strong_win_rate)
    assert (again.timing.tokenize_us, again.timing.inference_us) == (0, 0)


def test_decision_ids_are_unique(stub: pb_grpc.RoutingServiceStub) -> None:
    ids = {decide(stub, prompt="hi").decision_id for _ in range(50)}
    batch = stub.BatchDecide(pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt="hi")] * 50))
    ids |= {result.decision.decision_id for result in batch.results}
    assert len(ids) == 100


def test_threshold_0_is_always_strong_and_1_only_for_certainty(stub: pb_grpc.RoutingServiceStub) -> None:
    assert decide(stub, prompt="hi", threshold=0).tier == decision_pb2.TIER_STRONG
    assert decide(stub, prompt=PROMPT, threshold=1).tier == decision_pb2.TIER_WEAK
    rate = decide(stub, prompt=PROMPT).strong_win_rate
    assert decide(stub, prompt=PROMPT, threshold=rate).tier == decision_pb2.TIER_STRONG


def test_strong_share_uses_the_routers_table(stub: pb_grpc.RoutingServiceStub) -> None:
    (static,) = (r for r in stub.ListRouters(pb.ListRoutersRequest()).routers if r.name == "static")
    by_share = {point.strong_share: point.threshold for point in static.calibration.points}
    for share in (0.2, 0.5, 0.8):
        assert decide(stub, prompt="hi", strong_share=share).threshold == pytest.approx(by_share[share], abs=1e-9)
    assert decide(stub, prompt="hi", strong_share=0).threshold == 1
    assert decide(stub, prompt="hi", strong_share=1).threshold == 0
    assert decide(stub, prompt="hi").threshold == pytest.approx(by_share[0.5], abs=1e-9)
    assert decide(stub, prompt="hi", policy="cheap").threshold == pytest.approx(by_share[0.2], abs=1e-9)


def test_routers_and_policies_are_listed(stub: pb_grpc.RoutingServiceStub) -> None:
    answer = stub.ListRouters(pb.ListRoutersRequest())
    random, static = answer.routers
    assert (random.name, random.type, random.is_default, random.HasField("max_tokens")) == (
        "random",
        "random",
        False,
        False,
    )
    assert (static.name, static.type, static.is_default) == ("static", "static", True)
    assert static.max_tokens >= 128
    assert static.calibration.sample_size > 100
    thresholds = [point.threshold for point in static.calibration.points]
    assert len(thresholds) == 99
    assert thresholds == sorted(thresholds, reverse=True)
    assert [(p.name, p.router, p.is_default) for p in answer.policies] == [
        ("cheap", "static", False),
        ("even", "random", False),
    ]


def test_a_policy_brings_its_router(stub: pb_grpc.RoutingServiceStub) -> None:
    decision = decide(stub, prompt="hi", policy="even")
    assert (decision.router, decision.threshold, decision.router_revision) == ("random", 0.5, "by-prompt-7")
    assert not decision.HasField("prompt_tokens")


def test_a_conversation_is_routed_on_its_newest_user_text(stub: pb_grpc.RoutingServiceStub) -> None:
    alone = decide(stub, prompt=f"{PROMPT}\nBe rigorous.").strong_win_rate
    messages = [
        {"role": "ROLE_SYSTEM", "content": [{"text": "You are a mathematician."}]},
        {"role": "ROLE_USER", "content": [{"text": "hi"}]},
        {"role": "ROLE_ASSISTANT", "content": [{"text": "Hello!"}]},
        {
            "role": "ROLE_USER",
            "content": [{"text": PROMPT}, {"other": {"kind": "image_url"}}, {"text": "Be rigorous."}, {}],
        },
        {"role": "ROLE_ASSISTANT", "content": [{"text": "Let me look that up."}]},
        {"role": "ROLE_TOOL", "content": [{"text": "Theorem 12 says …"}]},
        {"role": "ROLE_USER", "content": [{"other": {"kind": "tool_result"}}]},
    ]
    decision = decide(stub, conversation={"messages": messages})
    assert decision.strong_win_rate == alone
    assert decision.skipped_parts == 3


def test_models_may_be_named_as_the_router_knows_them(stub: pb_grpc.RoutingServiceStub) -> None:
    models = {"strong": "gpt-4-1106-preview", "weak": "mixtral-8x7b-instruct-v0.1"}
    assert decide(stub, prompt="hi", models=models).model in models.values()
    assert decide(stub, prompt="hi", models={"weak": models["weak"]}, threshold=1).model == models["weak"]


def test_a_batch_keeps_order_and_each_items_own_policy(stub: pb_grpc.RoutingServiceStub) -> None:
    items = [
        pb.DecideRequest(
            prompt=PROMPT * (1 + i % 7), request_id=str(i), threshold=i / 100, router="random" if i % 3 else ""
        )
        for i in range(100)
    ]
    results = stub.BatchDecide(pb.BatchDecideRequest(requests=items)).results
    for item, result in zip(items, results, strict=True):
        single = stub.Decide(item).decision
        for field in ("request_id", "strong_win_rate", "threshold", "tier", "router", "prompt_tokens", "model"):
            assert getattr(result.decision, field) == getattr(single, field), field


def test_health_is_serving_for_the_server_and_the_service(channel: grpc.Channel) -> None:
    check = health_pb2_grpc.HealthStub(channel).Check
    for name in ("", "llmrouting.v1.RoutingService"):
        assert check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_the_service(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "llmrouting.v1.RoutingService" in database.get_services()
    file = database.FindFileContainingSymbol("llmrouting.v1.RoutingService")
    assert file.name == "llmrouting/v1/routing_service.proto"
