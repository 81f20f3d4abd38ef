from __future__ import annotations

import sys
from pathlib import Path

import pytest

from routing_service.asks.reader import AskReader
from routing_service.asks.rules import Facts, Rules
from routing_service.config import parse_config
from routing_service.errors import ConfigError

MODELS = {"static": (frozenset({"big"}), frozenset({"small"})), "other": (frozenset({"huge"}), frozenset({"big"}))}
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "rules" / "background-tasks.yaml"


def rules(text: str) -> Rules:
    config = parse_config(f"asks:\n  rules:\n{text}", "test.yaml", Path())
    return Rules(config.asks, MODELS, config.document)


def chosen(found: Rules, newest: str, **facts: object) -> str:
    rule = found.match(Facts(newest, AskReader().prompt(newest).text, **facts))  # type: ignore[arg-type]
    return "" if rule is None else rule.name


def test_the_first_rule_whose_conditions_all_hold_is_taken() -> None:
    found = rules(
        """
    - {name: short-sql, pattern: "SELECT", max_length: 20, tier: weak}
    - {pattern: "SELECT", model: huge}
    - {name: pictures, has: [images, tools], tier: strong}
    - {name: team, metadata: {team: search, kind: chat}, router: other}
"""
    )
    assert chosen(found, "SELECT 1") == "short-sql"
    assert chosen(found, "SELECT 1 FROM a_long_table") == "rule-2"
    assert chosen(found, "hi", has={"images"}) == ""
    assert chosen(found, "hi", has={"images", "tools"}) == "pictures"
    team = {"team": "search", "kind": "chat", "more": "x"}
    assert chosen(found, "hi", metadata=team) == "team"
    assert chosen(found, "hi", metadata={"team": "search"}) == ""
    assert chosen(found, "hi", metadata=team, is_routed=True) == ""
    assert (found.read("tools"), found.read("images"), found.read("")) == (True, True, False)


def test_a_pattern_sees_the_message_and_a_length_what_is_read_of_it() -> None:
    found = rules('    - {name: state, pattern: "^<state>", max_length: 2, tier: weak}')
    assert chosen(found, "<state>\nfar too long\n</state>\nhi") == "state"


def test_a_model_has_its_side() -> None:
    found = rules("    - {max_length: 9, model: big}\n    - {max_length: 99, model: huge}")
    sides = [rule.side for text in ("hi", "hi " * 9) if (rule := found.match(Facts(text, text))) is not None]
    assert sides == ["strong", "strong"]


def test_no_threshold_is_about_what_never_reaches_its_router() -> None:
    found = rules("    - {pattern: '^a', tier: weak}\n    - {pattern: '^b', router: other}")
    left_out = {text: found.leave_out(Facts(text, text), "static") for text in "abc"}
    assert left_out == {"a": True, "b": True, "c": False}
    assert not found.leave_out(Facts("b", "b"), "other")


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{name: one, pattern: a}", "asks.rules[0]: rule 'one': set exactly one of tier, model and router"),
        ("{name: one, pattern: a, tier: weak, model: big}", "rule 'one': set exactly one"),
        ("{name: one, tier: weak}", "rule 'one': set one of pattern, max_length, has and metadata"),
        ("{pattern: '', tier: weak}", "asks.rules[0]: pattern is empty"),
        ("{max_length: 0, tier: weak}", "max_length must be from 1"),
        ("{pattern: '(a', tier: weak}", "asks.rules[0].pattern: (rule 'rule-1') is no pattern"),
        ("{has: [sound], tier: weak}", "asks.rules[0].has[0]: must be one of tools, images"),
        ("{pattern: a, tier: medium}", "asks.rules[0].tier: must be one of strong, weak"),
        ("{pattern: a, router: statc}", "asks.rules[0].router: (rule 'rule-1') no router is named 'statc'"),
        ("{pattern: a, model: bigg}", "asks.rules[0].model: (rule 'rule-1') no model is named 'bigg'"),
        ("{patern: a, tier: weak}", "asks.rules[0].patern: is not a known key; did you mean 'pattern'?"),
        ("{name: x, pattern: a, tier: weak}, {name: x, pattern: b, tier: weak}", "two are named 'x'"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said(rule: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(f"    [{rule}]")
    assert says in str(caught.value)
    assert str(caught.value).startswith("test.yaml:")


BACKGROUND = {
    "### Task:\nGenerate a concise, 3-5 word title with an emoji.\n": "chat-titles",
    "### Task:\nWrite a title of three to five words for the chat below.\n": "chat-titles",
    "### Task:\nGenerate 1-3 broad tags for the chat.\n": "chat-tags",
    "### Task:\nSuggest 3-5 relevant follow-up questions.\n": "chat-follow-ups",
    "### Task:\nAnalyze the chat history to determine if a search is needed.\n": "chat-queries",
    "### Task:\nYou are an autocompletion system. Go on.\n": "autocompletion",
    "<fim_prefix>def f(<fim_suffix>)<fim_middle>": "fill-in-the-middle",
    "Generate a title for this conversation:": "session-titles",
    "Write a concise commit message for this diff": "commit-messages",
    "You are performing a CONTEXT CHECKPOINT COMPACTION. Write it down.": "compaction",
    "Write a title of five words.": "",
    "What is a task?": "",
    "Generate a function that commits a transaction": "",
}


@pytest.mark.parametrize("package", ["re2", "subset"])
def test_the_example_of_background_tasks(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if package == "subset":
        monkeypatch.setitem(sys.modules, "re2", None)
    config = parse_config(EXAMPLE.read_text(), str(EXAMPLE), EXAMPLE.parent)
    found = Rules(config.asks, MODELS, config.document)
    assert {text: chosen(found, text) for text in BACKGROUND} == BACKGROUND
    assert chosen(found, "hi", metadata={"purpose": "background"}) == "background"
