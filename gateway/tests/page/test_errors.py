"""What can go wrong, said in words, with a way out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra `gateway` is not installed")

from playwright.sync_api import Page, Request, expect
from routing_client import UnavailableError

Stand = Any


def sent(request: Request) -> Any:
    return json.loads(request.post_data or "")


def ask(page: Page, text: str) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")


@pytest.mark.parametrize(
    ("fault", "says", "partly"),
    [
        ("status=429", "Too many requests, for now. The echo was told to answer 429.", False),
        ("status=401", "The API key is missing or wrong", False),
        ("status=500", "The call failed with status 500. The echo was told to answer 500.", False),
        ("not-json", "is no completion", False),
        ("broken=8,pace=0.2", "The answer broke off", True),
        ("error-event=6", "the upstream failed in mid-stream", True),
        ("bad-event=6", "a piece that is not JSON", True),
    ],
)
def test_an_upstream_that_fails_is_told_and_can_be_tried_again(
    page: Page, stand: Stand, shot: Callable[[Page, str], None], fault: str, says: str, partly: bool
) -> None:
    stand.echo.state.fault = fault
    ask(page, "easy")
    answer = page.locator(".answer")
    expect(answer.locator(".problem")).to_contain_text(says)
    expect(answer).to_have_attribute("data-state", "failed")
    expect(answer).to_have_attribute("aria-busy", "false")
    expect(answer.locator(".model")).to_have_text("small-model")
    expect(page.locator("#status")).to_contain_text("Error: ")
    prose = answer.locator(".prose").inner_text()
    assert ("This is the offline" in prose) == partly
    shot(page, "error-" + re.sub("[^a-z0-9]+", "-", fault))
    stand.echo.state.fault = ""
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".answer[data-state=done] .prose")).to_contain_text("You wrote:")
    expect(page.locator(".problem")).to_have_count(0)
    expect(page.locator(".answer")).to_have_count(1)


def test_a_service_that_is_down_is_told_and_noticed_when_it_is_back(page: Page, stand: Stand) -> None:
    stand.fake.failure = UnavailableError("the service is down", reason="SERVICE_DOWN")
    ask(page, "easy")
    expect(page.locator(".problem")).to_contain_text("status 503")
    expect(page.locator("#banner")).to_contain_text("The decision service gives no routers")
    stand.fake.failure = None
    page.locator("#banner-retry").click()
    expect(page.locator("#banner")).to_be_hidden()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".answer[data-state=done]")).to_have_count(1)


def test_a_page_opened_while_the_service_is_down_comes_to_life_by_itself(
    stand: Stand, open_page: Callable[..., Page], shot: Callable[[Page, str], None]
) -> None:
    stand.fake.failure = UnavailableError("the service is down", reason="SERVICE_DOWN")
    page = open_page(stand, ready=False)
    expect(page.locator("#health")).to_have_text("Not ready")
    expect(page.get_by_role("alert")).to_contain_text("the service is down")
    expect(page.locator("#slider")).to_be_disabled()
    ask(page, "not sent")
    assert page.input_value("#message") == "not sent"
    shot(page, "service-down")
    stand.fake.failure = None
    page.wait_for_selector("#health[data-state=ready]")
    expect(page.locator("#slider")).to_be_enabled()
    page.press("#message", "Enter")
    expect(page.locator(".answer[data-state=done]")).to_have_count(1)


def test_a_gateway_that_is_gone_is_told(page: Page) -> None:
    page.route("**/v1/**", lambda route: route.abort())
    page.route("**/api/**", lambda route: route.abort())
    ask(page, "easy")
    expect(page.locator(".problem")).to_have_text("The gateway does not answer. Is it still running?")
    expect(page.locator("#banner")).to_contain_text("The gateway does not answer")
    page.unroute_all()
    page.locator("#banner-retry").click()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".answer[data-state=done]")).to_have_count(1)


def test_a_failed_question_is_not_part_of_the_conversation(page: Page, stand: Stand) -> None:
    stand.echo.state.fault = "status=500"
    ask(page, "lost")
    expect(page.locator(".problem")).to_have_count(1)
    stand.echo.state.fault = ""
    with page.expect_request("**/v1/chat/completions") as request:
        ask(page, "kept")
    assert [message["content"] for message in sent(request.value)["messages"]] == ["kept"]
