"""A request through the gateway is read, and decided by rules, as one that goes to the service itself."""

from __future__ import annotations

from typing import Any

import pytest
from routing_client import RoutingClient

from tests.support.harness import SHAPES
from tests.support.services import StartService

from .conftest import MakeGateway

CONFIG = """
models: {strong: big, weak: small}
asks:
  rules:
    - {name: titles, pattern: '^### Task:', tier: weak}
    - {name: tools, has: [tools], tier: strong}
    - {name: pictures, has: [images], tier: strong}
"""
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def user(*parts: Any) -> dict[str, Any]:
    return {
        "role": "user",
        "content": [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts],
    }


def test_rules_and_asks_are_those_of_the_service(make_gateway: MakeGateway, start_service: StartService) -> None:
    service = start_service(config=CONFIG)
    gateway = make_gateway(service=service.address)

    def headers(*messages: dict[str, Any]) -> dict[str, str]:
        answer = gateway.chat("router-static-0.5", messages=list(messages))
        assert answer.status == 200, answer.body
        return answer.headers

    title = headers(user("### Task:\nGenerate a title for this: prove that 2 is even"))
    assert (title["x-routing-rule"], title["x-routing-tier"], title["x-routing-model"]) == ("titles", "weak", "small")
    assert "x-routing-win-rate" not in title
    tool = {"role": "tool", "tool_call_id": "c", "content": "42"}
    asked = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert headers(user("hi"), asked, tool)["x-routing-rule"] == "tools"
    assert headers(user("hi", PICTURE))["x-routing-rule"] == "pictures"
    ask = "Write a short poem about the sea."
    with RoutingClient(service.address) as client:
        rate = client.decide(ask).strong_win_rate
    for name in ("a reminder before", "editing rules after", "a task and its environment", "a log before"):
        assert float(headers(user(SHAPES[name](ask)))["x-routing-win-rate"]) == pytest.approx(rate), name
    begun = [user(ask), {"role": "assistant", "content": "Well."}, user("Begin.")]
    assert float(headers(*begun)["x-routing-win-rate"]) == pytest.approx(rate)
    notes = "<notes>\n" + "a line of a large file\n" * 60_000 + "</notes>"
    for large in (f"{notes}\n{ask}", f"{ask}\n{notes}"):
        assert float(headers(user(large))["x-routing-win-rate"]) == pytest.approx(rate)
