"""Which text of a row is asked: prompts, messages, batch rows, and the first turns of battles."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from routing_service.asks.reader import AskReader
from routing_service.errors import UsageError
from routing_service.rows.prompts import PROMPT_COLUMNS, prompt_of, read_chats, read_prompts, whole_prompt_of
from routing_service.rows.reader import RowFile

SECRET = "the secret of the prompt"
BATTLE = {"model_a": "a", "model_b": "b", "winner": "tie"}


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def asked(path: Path, *rows: dict[str, Any]) -> list[str]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(read_prompts(RowFile(path)))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"prompt": "p"}, "p"),
        ({"prompt": "p", "messages": [turn("user", "q")]}, "p"),
        ({"prompt": None, "messages": [turn("user", "q")]}, "q"),
        ({"messages": [turn("system", "s"), turn("user", "a"), turn("assistant", "b"), turn("user", "c")]}, "c"),
        ({"messages": [turn("user", "a"), turn("user", [{"type": "image_url", "image_url": {}}])]}, "a"),
        ({"messages": [turn("user", "a"), turn("user", None), turn("user", "  ")]}, "a"),
        ({"messages": [turn("user", [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}])]}, "a\nb"),
        ({"messages": [turn("user", ["a", {"text": "b"}])]}, "a\nb"),
        ({"messages": [turn("user", [{"type": "reasoning", "text": "no"}, {"type": "text", "text": "a"}])]}, "a"),
        ({"custom_id": "1", "method": "POST", "body": {"model": "m", "messages": [turn("user", "a")]}}, "a"),
        ({"conversation_a": [turn("user", "a"), turn("assistant", "x"), turn("user", "b")], **BATTLE}, "a"),
        ({"conversation_a": [turn("system", "s"), turn("user", "a")]}, "a"),
        ({"prompt": "half a pair \ud83d"}, "half a pair ?"),
    ],
)
def test_the_text_of_a_row(tmp_path: Path, row: dict[str, Any], text: str) -> None:
    assert asked(tmp_path / "p.jsonl", row) == [text]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("plain", "plain"),
        ('["one", "two"]', "one"),
        ("[1, 2, 3] sorted?", "[1, 2, 3] sorted?"),
        ("[1, 2, 3]", "[1, 2, 3]"),
        (["one"], "one"),
        ('["half a pair \\ud83d"]', "half a pair ?"),
    ],
)
def test_first_turns_of_battles(tmp_path: Path, prompt: object, text: str) -> None:
    assert asked(tmp_path / "b.jsonl", {"prompt": prompt, **BATTLE}) == [text]


@pytest.mark.parametrize("prompt", ["[]", "[null]", [], [None], None, "", " "])
def test_a_battle_may_have_no_text(tmp_path: Path, prompt: object) -> None:
    assert asked(tmp_path / "b.jsonl", {"prompt": prompt, **BATTLE}) == []


def test_a_prompt_that_is_no_battle_s_is_never_a_list_of_turns(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"prompt": '["one", "two"]'}, {"prompt": '["one"]', "scores": {"a": 1}}]
    assert asked(tmp_path / "p.jsonl", *rows) == ['["one", "two"]', '["one"]']


@pytest.mark.parametrize(
    "row",
    [
        {"messages": []},
        {"messages": [turn("assistant", "a")]},
        {"messages": [turn("user", [])]},
        {"conversation_a": [turn("assistant", "a")]},
        {"messages": None},
    ],
)
def test_a_conversation_without_a_user_s_text_is_left_out_and_counted(tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + '\n{"prompt": "a"}\n')
    file = RowFile(tmp_path / "p.jsonl")
    assert list(read_prompts(file)) == ["a"]
    assert file.blank == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": 5}, "'prompt' is not text"),
        ({"prompt": [SECRET]}, "'prompt' is not text"),
        ({"messages": SECRET}, "'messages' must be a list of messages"),
        ({"messages": [SECRET]}, "'messages' must be a list of messages"),
        ({"body": {"messages": {"role": "user", "content": SECRET}}}, "'body.messages' must be a list of messages"),
        ({"body": {"input": SECRET}}, "has no 'prompt', only 'body'"),
        ({"conversation_a": SECRET, **BATTLE}, "'conversation_a' must be a list of messages"),
    ],
)
def test_what_is_no_text_is_told_by_line(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        asked(tmp_path / "p.jsonl", {"prompt": "fine"}, row)
    assert str(caught.value).startswith(f"{tmp_path / 'p.jsonl'}:2: ")
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_table_s_cells_may_hold_messages(tmp_path: Path) -> None:
    messages = [turn("user", "a"), turn("assistant", "b"), turn("user", "c")]
    with (tmp_path / "p.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "messages"], ["1", json.dumps(messages)]])
    assert list(read_prompts(RowFile(tmp_path / "p.csv"))) == ["c"]
    parquet.write_table(pa.table({"id": [1], "messages": [messages]}), tmp_path / "p.parquet")
    assert list(read_prompts(RowFile(tmp_path / "p.parquet", PROMPT_COLUMNS))) == ["c"]
    parquet.write_table(pa.table({"id": [1], "body": [{"messages": messages}]}), tmp_path / "b.parquet")
    assert list(read_prompts(RowFile(tmp_path / "b.parquet", PROMPT_COLUMNS))) == ["c"]


WRAPPED = "<system-reminder>\nBe kind.\n</system-reminder>\nWhat is it?"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"prompt": WRAPPED}, "What is it?"),
        ({"prompt": [WRAPPED, "second"], **BATTLE}, "What is it?"),
        ({"conversation_a": [turn("user", WRAPPED)], **BATTLE}, "What is it?"),
        ({"messages": [turn("user", WRAPPED), turn("assistant", "a"), turn("user", "Begin.")]}, "What is it?"),
        ({"body": {"messages": [turn("user", ["hi", "<state>x</state>"]), turn("assistant", "a")]}}, "hi"),
        ({"messages": [turn("user", "<state>x</state>")]}, "<state>x</state>"),
    ],
)
def test_what_a_row_asks_is_read_as_a_service_reads_it(tmp_path: Path, row: dict[str, Any], text: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (read,) = RowFile(path, asks=AskReader())
    assert prompt_of(read) == text
    assert whole_prompt_of(read) == next(read_prompts(RowFile(path)))


def test_chats_are_read_whole_for_a_service(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    messages = [turn("system", "s"), turn("user", [{"type": "text", "text": "a"}, "b"]), turn("tool", None)]
    rows = [{"prompt": WRAPPED}, {"messages": messages}, {"messages": [turn("user", " ")]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chat = [turn("assistant", "s"), turn("user", "a\nb"), turn("assistant", "")]
    file = RowFile(path)
    assert list(read_chats(file)) == [WRAPPED, chat]
    assert file.blank == 1
