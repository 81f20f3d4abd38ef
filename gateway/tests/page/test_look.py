"""How the page looks and is used: small screens, dark mode, the keyboard alone, contrast; and what it never loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra `gateway` is not installed")

from playwright.sync_api import Page, expect

Stand = Any
PAGE = Path(__file__).resolve().parents[2] / "routing_gateway" / "page"
LONG = "a" * 200 + "\n```\n" + "long line of code " * 30 + "\n```\n" + "hard " * 40
PHONE = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2}
# The contrast of each text with what is behind it, by WCAG's formula; backgrounds that shine through are mixed.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const over = (color, below) => {
    canvas.fillStyle = `rgb(${below.join()})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const behind = (node) =>
    node ? over(getComputedStyle(node).backgroundColor, behind(node.parentElement)) : [255, 255, 255];
  const light = (rgb) => rgb.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest('.hidden, option, optgroup, noscript')) continue;
    const back = behind(node), front = over(getComputedStyle(node).color, back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), node.className + '|' + node.textContent.slice(0, 30)]);
  }
  return found;
}"""
FOCUS = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  const ring = at.id === 'message' ? getComputedStyle(at.closest('form')).boxShadow : style.outlineStyle;
  return [at.id || at.textContent.trim(), ring];
}"""


def talk(page: Page) -> None:
    for number, text in enumerate(("What is easy?", LONG), start=1):
        page.fill("#message", text)
        page.press("#message", "Enter")
        expect(page.locator(".answer[data-state=done]")).to_have_count(number)


def is_too_wide(page: Page) -> bool:
    places = "[document.documentElement, ...document.querySelectorAll('#scroller, #panel-typing, #settings')]"
    return bool(page.evaluate(f"{places}.some((place) => place.scrollWidth > place.clientWidth)"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(
    stand: Stand, open_page: Callable[..., Page], shot: Callable[[Page, str], None], scheme: str
) -> None:
    page = open_page(stand, color_scheme=scheme, **PHONE)
    assert not is_too_wide(page)
    shot(page, f"phone-{scheme}-welcome")
    talk(page)
    assert not is_too_wide(page)
    expect(page.locator("#settings")).to_be_hidden()
    shot(page, f"phone-{scheme}-chat")
    summary = page.get_by_role("button", name="fake · 0.5 · 50% strong")
    summary.click()
    expect(page.locator("#slider")).to_be_visible()
    assert not is_too_wide(page)
    expect(page.locator("#message")).to_be_in_viewport(ratio=1)
    shot(page, f"phone-{scheme}-settings")
    summary.click()
    page.get_by_role("tab", name="As you type").click()
    page.fill("#prompt", LONG)
    expect(page.locator("#verdict .model")).to_have_text("big-model")
    assert not is_too_wide(page)
    shot(page, f"phone-{scheme}-typing")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(
    make_stand: Callable[..., Stand], open_page: Callable[..., Page], shot: Callable[[Page, str], None], scheme: str
) -> None:
    stand = make_stand(offline=True)
    page = open_page(stand, color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(23, 22, 19)") == (scheme == "dark")
    shot(page, f"desktop-{scheme}-welcome")
    seen = page.evaluate(CONTRAST)
    talk(page)
    stand.echo.state.fault = "status=500"
    page.fill("#message", "fails")
    page.press("#message", "Enter")
    expect(page.locator(".problem")).to_have_count(1)
    seen += page.evaluate(CONTRAST)
    shot(page, f"desktop-{scheme}-chat")
    page.get_by_role("tab", name="As you type").click()
    page.fill("#prompt", "hard")
    expect(page.locator("#verdict .tier")).to_be_visible()
    seen += page.evaluate(CONTRAST)
    shot(page, f"desktop-{scheme}-typing")
    assert len(seen) > 60
    assert [each for each in seen if each[0] < 4.5] == []


def test_the_button_turns_the_colours_around(page: Page) -> None:
    button = page.get_by_role("button", name="Dark colours")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(paper) != light
    page.emulate_media(color_scheme="dark")
    button.click()
    assert page.evaluate(paper) == light


def test_everything_can_be_done_by_the_keyboard_alone(page: Page) -> None:
    visited: dict[str, str] = {}
    for _ in range(30):
        page.keyboard.press("Tab")
        name, ring = page.evaluate(FOCUS)
        if name in visited:
            break
        visited[name] = ring
        if name == "message":
            break
    assert all(ring not in {"none", ""} for ring in visited.values()), visited
    wanted = ["tab-chat", "theme", "route", "threshold", "share", "slider", "API key", "message"]
    assert [name for name in visited if name in wanted] == wanted
    page.keyboard.type("easy")
    page.keyboard.press("Enter")
    expect(page.locator(".answer[data-state=done]")).to_have_count(1)
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(FOCUS)[0] == "Retry"
    page.keyboard.press("Enter")
    expect(page.locator(".answer[data-state=done]")).to_have_count(1)
    assert page.evaluate(FOCUS)[0] == "message"
    page.focus("#tab-chat")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(FOCUS)[0] == "tab-typing"
    expect(page.locator("#panel-typing")).to_be_visible()
    expect(page.locator("#panel-chat")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#panel-chat")).to_be_visible()


def test_nothing_moves_for_those_who_asked_for_that(stand: Stand, open_page: Callable[..., Page]) -> None:
    page = open_page(stand, reduced_motion="reduce")
    stand.echo.state.fault = "hang"
    page.fill("#message", "easy")
    page.press("#message", "Enter")
    expect(page.locator(".waiting")).to_be_visible()
    moving = "getComputedStyle(document.querySelector('.waiting'), '::after').animationName"
    assert page.evaluate(moving) == "none"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) == "wait"


@pytest.fixture
def watched(stand: Stand, open_page: Callable[..., Page]) -> tuple[Page, list[str], list[str]]:
    """A page, and what it asks for and complains of from its first byte on."""
    page = open_page(stand)
    urls: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.reload()
    page.wait_for_selector("#health[data-state=ready]")
    return page, urls, problems


def test_only_the_gateway_is_asked_and_the_policy_is_kept(
    watched: tuple[Page, list[str], list[str]], stand: Stand
) -> None:
    page, urls, problems = watched
    talk(page)
    page.get_by_role("tab", name="As you type").click()
    page.fill("#prompt", "hard")
    expect(page.locator("#verdict .tier")).to_be_visible()
    assert urls
    assert {url for url in urls if not url.startswith(f"{stand.url}/")} == set()
    assert problems == []
    # Inline code does not run: the policy is there and is strict.
    page.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = 'window.harmed = 1';
        document.body.append(script);
    }""")
    assert page.evaluate("window.harmed") is None


def test_the_page_is_small_and_names_no_other_place() -> None:
    files = [path for path in PAGE.iterdir() if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".css", ".js", ".svg"}
    assert sum(path.stat().st_size for path in files) < 80 * 1024
    for path in files:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert "http:" not in text, path
        assert "https:" not in text, path
        assert "innerHTML" not in text, path


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    import zipfile

    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed").WheelBuilder
    (path,) = builder(str(PAGE.parents[1])).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
    assert {f"routing_gateway/page/{path.name}" for path in PAGE.iterdir() if path.is_file()} <= names
