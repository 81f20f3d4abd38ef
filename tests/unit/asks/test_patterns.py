from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.asks import patterns
from routing_service.asks.patterns import Finds, compile_pattern

TEXTS = [
    "",
    "a",
    "abc",
    "### Task:\nMake it",
    "é",
    "É\n",
    "x1_y",
    "foo bar\n",
    "foobar",
    "\n\nfoo",
    "A-b",
    "[a]",
    "ab" * 40,
]
SHARED = [
    *(
        "abc",
        "^a",
        "^a|bar",
        "a$",
        "^### Task:",
        r"^\s*### Task:\n",
        "(?i)É",
        "(foo|bar)$",
        r"\bbar",
        r"\w\d\w",
        "[^a-z\\n]",
        "a?b",
    ),
    *(
        "[a-c]{2,3}",
        "(?m)^foo$",
        "(?s)o.b",
        r"\A\W",
        r"o\z",
        r"\[a\]",
        "x1(_y)?$",
        r"^[\w-]+$",
        "^(a|b|ab).*b$",
        "b{2}",
    ),
]


@pytest.fixture(params=["re2", "subset"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the package, and as if it were not installed."""
    if request.param == "subset":
        monkeypatch.setitem(sys.modules, "re2", None)
    return str(request.param)


def finds(pattern: str) -> list[str]:
    found = compile_pattern(pattern)
    return [text for text in TEXTS if found(text)]


@pytest.mark.parametrize("pattern", SHARED)
def test_the_subset_matches_what_re2_matches(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = finds(pattern)
    monkeypatch.setitem(sys.modules, "re2", None)
    assert finds(pattern) == expected
    assert expected != TEXTS


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "^a|b*c", "(a|aa)*b", "a*b", "^.*.*=", "(x?){20}", "a{1,1000}", "(?P<n>a)", "(?=a)b", r"\pL"]
)
def test_what_the_subset_lacks_names_the_package(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ValueError, match=r"google-re2.*routing-service\[rules\]"):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a", "a)", "[b-a]", "*a"])
def test_what_is_no_pattern_is_refused(compiled: str, pattern: str) -> None:
    with pytest.raises(ValueError, match=r"no pattern|google-re2"):
        compile_pattern(pattern)


def test_a_long_pattern_is_refused(compiled: str) -> None:
    with pytest.raises(ValueError, match="at most 1,000"):
        compile_pattern("a" * 1001)


@pytest.mark.parametrize("text", ["\ud800", "a" * 100_000, "### " * 20_000])
def test_any_text_can_be_searched(compiled: str, text: str) -> None:
    assert not compile_pattern("^(b|c|d)?(e|f)?g$")(text)


PIECES = st.sampled_from(
    ["a", "b", ".", "[ab]", r"\w", "(a|b)", "?", "*", "{1,3}", "^", "$", "|", "(", ")", r"\b", "\n"]
)


@given(st.lists(PIECES, max_size=8).map("".join), st.text(st.sampled_from("ab\n "), max_size=12))
def test_what_the_subset_takes_means_the_same(pattern: str, text: str) -> None:
    def with_or_none(make: object) -> Finds | None:
        try:
            return make(pattern)  # type: ignore[operator,no-any-return] # one of the two below
        except ValueError:
            return None

    subset = with_or_none(patterns._compile_subset)
    whole = with_or_none(compile_pattern)
    if subset is not None and whole is not None:
        assert subset(text) == whole(text)
