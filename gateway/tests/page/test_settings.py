"""Router, policy, threshold and share: what they show, and what they change."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra `gateway` is not installed")

from playwright.sync_api import Page, Route, expect
from routing_client import CalibrationPoint, CalibrationTable

Stand = Any
# Crowded, uneven and with a run of equal thresholds, as real tables are.
POINTS = [(0.01, 0.93), (0.1, 0.7), (0.3, 0.52), (0.5, 0.5), (0.6, 0.5), (0.9, 0.41), (0.99, 0.2)]


def asked_model(page: Page, text: str) -> str:
    page.fill("#message", text)
    with page.expect_request("**/v1/chat/completions") as request:
        page.press("#message", "Enter")
    page.wait_for_selector(".answer:last-child[data-state=done]")
    return str(json.loads(request.value.post_data or "")["model"])


def test_the_slider_moves_the_choice_from_one_model_to_the_other(page: Page, shot: Callable[[Page, str], None]) -> None:
    expect(page.locator("#share")).to_have_value("50")
    assert asked_model(page, "easy") == "router-fake-0.5"
    expect(page.locator(".answer .model").last).to_have_text("small-model")
    page.locator("#slider").evaluate("slider => { slider.value = 0.75; slider.dispatchEvent(new Event('input')); }")
    expect(page.locator("#threshold")).to_have_value("0.25")
    expect(page.locator("#share")).to_have_value("75")
    expect(page.locator("#strong-share")).to_have_text("75%")
    expect(page.locator("#split")).to_have_attribute("aria-label", "About 75% of calls to big-model")
    expect(page.locator("#slider")).to_have_attribute("aria-valuetext", "75% strong calls, threshold 0.25")
    assert asked_model(page, "easy") == "router-fake-0.25"
    expect(page.locator(".answer .model").last).to_have_text("big-model")
    shot(page, "settings-slider")


def test_the_slider_moves_by_the_arrow_keys(page: Page) -> None:
    page.focus("#slider")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#share")).to_have_value("51")
    expect(page.locator("#threshold")).to_have_value("0.49")
    page.keyboard.press("Home")
    expect(page.locator("#share")).to_have_value("0")
    page.keyboard.press("End")
    expect(page.locator("#share")).to_have_value("100")


def test_the_slider_spreads_a_real_table_over_its_whole_width(page: Page) -> None:
    """Thresholds of real tables lie close together; each step moves as many calls as any other."""
    points = [{"strong_share": share, "threshold": threshold} for share, threshold in POINTS]

    def with_points(route: Route) -> None:
        answer = route.fetch()
        routers = answer.json()
        routers["routers"][0]["calibration"]["points"] = points
        route.fulfill(response=answer, json=routers)

    page.route("**/api/routers", with_points)
    page.reload()
    page.wait_for_selector("#health[data-state=ready]")
    for share, threshold in ((0.1, "0.7"), (0.3, "0.52"), (0.9, "0.41")):
        page.locator("#slider").evaluate(
            "(slider, to) => { slider.value = to; slider.dispatchEvent(new Event('input')); }", share
        )
        expect(page.locator("#threshold")).to_have_value(threshold)
        expect(page.locator("#share")).to_have_value(f"{share * 100:g}")


def test_a_share_can_be_entered_and_nonsense_cannot(page: Page) -> None:
    page.fill("#share", "12.5")
    page.press("#share", "Enter")
    expect(page.locator("#threshold")).to_have_value("0.875")
    assert asked_model(page, "easy") == "router-fake-0.875"
    rules = {"#share": "A share is a number from 0 to 100.", "#threshold": "A threshold is a number from 0 to 1."}
    for name, texts in (("#share", ("101", "-1", "")), ("#threshold", ("1.5", "-0.1", ""))):
        for text in texts:
            page.fill(name, text)
            page.press(name, "Tab")
            # What was typed stays to be mended; what is right and what still holds is said.
            expect(page.locator(name)).to_have_value(text)
            expect(page.locator(name)).to_have_attribute("aria-invalid", "true")
            expect(page.locator("#entry-note")).to_have_text(f"{rules[name]} Still in use: 0.875.")
            assert asked_model(page, "easy") == "router-fake-0.875"
            page.fill(name, "0.5")
            page.press(name, "Tab")
            expect(page.locator("#entry-note")).to_have_text("")
            expect(page.locator(name)).not_to_have_attribute("aria-invalid", "true")
            page.fill("#threshold", "0.875")
            page.press("#threshold", "Tab")


def test_a_policy_decides_alone(page: Page) -> None:
    page.select_option("#route", "policy:thrifty")
    expect(page.locator("#threshold")).to_be_disabled()
    expect(page.locator("#slider")).to_be_disabled()
    expect(page.locator("#threshold")).to_have_value("0.95")
    assert asked_model(page, "hard") == "router-thrifty"
    expect(page.locator(".answer .measure")).to_have_text("0.900 < 0.950")
    page.select_option("#route", "router:fake")
    expect(page.locator("#threshold")).to_be_enabled()


def test_the_pages_arithmetic_is_the_clients(page: Page) -> None:
    points = [{"strong_share": share, "threshold": threshold} for share, threshold in POINTS]
    table = CalibrationTable("a test", 100, tuple(CalibrationPoint(share, threshold) for share, threshold in POINTS))
    shares = [index / 200 for index in range(201)]
    call = """async ([name, values, points]) => {
        const routing = await import('/page/routing.js');
        return values.map((value) => routing[name](value, points));
    }"""
    thresholds = page.evaluate(call, ["thresholdFor", shares, points])
    assert thresholds == pytest.approx([table.threshold_for(share) for share in shares])
    # Back again: the largest share that has the threshold, so that equal thresholds count whole.
    back = page.evaluate(call, ["shareFor", thresholds, points])
    for share, found in zip(shares, back, strict=True):
        assert found == pytest.approx(0.6 if 0.5 <= share <= 0.6 else share, abs=1e-9)
    assert page.evaluate(call, ["thresholdFor", [0.5], []]) == [None]
    assert page.evaluate(call, ["shareFor", [0.5], []]) == [None]


@pytest.mark.parametrize(
    ("threshold", "model"),
    [
        (0, "router-mf-0"),
        (1, "router-mf-1"),
        (0.11593, "router-mf-0.11593"),
        (1e-7, "router-mf-0"),
        (0.5, "router-mf-0.5"),
    ],
)
def test_model_names_are_those_that_the_gateway_reads(page: Page, threshold: float, model: str) -> None:
    from routing_client.model_names import parse_model

    name = page.evaluate(
        "async t => (await import('/page/routing.js')).modelName({name: 'mf', threshold: t, policy: false})", threshold
    )
    assert name == model
    parsed = parse_model(name)
    assert parsed is not None
    assert parsed.name == "mf"
    assert parsed.threshold == pytest.approx(threshold, abs=1e-5)


def test_money_keeps_the_digits_that_matter(page: Page) -> None:
    call = "async values => { const m = await import('/page/routing.js'); return values.map(m.money); }"
    shown = page.evaluate(call, [0, 12.3, 1, 0.5, 0.045, 0.00012, 0.00000099])
    assert shown == ["$0", "$12.30", "$1.00", "$0.50", "$0.045", "$0.00012", "$0.00000099"]
