"""Prompts with both models' scores, as for training, and what an answer costs: the data that targets are met on."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from routing_service.calibration.prompts import PROMPT_KEY, read_prompts, read_rows, suffix_of
from routing_service.errors import UsageError, unknown_name

# What English text comes to with the usual tokenizers.
CHARACTERS_PER_TOKEN = 4.0
DEFAULT_OUTPUT_TOKENS = 300.0
_MILLION = 1e6


class Price(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float


class Pair(NamedTuple):
    """The names that the data and the prices have for the strong and the weak model."""

    strong: str
    weak: str


@dataclass(frozen=True, slots=True)
class Costs:
    """What an answer of each model costs.

    `input_tokens` and `output_tokens` stand in where a row does not say: None for the input means a token every four
    characters of the prompt.
    """

    strong: Price
    weak: Price
    input_tokens: float | None = None
    output_tokens: float = DEFAULT_OUTPUT_TOKENS


def _column() -> array[float]:
    return array("d")


@dataclass(slots=True)
class LabelledData:
    """Columns of equal length, a row a prompt, in reading order; a column that the data cannot fill is empty.

    `strong` and `weak` are the models' scores, higher is better; the costs are US dollars for answering the prompt.
    `skipped` counts rows that do not score both models; `assumed_input` and `assumed_output` those that do not say how
    many tokens the prompt, or an answer, has.
    """

    strong: array[float] = field(default_factory=_column)
    weak: array[float] = field(default_factory=_column)
    strong_cost: array[float] = field(default_factory=_column)
    weak_cost: array[float] = field(default_factory=_column)
    skipped: int = 0
    assumed_input: int = 0
    assumed_output: int = 0


def has_labels(path: Path, pair: Pair) -> bool:
    """Whether the first row of a JSON lines file scores both models.

    Raises:
        UsageError: the file cannot be read.
    """
    if suffix_of(path) not in (".jsonl", ".ndjson"):
        return False
    _, first = next(read_rows(path), (0, {}))
    scores = first.get("scores")
    return isinstance(scores, dict) and set(pair) <= scores.keys()


def read_labelled(path: Path, pair: Pair, costs: Costs | None, data: LabelledData) -> Iterator[str]:
    """The prompts of a JSON lines file that score both models, while `data` gets their rows.

    A row has `prompt`, `scores` (model to number) and, where known, `input_tokens` and `output_tokens`: a number, or
    one for each model.

    Raises:
        UsageError: the file cannot be read, or a row is wrong, says which; or no row scores both models.
    """
    seen: dict[str, None] = {}
    for number, row in read_rows(path):
        scores = row.get("scores")
        if not isinstance(scores, dict) or not scores:
            raise UsageError(
                f"{path}:{number}: 'scores' must be an object of models and numbers; a target of quality needs "
                f'labelled data: {{"{PROMPT_KEY}": "…", "scores": {{"{pair.strong}": 1, "{pair.weak}": 0}}}}'
            )
        if not row[PROMPT_KEY].strip():
            raise UsageError(f"{path}:{number}: the prompt is empty; take the row out")
        if pair.strong not in scores or pair.weak not in scores:
            seen.update(dict.fromkeys(scores))
            data.skipped += 1
            continue
        data.strong.append(_number(scores[pair.strong], f"{path}:{number}: the score of {pair.strong!r}"))
        data.weak.append(_number(scores[pair.weak], f"{path}:{number}: the score of {pair.weak!r}"))
        _add_costs(row, f"{path}:{number}", pair, costs, data)
        yield row[PROMPT_KEY]
    if not data.strong:
        if not data.skipped:
            raise UsageError(f"{path}: has no rows; calibrating needs at least one")
        unknown = next((name for name in pair if name not in seen), None)
        hint = "they come in different rows." if unknown is None else unknown_name("model", unknown, seen)
        raise UsageError(
            f"{path}: no row scores both {pair.strong!r} and {pair.weak!r}: {hint} "
            "Say how the data names them with --strong-model and --weak-model."
        )


def read_costed(path: Path, pair: Pair, costs: Costs, data: LabelledData) -> Iterator[str]:
    """The prompts of any file that `read_prompts` reads, while `data` gets what answering them costs.

    Raises:
        UsageError: the file cannot be read.
    """
    rows: Iterable[Mapping[str, Any]]
    if suffix_of(path) in (".jsonl", ".ndjson"):
        rows = (row for _, row in read_rows(path) if row[PROMPT_KEY].strip())
    else:
        rows = ({PROMPT_KEY: prompt} for prompt in read_prompts(path))
    for number, row in enumerate(rows, start=1):
        _add_costs(row, f"{path}: prompt {number}", pair, costs, data)
        yield row[PROMPT_KEY]


def _add_costs(row: Mapping[str, Any], where: str, pair: Pair, costs: Costs | None, data: LabelledData) -> None:
    if costs is None:
        return
    few = len(row[PROMPT_KEY]) / CHARACTERS_PER_TOKEN if costs.input_tokens is None else costs.input_tokens
    sides = ((pair.strong, costs.strong, data.strong_cost), (pair.weak, costs.weak, data.weak_cost))
    read = [_tokens(row, "input_tokens", model, where) for model, _, _ in sides]
    written = [_tokens(row, "output_tokens", model, where) for model, _, _ in sides]
    data.assumed_input += None in read
    data.assumed_output += None in written
    for (_, price, column), taken, given in zip(sides, read, written, strict=True):
        inward = few if taken is None else taken
        outward = costs.output_tokens if given is None else given
        column.append((inward * price.input + outward * price.output) / _MILLION)


def _tokens(row: Mapping[str, Any], key: str, model: str, where: str) -> float | None:
    value = row.get(key)
    if isinstance(value, dict):
        value = value.get(model)
    if value is None:
        return None
    tokens = _number(value, f"{where}: {key} of {model!r}")
    if tokens < 0:
        raise UsageError(f"{where}: {key} of {model!r} must not be negative")
    return tokens


def _number(value: object, what: str) -> float:
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{what} is no finite number; mend the row or take it out")
    return float(value)
