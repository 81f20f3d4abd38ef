"""The decision as you type: no LLM, no answer that overtakes another, and clear words when there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra `gateway` is not installed")

from playwright.sync_api import Page, Route, expect
from routing_client import UnavailableError
from routing_client.types import Decision, DecisionReason, Explanation, Span, Tier

Stand = Any


@pytest.fixture
def typing(page: Page) -> Page:
    page.get_by_role("tab", name="As you type").click()
    return page


def test_the_decision_follows_the_typing_and_no_llm_is_called(
    typing: Page, stand: Stand, shot: Callable[[Page, str], None]
) -> None:
    verdict = typing.locator("#verdict")
    typing.type("#prompt", "what is ")
    expect(verdict.locator(".model")).to_have_text("small-model")
    typing.type("#prompt", "hard about it?")
    expect(verdict.locator(".model")).to_have_text("big-model")
    expect(verdict.locator(".tier")).to_have_text("strong")
    expect(verdict).to_contain_text("Win rate 0.900 ≥ 0.500")
    expect(verdict).to_contain_text("Reason")
    expect(verdict.locator("figure")).to_be_visible()
    expect(typing.locator("#status")).to_have_text("big-model, strong")
    shot(typing, "typing")
    typing.fill("#prompt", "")
    expect(verdict).to_have_text("The decision appears here.")
    assert stand.echo.state.counters.started == 0


def test_it_works_without_any_upstream(make_stand: Callable[..., Stand], open_page: Callable[..., Page]) -> None:
    page = open_page(make_stand(models={}))
    page.get_by_role("tab", name="As you type").click()
    page.fill("#prompt", "hard")
    expect(page.locator("#verdict .model")).to_have_text("big-model")


def test_moving_the_threshold_decides_anew(typing: Page) -> None:
    typing.fill("#prompt", "easy")
    expect(typing.locator("#verdict .tier")).to_have_text("weak")
    typing.fill("#threshold", "0.1")
    typing.press("#threshold", "Enter")
    expect(typing.locator("#verdict .tier")).to_have_text("strong")
    typing.select_option("#route", "policy:thrifty")
    expect(typing.locator("#verdict")).to_contain_text("0.300 < 0.950")


def test_a_late_answer_does_not_overtake_a_newer_one(typing: Page) -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if json.loads(route.request.post_data or "")["prompt"] == "hard":
            held.append(route)
        else:
            route.continue_()

    typing.evaluate("""() => {
        window.shown = [];
        const verdict = document.querySelector('#verdict');
        const note = () => window.shown.push(verdict.querySelector('.model')?.textContent);
        new MutationObserver(note).observe(verdict, {childList: true});
    }""")
    typing.route("**/api/decide", hold_the_first)
    with typing.expect_request("**/api/decide"):
        typing.fill("#prompt", "hard")
    typing.fill("#prompt", "easy")
    expect(typing.locator("#verdict .model")).to_have_text("small-model")
    held[0].fulfill(json={"model": "big-model", "tier": "strong", "strong_win_rate": 0.9, "threshold": 0.5})
    typing.fill("#prompt", "easy still")
    typing.wait_for_function("() => window.shown.length > 1")
    assert set(typing.evaluate("window.shown")) == {"small-model"}
    assert len(held) == 1


def test_without_a_decision_it_says_so_and_comes_back(
    typing: Page, stand: Stand, shot: Callable[[Page, str], None]
) -> None:
    stand.fake.failure = UnavailableError("the service is down", reason="SERVICE_DOWN")
    typing.fill("#prompt", "hard")
    expect(typing.locator("#verdict .problem")).to_contain_text("No decision.")
    expect(typing.locator("#verdict .problem")).to_contain_text("the service is down")
    expect(typing.locator("#banner")).to_contain_text("the service is down")
    expect(typing.locator("#health")).to_have_text("Not ready")
    shot(typing, "typing-service-down")
    stand.fake.failure = None
    typing.locator("#verdict").get_by_role("button", name="Try again").click()
    expect(typing.locator("#verdict .model")).to_have_text("big-model")
    # The list of routers is asked for again by itself.
    expect(typing.locator("#banner")).to_be_hidden()
    expect(typing.locator("#health")).to_have_text("Ready")


def test_an_example_is_typed_by_a_click(typing: Page) -> None:
    typing.locator("#typing-examples button").first.click()
    assert typing.input_value("#prompt").startswith("What is the capital")
    expect(typing.locator("#verdict .model")).to_have_text("small-model")


def test_what_was_read_is_shown_where_it_is_not_all(typing: Page, stand: Stand) -> None:
    typing.fill("#prompt", "easy")
    expect(typing.locator("#verdict .tier")).to_have_text("weak")
    expect(typing.locator("#verdict .read")).to_have_count(0)
    explanation = Explanation((Span(0, 0, 14, 18),))
    stand.fake.then(Decision("big", Tier.STRONG, DecisionReason.RULE, explanation=explanation, rule="pictures"))
    typing.fill("#prompt", "<b>around</b> <i>hi</i>")
    expect(typing.locator("#verdict .read pre")).to_have_text("<i>h")
    expect(typing.locator("#verdict")).to_contain_text("pictures")
