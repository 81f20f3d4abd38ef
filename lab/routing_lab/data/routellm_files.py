"""The files of RouteLLM's `routellm/evals`: questions, and lists of contaminated prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from routing_service.rows.reader import Row, RowFile, shown_names

CONTAMINATED = "contaminated_prompts.jsonl"
QUESTIONS = "question.jsonl"
JUDGEMENTS = "judgements.jsonl"


def contaminated_prompts(folder: Path) -> set[str]:
    """The prompts that RouteLLM leaves out of a benchmark as contaminated; empty where its folder has no list."""
    path = folder / CONTAMINATED
    if not path.is_file():
        return set()
    return {text_field(row, "eval_prompt") for row in RowFile(path)}


def question_turns(question: Row) -> tuple[str, ...]:
    """What a question of MT-Bench asks, turn by turn.

    Raises:
        UsageError: its `turns` are missing, none, or no texts.
    """
    turns = field(question, "turns")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
        raise question.error("'turns' is not a list of texts; write the texts of the user's turns")
    return tuple(turns)


def field(row: Row, key: str) -> Any:
    """A row's value.

    Raises:
        UsageError: there is none.
    """
    if key not in row.values:
        raise row.error(f"has no {key!r}, only {shown_names(row.values)}")
    return row.values[key]


def text_field(row: Row, key: str) -> str:
    """A row's value, a text.

    Raises:
        UsageError: there is none, or it is something else.
    """
    value = field(row, key)
    if not isinstance(value, str):
        raise row.error(f"{key!r} is not a text; write a JSON string")
    return value
