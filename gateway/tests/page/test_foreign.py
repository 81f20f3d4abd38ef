"""Answers, names and scripts other than the usual ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra `gateway` is not installed")

from playwright.sync_api import Page, Route, expect

Stand = Any
CHUNK = """{"choices":[{"delta":{"content":"h\u00e9llo"},"finish_reason":"stop"}],
"usage":{"prompt_tokens":1000,"completion_tokens":0}}"""


def ask(page: Page, text: str) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")


def answer_with(page: Page, **answer: Any) -> None:
    def fulfil(route: Route) -> None:
        route.fulfill(**answer)

    page.route("**/v1/chat/completions", fulfil)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_in_every_form_that_the_standard_has(page: Page, end: str) -> None:
    data = "\n".join(f"data:{line}" for line in CHUNK.split("\n"))
    stream = f": ping\n\nevent: x\nid: 1\nretry: 5\n{data}\n\n:\n\ndata: [DONE]\n\n".replace("\n", end)
    answer_with(page, headers={"content-type": "text/event-stream"}, body=stream)
    ask(page, "easy")
    expect(page.locator(".answer[data-state=done] .prose")).to_have_text("h\u00e9llo")


@pytest.mark.parametrize(
    "error",
    [{"error": {"message": "no such thing"}}, {"error": "no such thing"}, {"message": "no such thing"},
     {"detail": "no such thing"}],
)  # fmt: skip
def test_the_reason_is_shown_in_whatever_form_servers_give_it(page: Page, error: Any) -> None:
    answer_with(page, status=418, headers={"content-type": "application/json"}, body=json.dumps(error))
    ask(page, "easy")
    expect(page.locator(".problem")).to_have_text("The call failed with status 418. No such thing.")


@pytest.mark.parametrize("body", ["null", "[]", '{"error": null}', '{"detail": [1]}', "<p>", ""])
def test_an_error_without_a_reason(page: Page, body: str) -> None:
    answer_with(page, status=418, headers={"content-type": "application/json"}, body=body)
    ask(page, "easy")
    expect(page.locator(".problem")).to_contain_text("Status 418, without a reason.")


def test_a_models_name_that_is_not_ascii_is_shown_as_it_is_and_counted(
    stand: Stand, make_stand: Callable[..., Stand], open_page: Callable[..., Page]
) -> None:
    from routing_client.endpoints import Endpoint

    strong, weak = "stark\\m\u00f6del", "\u5c0f\U0001f40d"
    endpoint = Endpoint(stand.echo.base_url, input_price=10, output_price=30)
    stand = make_stand(models={strong: endpoint, weak: endpoint}, strong_model=strong, weak_model=weak)
    page = open_page(stand)
    for text, name in (("hard", strong), ("easy", weak)):
        ask(page, text)
        expect(page.locator(".answer[data-state=done] .model").last).to_have_text(name)
    expect(page.locator("#saving-note")).to_contain_text("1 of 2 answers by the strong model.")
    expect(page.locator("#saving-note")).not_to_contain_text("not counted")


def test_each_paragraph_runs_in_its_scripts_direction(page: Page) -> None:
    ask(page, "\u0645\u0631\u062d\u0628\u0627\n\nhello")
    directions = [
        paragraph.evaluate("node => getComputedStyle(node).direction") for paragraph in page.locator(".said p").all()
    ]
    assert directions == ["rtl", "ltr"]
    page.fill("#message", "\u0645\u0631\u062d\u0628\u0627")
    assert page.locator("#message").evaluate("node => getComputedStyle(node).direction") == "rtl"


@pytest.mark.parametrize("composing", [{"isComposing": True}, {"keyCode": 229}])
def test_enter_that_ends_a_composition_does_not_send(page: Page, composing: dict[str, Any]) -> None:
    page.fill("#message", "\u3053\u3093\u306b\u3061\u306f")
    page.locator("#message").evaluate(
        "(node, more) => node.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, ...more}))",
        composing,
    )
    assert page.input_value("#message")
    expect(page.locator(".turn")).to_have_count(0)


def test_a_phone_shows_the_saving_while_the_settings_are_folded(stand: Stand, open_page: Callable[..., Page]) -> None:
    page = open_page(stand, viewport={"width": 320, "height": 640})
    expect(page.locator("#summary-saving")).to_have_text("")
    ask(page, "easy")
    expect(page.locator("#summary-saving")).to_have_text("90% saved")
    expect(page.locator("#summary-saving")).to_be_in_viewport(ratio=1)


def test_a_wide_but_low_window_spends_one_line_on_its_head(stand: Stand, open_page: Callable[..., Page]) -> None:
    page = open_page(stand, viewport={"width": 640, "height": 400})  # a usual one at 200 %
    head = page.locator(".top").bounding_box()
    assert head is not None
    assert head["height"] < 64
