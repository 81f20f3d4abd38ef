"""Rules before the router, over the wire: `Decide`, `BatchDecide` and `Calibrate` behave alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from routing_client.proto import decision_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from routing_service.config import parse_config
from routing_service.engine.build import build_engine
from routing_service.engine.engine import Engine

Serve = Callable[..., contextlib.AbstractAsyncContextManager[grpc.aio.Channel]]
CONFIG = """
default_router: static
routers:
  static: {type: static}
  odds: {type: random, seed: 7, models: {strong: mighty, weak: tiny}}
policies: {cheap: {router: static, strong_share: 0.2}}
asks:
  rules:
    - {name: titles, pattern: '^### Task:', tier: weak}
    - {name: tools, has: [tools], tier: strong}
    - {name: pictures, has: [images], model: mighty}
    - {name: batch, metadata: {purpose: batch}, router: odds}
    - {name: short, max_length: 3, tier: weak}
"""


@pytest.fixture
def engine() -> Engine:
    return build_engine(parse_config(CONFIG, "test.yaml", Path()))


def conversation(*parts: dict[str, Any], role: str = "ROLE_USER", more: list[Any] | None = None) -> dict[str, Any]:
    return {"conversation": {"messages": [*(more or []), {"role": role, "content": list(parts)}]}}


TEXT = {"text": "What is to be seen here?"}
TITLE = "### Task:\nGenerate a concise title"
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a pattern": ({"prompt": TITLE}, "titles", "mixtral-8x7b-instruct-v0.1"),
    "a pattern in a message as it came": (
        conversation({"text": TITLE}, {"text": "<system-reminder>be brief</system-reminder>"}),
        "titles",
        "mixtral-8x7b-instruct-v0.1",
    ),
    "tools by a message": (
        conversation(TEXT, more=[{"role": "ROLE_TOOL", "content": [{"text": "42"}]}]),
        "tools",
        "gpt-4-1106-preview",
    ),
    "tools by a part": (conversation(TEXT, {"other": {"kind": "tool_result"}}), "tools", "gpt-4-1106-preview"),
    "tools by requirement": ({"prompt": "What is it?", "requirements": {"tools": True}}, "tools", "gpt-4-1106-preview"),
    "an image": (conversation(TEXT, {"other": {"kind": "image_url"}}), "pictures", "mighty"),
    "an image by requirement": ({"prompt": "What is it?", "requirements": {"vision": True}}, "pictures", "mighty"),
    "a short text, with more around it": (
        {"prompt": "<state>\nopen\n</state>\nhi"},
        "short",
        "mixtral-8x7b-instruct-v0.1",
    ),
    "whatever the policy": ({"prompt": TITLE, "threshold": 0}, "titles", "mixtral-8x7b-instruct-v0.1"),
    "the request's own models": ({"prompt": TITLE, "router": "odds"}, "titles", "tiny"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_rule_decides_without_a_score(serve_engine: Serve, engine: Engine, case: str) -> None:
    fields, rule, model = CASES[case]
    request = pb.DecideRequest(**fields, explain=True)
    async with serve_engine(engine) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        alone = (await stub.Decide(request)).decision
        (result,) = (await stub.BatchDecide(pb.BatchDecideRequest(requests=[request]))).results
    for found in (alone, result.decision):
        assert (found.reason, found.rule, found.model) == (decision_pb2.DECISION_REASON_RULE, rule, model)
        assert (found.HasField("strong_win_rate"), found.HasField("threshold")) == (False, False)
        assert found.source == decision_pb2.SCORE_SOURCE_NONE
        assert found.tier == (decision_pb2.TIER_STRONG if rule in ("tools", "pictures") else decision_pb2.TIER_WEAK)
        assert found.asked.length_bytes > 0
        assert found.explanation.spans
        assert found.decision_id


async def test_a_rule_that_chooses_the_router_leaves_it_to_the_threshold(serve_engine: Serve, engine: Engine) -> None:
    def request(**more: Any) -> pb.DecideRequest:
        return pb.DecideRequest(prompt="What is it?", metadata={"purpose": "batch"}, **more)

    async with serve_engine(engine) as channel:
        decide = pb_grpc.RoutingServiceStub(channel).Decide
        by_rule = (await decide(request())).decision
        assert (by_rule.router, by_rule.rule, by_rule.reason) == ("odds", "batch", decision_pb2.DECISION_REASON_RULE)
        assert by_rule.HasField("strong_win_rate")
        for own in ({"router": "static"}, {"policy": "cheap"}, {"threshold": 0.5}):
            found = (await decide(request(**own))).decision
            assert (found.router, found.rule, found.reason) == ("static", "", decision_pb2.DECISION_REASON_THRESHOLD)


async def test_requirements_that_no_rule_heeds_are_refused(serve_engine: Serve, engine: Engine) -> None:
    async with serve_engine(engine) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pb_grpc.RoutingServiceStub(channel).Decide(
                pb.DecideRequest(prompt="hello", requirements={"tools": True, "json": True})
            )
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_wrong_request_is_refused_whatever_the_rules_say(serve_engine: Serve, engine: Engine) -> None:
    async with serve_engine(engine) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt=TITLE, policy="no such"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_no_threshold_is_made_of_what_rules_decide(serve_engine: Serve, engine: Engine) -> None:
    prompts = [f"Prove theorem number {number}." for number in range(50)]
    image = {"messages": [{"role": "ROLE_USER", "content": [TEXT, {"other": {"kind": "image"}}]}]}
    async with serve_engine(engine) as channel:
        calibrate = pb_grpc.RoutingServiceStub(channel).Calibrate
        alone = await calibrate([pb.CalibrateRequest(strong_shares=[0.5], prompts=prompts)])
        mixed = [text for prompt in prompts for text in (TITLE, prompt, "hi")]
        request = pb.CalibrateRequest(strong_shares=[0.5], prompts=mixed, conversations=[image])
        assert await calibrate([request]) == alone
        with pytest.raises(grpc.aio.AioRpcError, match="rules decide all 2"):
            await calibrate([pb.CalibrateRequest(strong_shares=[0.5], prompts=[TITLE, "hi"])])
        with pytest.raises(grpc.aio.AioRpcError, match="At prompt 2, counting from 0"):
            await calibrate([pb.CalibrateRequest(strong_shares=[0.5], prompts=[TITLE, "hi", " "])])
