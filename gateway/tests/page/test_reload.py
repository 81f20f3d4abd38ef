"""What outlives a reload of the tab, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Page, expect

Stand = Any


def ask(page: Page, text: str) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")
    page.wait_for_selector(".answer:last-child:is([data-state=done], [data-state=failed])")


def reload(page: Page) -> None:
    page.reload()
    page.wait_for_selector("#health[data-state=ready]")


def test_the_conversation_its_decisions_and_its_saving_are_there_again(page: Page, stand: Stand) -> None:
    ask(page, "an easy one")
    ask(page, "a hard one")
    shown = page.locator("#transcript").inner_text()
    saving, note = page.locator("#saving").inner_text(), page.locator("#saving-note").inner_text()
    assert "big-model" in shown
    assert saving != "\N{EN DASH}"
    reload(page)
    assert page.locator("#transcript").inner_text() == shown
    assert (page.locator("#saving").inner_text(), page.locator("#saving-note").inner_text()) == (saving, note)
    expect(page.locator("#welcome")).to_be_hidden()
    # It goes on where it was.
    stand.echo.state.requests.clear()
    ask(page, "and another")
    (sent,) = stand.echo.state.requests
    roles = [message["role"] for message in sent.body["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]


def test_a_failed_and_a_stopped_answer_say_so_again(page: Page, stand: Stand) -> None:
    stand.echo.state.fault = "500"
    ask(page, "easy")
    problem = page.locator(".problem").inner_text()
    stand.echo.state.fault = ""
    reload(page)
    expect(page.locator(".problem")).to_have_text(problem)
    page.get_by_role("button", name="Retry").click()
    page.wait_for_selector(".answer:last-child[data-state=done]")
    expect(page.locator(".problem")).to_have_count(0)


def test_a_reload_in_mid_answer_keeps_the_question(
    make_stand: Callable[..., Stand], open_page: Callable[..., Page]
) -> None:
    page = open_page(make_stand(pace=5.0))
    page.fill("#message", "an easy one in many words")
    page.press("#message", "Enter")
    page.wait_for_selector(".answer .model")
    reload(page)
    expect(page.locator(".question")).to_contain_text("an easy one in many words")
    expect(page.locator(".answer .ended")).to_have_text("The page was reloaded before the answer was there.")


def test_clearing_forgets_for_good_and_another_tab_knows_nothing(page: Page, stand: Stand) -> None:
    ask(page, "a secret")
    other = page.context.new_page()
    other.goto(stand.url)
    other.wait_for_selector("#health[data-state=ready]")
    expect(other.locator(".question")).to_have_count(0)
    page.get_by_role("button", name="Clear conversation").click()
    assert "secret" not in page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    reload(page)
    expect(page.locator("#welcome")).to_be_visible()


def test_the_colours_stay_and_the_key_does_not(page: Page) -> None:
    page.locator("details.key summary").click()
    page.fill("#key", "sk-secret")
    before = page.locator("html").get_attribute("data-theme")
    page.click("#theme")
    reload(page)
    assert page.locator("html").get_attribute("data-theme") == {"light": "dark", "dark": "light"}[str(before)]
    assert page.locator("#key").input_value() == ""
    assert "sk-secret" not in page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")


@pytest.mark.parametrize("kept", ["[", '"text"', "[1]", '[{"question": 3}]', '{"a": 1}'])
def test_what_is_kept_may_be_anything(page: Page, kept: str) -> None:
    page.evaluate("kept => sessionStorage.setItem('routing-gateway.conversation', kept)", kept)
    reload(page)
    ask(page, "easy")
    expect(page.locator(".answer .model").last).to_have_text("small-model")
