"""Answers as models write them: headings, lists, tables, code, links; and nothing that a stranger's text could do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Page, expect

Stand = Any

# Shows a text in a new element and gives the element's HTML, without the buttons.
RENDER = """async (text) => {
  const { renderMarkdown } = await import("/page/markdown.js");
  const place = document.createElement("div");
  renderMarkdown(place, text);
  place.querySelectorAll("button").forEach((button) => button.remove());
  place.querySelectorAll("*").forEach((node) => ["dir", "tabindex", "role", "aria-label", "class", "scope"]
    .forEach((name) => node.removeAttribute(name)));
  return place.innerHTML;
}"""
LINK = 'target="_blank" rel="noopener noreferrer nofollow"'


@pytest.fixture(scope="module")
def render(browser: Any, usual_stand: Stand) -> Callable[[str], str]:
    page = browser.new_page()
    page.goto(usual_stand.url)
    return lambda text: str(page.evaluate(RENDER, text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# One\n## Two ##\ntext", "<h3>One</h3><h4>Two</h4><p>text</p>"),
        ("#hash, not a heading", "<p>#hash, not a heading</p>"),
        ("a\nb\n\nc", "<p>a\nb</p><p>c</p>"),
        ("- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"),
        ("1. a\n\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("3) a\n4) b", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("- a\n\n  more\n\nend", "<ul><li>a<p>more</p></li></ul><p>end</p>"),
        ("- a\n1. b", "<ul><li>a</li></ul><ol><li>b</li></ol>"),
        ("- ```py\n  x = 1\n  ```", "<ul><li><div><pre><code>x = 1</code></pre></div></li></ul>"),
        ("-5 degrees", "<p>-5 degrees</p>"),
        ("> a\n> - b\n\nc", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote><p>c</p>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        (
            "```js\n<b>&</b>\n\n# x\n```\nend",
            "<div><pre><code>&lt;b&gt;&amp;&lt;/b&gt;\n\n# x</code></pre></div><p>end</p>",
        ),
        ("````\n```\n````", "<div><pre><code>```</code></pre></div>"),
        ("```\nopen", "<div><pre><code>open</code></pre></div>"),
        (
            "| a | b |\n|---|--:|\n| `x|y` \\| z | 1 |\n| 2 |",
            "<div><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>`x</td><td>y` | z</td></tr>"
            "<tr><td>2</td><td></td></tr></tbody></table></div>",
        ),
        ("a | b", "<p>a | b</p>"),
        (
            "**bold** *it* `c*d*` ~~no~~ 2*3*4 a**b",
            "<p><strong>bold</strong> <em>it</em> <code>c*d*</code> <s>no</s> 2*3*4 a**b</p>",
        ),
        ("snake_case_name and __init__", "<p>snake_case_name and __init__</p>"),
        ("``a ` b``", "<p><code>a ` b</code></p>"),
        ("[a **b**](https://x.org/p?q=1)", f'<p><a href="https://x.org/p?q=1" {LINK}>a <strong>b</strong></a></p>'),
        ("see https://x.org/a_(b).", f'<p>see <a href="https://x.org/a_(b)" {LINK}>https://x.org/a_(b)</a>.</p>'),
        ("(https://x.org)", f'<p>(<a href="https://x.org/" {LINK}>https://x.org</a>)</p>'),
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
        ("[a](javascript:alert)", "<p>[a](javascript:alert)</p>"),
        ("[a](data:text/html,x)", "<p>[a](data:text/html,x)</p>"),
        ("![a](https://x.org/i.png)", f'<p>!<a href="https://x.org/i.png" {LINK}>a</a></p>'),
        ("[a](/v1/models)", "<p>[a](/v1/models)</p>"),
    ],
)
def test_what_is_shown(render: Callable[[str], str], text: str, shown: str) -> None:
    assert render(text) == shown


@pytest.mark.parametrize(
    "text",
    ["- " * 20_000, "> " * 20_000, "*" * 50_000, "[" * 50_000, "`" * 50_001 + "a", "|" * 50_000 + "\n" + "|-" * 20_000],
    ids=["lists", "quotes", "stars", "brackets", "ticks", "table"],
)
def test_a_hostile_answer_does_not_hang_the_page(render: Callable[[str], str], text: str) -> None:
    """What takes quadratic time or recurses without bound would run into the test's own time limit."""
    assert render(text) is not None


def test_what_has_not_changed_is_left_alone_while_an_answer_grows(page: Page) -> None:
    kept = page.evaluate(
        """async () => {
          const { renderMarkdown } = await import("/page/markdown.js");
          const place = document.createElement("div");
          renderMarkdown(place, "# A\\n\\nfirst\\n\\nsecond");
          const before = [...place.children];
          renderMarkdown(place, "# A\\n\\nfirst\\n\\nsecond and more\\n\\nthird");
          return [...place.children].map((node, index) => node === before[index]);
        }"""
    )
    assert kept == [True, True, False, False]


def test_code_and_answers_can_be_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#message", "easy\n```py\nx = 1\n```")
    page.press("#message", "Enter")
    page.wait_for_selector(".answer[data-state=done]")
    page.click(".answer .code .copy")
    expect(page.locator(".answer .code .copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "x = 1"
    page.get_by_role("button", name="Copy the answer").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("This is the offline echo")
    assert copied.endswith("```py\nx = 1\n```")
