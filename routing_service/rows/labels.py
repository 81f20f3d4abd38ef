"""Rows of preference data: the scores that several models got on a prompt, or a battle between two of them.

A battle has the columns of lmsys-arena-human-preference-55k: `model_a`, `model_b` and the outcome as
`winner_model_a`, `winner_model_b`, `winner_tie` (1 beside 0), or as `winner`, one of `model_a`, `model_b`, `tie`,
`tie (bothbad)` and `both_bad`. Its prompt is a text, or a JSON list of turns of which the first is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing_lab.data.files import malformed, read_raw_rows

WINNERS = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5, "both_bad": 0.5, "bothbad": 0.5}
FLAGS = {"winner_model_a": 1.0, "winner_model_b": 0.0, "winner_tie": 0.5}
COLUMNS = ("prompt", "scores", "source", "group", "model_a", "model_b", "winner", *FLAGS)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A prompt, and the score of each model on it: finite, higher is better. `where` is FILE:LINE."""

    prompt: str
    source: str
    group: str
    where: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class BattleRow:
    """A prompt, two models, and the outcome: 1 where `model_a` won, 0 where `model_b` did, 0.5 for a tie.

    The prompt may be blank: public data sets have such battles.
    """

    prompt: str
    source: str
    group: str
    where: str
    model_a: str
    model_b: str
    outcome: float


def read_rows(path: Path, label: str | None = None) -> Iterator[ScoreRow | BattleRow]:
    """The rows of a file, in order. A row without a `source` has the file's label as its source: by default its name.

    Raises:
        UsageError: the file cannot be read, or a row is malformed; the message says which, and quotes no prompt.
    """
    label = label or path.name
    for raw in read_raw_rows(path, COLUMNS):
        try:
            yield _parse(raw.values, label, f"{label}:{raw.place.split(' ')[1]}")
        except (ValueError, TypeError, OverflowError) as error:
            raise malformed(path, raw.place, error) from error


def _parse(values: dict[str, Any], file: str, where: str) -> ScoreRow | BattleRow:
    source, group = (str(values.get(name) or default) for name, default in (("source", file), ("group", "")))
    if "scores" not in values and ("model_a" in values or "model_b" in values):
        prompt = first_turn(values.get("prompt"))
        model_a, model_b = _model(values, "model_a"), _model(values, "model_b")
        return BattleRow(prompt, source, group, where, model_a, model_b, _outcome(values))
    text = values.get("prompt")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("'prompt' must be a non-empty string")
    return ScoreRow(_clean(text), source, group, where, _scores(values.get("scores")))


def first_turn(prompt: object) -> str:
    """The first turn of a JSON list of turns, in a text or read already; any other text is the prompt itself."""
    turns = prompt
    if isinstance(prompt, str):
        if not prompt.lstrip().startswith("["):
            return _clean(prompt)
        try:
            turns = json.loads(prompt)
        except ValueError:
            return _clean(prompt)
        if not isinstance(turns, list) or not all(isinstance(turn, str | None) for turn in turns):
            return _clean(prompt)
    if turns is None:
        return ""
    if not isinstance(turns, list) or not all(isinstance(turn, str | None) for turn in turns):
        raise ValueError("'prompt' must be a string or a list of turns that are strings")
    return _clean(turns[0] or "") if turns else ""


def _clean(text: str) -> str:
    # JSON can spell half a surrogate pair, which no hash or tokenizer takes.
    return text.encode("utf-8", "replace").decode()


def _model(values: dict[str, Any], column: str) -> str:
    name = values.get(column)
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{column!r} must be a model's name")
    return name


def _outcome(values: dict[str, Any]) -> float:
    if values.get("winner") is not None:
        name = values["winner"]
        if not isinstance(name, str) or (winner := name.strip().lower()) not in WINNERS:
            raise ValueError(f"'winner' must be one of {', '.join(map(repr, WINNERS))}")
        return WINNERS[winner]
    flags = {name: values[name] for name in FLAGS if values.get(name) is not None}
    try:
        set_ones = [name for name, value in flags.items() if _flag(value)]
    except (TypeError, ValueError, OverflowError):
        raise ValueError("the winner columns must hold 1 or 0") from None
    if len(set_ones) > 1 or not {"winner_model_a", "winner_model_b"} <= flags.keys():
        raise ValueError("must have one outcome: 'winner', or one 1 in winner_model_a, winner_model_b, winner_tie")
    if not set_ones:
        if "winner_tie" in flags:
            raise ValueError("has no outcome: all of the winner columns are 0")
        return 0.5
    return FLAGS[set_ones[0]]


def _flag(value: object) -> bool:
    if isinstance(value, str):
        value = {"true": 1.0, "false": 0.0}.get(value.strip().lower(), value)
    number = float(value)  # type: ignore[arg-type] # whatever a file holds; the caller names what float refuses
    if number not in (0.0, 1.0):
        raise ValueError(number)
    return number == 1.0


def _scores(scores: object) -> dict[str, float]:
    if isinstance(scores, str):  # a CSV file's cell
        scores = json.loads(scores)
    if isinstance(scores, list) and all(isinstance(pair, tuple) for pair in scores):  # a Parquet file's map
        scores = dict(scores)
    if not isinstance(scores, dict) or not scores:
        raise ValueError("'scores' must be an object of model names and numbers")
    # Parquet has a column for every model that any row scores.
    there = {str(name): score for name, score in scores.items() if score is not None}
    for name, score in there.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            # A text there may be an answer, or the prompt.
            given = repr(score) if isinstance(score, bool | float) else f"a {type(score).__name__}"
            raise ValueError(f"the score of {name!r} must be a finite number, not {given}")
    return there
