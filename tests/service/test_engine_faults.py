"""Routers that fail, and a service that is not ready, as a caller sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from routing_client.proto import decision_pb2, error_reason_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from routing_service.config import Config, FallbackConfig
from routing_service.engine.engine import Engine
from routing_service.engine.policies import Planner
from routing_service.models import ModelPair
from routing_service.routers.base import Router, Scores
from tests.support.grpc_status import status_of

SECRET = "swordfish"


class BrokenRouter(Router):
    """Returns what a prompt asks for, and raises for the prompt `raise`."""

    type: ClassVar[str] = "broken"

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - the interface
        if any("raise" in text for text in texts):
            raise RuntimeError(f"cannot score {SECRET}")
        return Scores([float(text) for text in texts], None, [False] * len(texts))


def engine(on_router_error: Any) -> Engine:
    routers = {"static": BrokenRouter(revision="r1", models=ModelPair("big", "small"))}
    return Engine(routers, Planner(routers, Config()), FallbackConfig(on_router_error))


def reason_of(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return str(info.reason)


@pytest.mark.parametrize("prompt", ["nan", "inf", "-inf", "-0.001", "1.001", "raise"])
async def test_what_is_no_probability_is_no_decision(serve_engine: Callable[..., Any], prompt: str) -> None:
    async with serve_engine(engine("error")) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Decide(pb.DecideRequest(prompt=prompt))
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert SECRET not in str(caught.value)
        reason = reason_of(status_of(caught.value))
        assert reason == ("ROUTER_FAILED" if prompt == "raise" else "SCORE_INVALID")
        assert (await stub.Decide(pb.DecideRequest(prompt="0.7"))).decision.model == "big"


@pytest.mark.parametrize(("side", "model"), [("strong", "big"), ("weak", "small")])
@pytest.mark.parametrize("prompt", ["nan", "raise"])
async def test_a_fallback_says_that_it_is_one(
    serve_engine: Callable[..., Any], side: str, model: str, prompt: str
) -> None:
    async with serve_engine(engine(side)) as channel:
        decision = (
            await pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt=prompt, explain=True))
        ).decision
    assert (decision.model, decision.reason) == (model, decision_pb2.DECISION_REASON_FALLBACK)
    assert decision.source == decision_pb2.SCORE_SOURCE_NONE
    assert (decision.asked.length_bytes, decision.explanation.spans[0].end) == (len(prompt), len(prompt))
    expected = "ERROR_REASON_ROUTER_FAILED" if prompt == "raise" else "ERROR_REASON_SCORE_INVALID"
    assert decision.fallback_reason == error_reason_pb2.ErrorReason.Value(expected)
    assert not decision.HasField("strong_win_rate")
    assert not decision.HasField("threshold")


async def test_one_failing_prompt_fails_nobody_else(serve_engine: Callable[..., Any]) -> None:
    prompts = ["0.1", "raise", "0.9", "nan", "0.5"]
    async with serve_engine(engine("error")) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        batch = pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt=p) for p in prompts])
        results = (await stub.BatchDecide(batch)).results
    assert [result.WhichOneof("result") for result in results] == ["decision", "error", "decision", "error", "decision"]
    assert [results[i].decision.strong_win_rate for i in (0, 2, 4)] == [0.1, 0.9, 0.5]
    assert [error_reason_pb2.ErrorReason.Name(results[i].error.reason) for i in (1, 3)] == [
        "ERROR_REASON_ROUTER_FAILED",
        "ERROR_REASON_SCORE_INVALID",
    ]


async def test_before_the_artifacts_are_loaded_calls_are_unavailable(serve_engine: Callable[..., Any]) -> None:
    async with serve_engine(None) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        calls = (stub.Decide(pb.DecideRequest(prompt="hi")), stub.ListRouters(pb.ListRoutersRequest()))
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(status_of(caught.value)) == "NOT_SERVING"


async def test_an_uncalibrated_router_takes_thresholds_only(serve_engine: Callable[..., Any]) -> None:
    async with serve_engine(engine("error")) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Decide(pb.DecideRequest(prompt="0.4", strong_share=0.2))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (await stub.Decide(pb.DecideRequest(prompt="0.4"))).decision.threshold == 0.5
