"""Chatting: sending, streaming, stopping, and what an answer says about its decision."""

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
from routing_gateway.echo.answers import echo_of, pieces

Stand = Any
UNKNOWN = "\N{EN DASH}"
DONE = "#send[data-state=send]"


def sent(request: Request) -> Any:
    return json.loads(request.post_data or "")


def ask(page: Page, text: str) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")


def answered(page: Page) -> None:
    page.wait_for_selector(".answer:last-child:is([data-state=done], [data-state=failed])")


def test_an_answer_streams_in_and_says_who_gave_it_and_why(
    make_stand: Callable[..., Stand], open_page: Callable[..., Page], shot: Callable[[Page, str], None]
) -> None:
    stand = make_stand(pace=0.05)
    page = open_page(stand)
    ask(page, "an easy one, in so many words that it takes a while")
    answer = page.locator(".answer")
    # The decision is there before the answer, and the answer grows.
    expect(answer.locator(".model")).to_have_text("small-model")
    expect(answer.locator(".prose")).to_contain_text("This is the offline echo")
    assert answer.get_attribute("aria-busy") == "true"
    assert "takes a while" not in (answer.locator(".prose").text_content() or "")
    shot(page, "chat-streaming")
    answered(page)
    expect(answer).to_have_attribute("aria-busy", "false")
    expect(answer.locator(".prose")).to_contain_text("in so many words that it takes a while")
    expect(answer.locator(".tier")).to_have_text("weak")
    expect(answer.locator(".rate")).to_have_attribute("aria-label", "Win rate 0.300, threshold 0.500")
    expect(answer.locator(".measure")).to_have_text("0.300 < 0.500")
    ask(page, "a hard one")
    answered(page)
    last = page.locator(".answer").last
    expect(last.locator(".model")).to_have_text("big-model")
    expect(last.locator(".tier")).to_have_text("strong")
    expect(last.locator(".measure")).to_have_text("0.900 ≥ 0.500")
    shot(page, "chat")


def test_the_saving_is_counted_from_tokens_and_prices(page: Page) -> None:
    expect(page.locator("#saving")).to_have_text(UNKNOWN)
    ask(page, "easy")
    answered(page)
    tokens = len(pieces(echo_of("small-model", "easy")))
    spent, all_strong = (1 + 3 * tokens) / 1e6, (10 + 30 * tokens) / 1e6
    expect(page.locator("#saving")).to_have_text("90%")
    expect(page.locator("#saving-note")).to_contain_text("0 of 1 answer by the strong model")
    expect(page.locator(".foot").last).to_contain_text(f"{1 + tokens} tokens")
    shown = re.findall(r"\$([\d.]+)", page.locator("#saving-note").inner_text())
    assert [float(each) for each in shown] == pytest.approx([spent, all_strong], rel=0.05)
    ask(page, "hard")
    answered(page)
    expect(page.locator("#saving-note")).to_contain_text("1 of 2 answers by the strong model")
    share = page.locator("#saving").inner_text().removesuffix("%")
    assert 0 < int(share) < 90


def test_a_saving_that_is_not_known_is_not_claimed(
    make_stand: Callable[..., Stand], open_page: Callable[..., Page]
) -> None:
    page = open_page(make_stand(prices=False))
    ask(page, "easy")
    answered(page)
    expect(page.locator("#saving")).to_have_text(UNKNOWN)
    expect(page.locator("#saving-note")).to_contain_text("1 not counted: tokens or prices are not known")


def test_an_upstream_without_usage_is_not_counted(page: Page, stand: Stand) -> None:
    stand.echo.state.fault = "no-usage"
    ask(page, "easy")
    answered(page)
    expect(page.locator(".foot").last).not_to_contain_text("token")
    expect(page.locator("#saving-note")).to_contain_text("1 not counted")


def test_the_router_and_its_threshold_are_asked_for_with_the_whole_conversation(page: Page) -> None:
    ask(page, "first")
    answered(page)
    with page.expect_request("**/v1/chat/completions") as request:
        ask(page, "second")
    answered(page)
    body = sent(request.value)
    assert body["model"] == "router-fake-0.5"
    assert body["stream"] is True
    first = {"role": "assistant", "content": echo_of("small-model", "first")}
    assert body["messages"] == [{"role": "user", "content": "first"}, first, {"role": "user", "content": "second"}]


@pytest.mark.parametrize("by", ["button", "Escape"])
def test_stop_ends_the_call_and_keeps_what_there_is(
    page: Page, stand: Stand, shot: Callable[[Page, str], None], by: str
) -> None:
    stand.echo.state.fault = "endless"
    ask(page, "go on")
    expect(page.locator(".answer .prose")).to_contain_text("no LLM was called")
    assert stand.echo.state.counters.open == 1
    if by == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.press("#message", "Escape")
    answered(page)
    expect(page.locator(".ended")).to_have_text("Stopped.")
    expect(page.locator("#status")).to_have_text("Stopped")
    expect(page.locator("#saving-note")).to_contain_text("1 not counted")
    expect(page.locator("#send")).to_have_text("Send")
    shot(page, f"chat-stopped-by-{by}")
    for _ in range(500):
        if stand.echo.state.counters.aborted == 1:
            break
        page.wait_for_timeout(10)
    assert stand.echo.state.counters.open == 0
    # What was said before the stop is part of the conversation.
    stand.echo.state.fault = ""
    with page.expect_request("**/v1/chat/completions") as request:
        ask(page, "next")
    roles = [message["role"] for message in sent(request.value)["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_retry_asks_again_with_the_settings_of_now(page: Page) -> None:
    ask(page, "easy")
    answered(page)
    page.fill("#threshold", "0.2")
    page.press("#threshold", "Enter")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".answer .model")).to_have_text("big-model")
    answered(page)
    expect(page.locator(".answer")).to_have_count(1)
    expect(page.locator(".question")).to_have_count(1)


def test_clearing_forgets(page: Page) -> None:
    ask(page, "easy")
    answered(page)
    page.get_by_role("button", name="Clear conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator("#saving")).to_have_text(UNKNOWN)
    with page.expect_request("**/v1/chat/completions") as request:
        ask(page, "anew")
    assert [message["content"] for message in sent(request.value)["messages"]] == ["anew"]


def test_clearing_during_an_answer_stops_it(page: Page, stand: Stand) -> None:
    stand.echo.state.fault = "endless"
    ask(page, "go on")
    expect(page.locator(".answer .prose")).to_contain_text("echo")
    page.get_by_role("button", name="Clear conversation").click()
    page.wait_for_selector(DONE)
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#saving-note")).to_have_text("Nothing has been answered yet.")
    stand.echo.state.fault = ""
    ask(page, "anew")
    answered(page)
    expect(page.locator(".answer")).to_have_count(1)


def test_what_is_written_is_text_and_never_markup(page: Page) -> None:
    page.evaluate("window.harmed = false")
    evil = "<img src=x onerror='window.harmed=true'><script>window.harmed=true</script>"
    ask(page, f"{evil}\n```html\n{evil}\n```\n`{evil}` **{evil}**")
    answered(page)
    assert page.locator(".transcript img, .transcript script").count() == 0
    assert page.evaluate("window.harmed") is False
    assert page.locator(".answer pre code").text_content() == evil
    assert page.locator(".answer p code").text_content() == evil
    assert page.locator(".answer strong").text_content() == evil


def test_the_end_of_an_answer_is_in_view(page: Page) -> None:
    paragraphs = "\n\n".join(f"paragraph {number}" for number in range(60))
    for number in (1, 2):
        ask(page, paragraphs)
        expect(page.locator(".answer[data-state=done]")).to_have_count(number)
        expect(page.get_by_role("button", name="Retry")).to_be_in_viewport()


def test_a_reader_who_has_scrolled_up_is_left_alone(page: Page, stand: Stand) -> None:
    ask(page, "paragraph\n\n" * 60)
    answered(page)
    stand.echo.state.fault = "endless"
    ask(page, "go on")
    expect(page.locator(".answer").last).to_contain_text("echo")
    page.locator("#scroller").evaluate("scroller => { scroller.scrollTop = 100; }")
    before = page.locator(".answer").last.inner_text()
    page.wait_for_function(
        "before => document.querySelector('.answer:last-child').innerText.length > before + 200", arg=len(before)
    )
    assert page.locator("#scroller").evaluate("scroller => scroller.scrollTop") == 100
    page.press("#message", "Escape")


def test_shift_enter_breaks_the_line_and_an_empty_message_is_not_sent(page: Page, stand: Stand) -> None:
    page.fill("#message", "   ")
    page.press("#message", "Enter")
    page.fill("#message", "a")
    page.press("#message", "Shift+Enter")
    page.type("#message", "b")
    assert page.input_value("#message") == "a\nb"
    assert stand.echo.state.counters.started == 0


def test_the_callers_key_is_passed_on_and_kept_nowhere(page: Page, stand: Stand) -> None:
    page.get_by_text("API key").click()
    page.fill("#key", "sk-secret")
    ask(page, "easy")
    answered(page)
    assert stand.echo.state.requests[-1].headers["authorization"] == "Bearer sk-secret"
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert "easy" in kept  # the conversation, for a reload
    assert "sk-secret" not in kept
    assert "sk-secret" not in page.content()
    page.reload()
    page.wait_for_selector("#health[data-state=ready]")
    assert page.input_value("#key") == ""


def test_a_fallback_and_a_failover_are_marked(
    make_stand: Callable[..., Stand], open_page: Callable[..., Page], shot: Callable[[Page, str], None]
) -> None:
    stand = make_stand(
        strong_model="big-model",
        weak_model="small-model",
        fallback_model="big-model",
        failover=True,
        weak_fault="status=503",
    )
    page = open_page(stand)
    ask(page, "easy")
    answered(page)
    answer = page.locator(".answer").last
    expect(answer.locator(".model")).to_have_text("big-model")
    expect(answer.locator(".flag")).to_have_text("failed over from small-model")
    expect(answer.locator(".tier")).to_have_text("strong")
    expect(answer.locator(".measure")).to_have_attribute("data-tier", "weak")
    stand.fake.failure = UnavailableError("it is down", reason="SERVICE_DOWN")
    ask(page, "easy")
    answered(page)
    answer = page.locator(".answer").last
    expect(answer.locator(".model")).to_have_text("big-model")
    expect(answer.locator(".flag")).to_have_text("fallback, no decision: service down")
    expect(answer.locator(".rate")).to_have_count(0)
    shot(page, "chat-fallback")
