"""Prompts with both models' scores, as for training, and the cost of answers: the data for targets."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from routing_service.errors import UsageError, unknown_name
from routing_service.models import ModelPair
from routing_service.rows import labels
from routing_service.rows.labels import has_labels, parse_labels
from routing_service.rows.model_names import canonical_model, find_model
from routing_service.rows.prompts import read_asked, whole_prompt_of
from routing_service.rows.reader import Row, RowFile

T = TypeVar("T")

# For English text with the usual tokenizers.
CHARACTERS_PER_TOKEN = 4.0
DEFAULT_OUTPUT_TOKENS = 300.0
# The columns that are read from a table.
COLUMNS = (*labels.COLUMNS, "input_tokens", "output_tokens")
_MILLION = 1e6


class Price(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost of an answer of each model.

    `input_tokens` and `output_tokens` are for rows without their own: None for the input means a token for every four
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
    """Columns of equal length, a row for each prompt, in the order of reading; a column without data is empty.

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


def read_data(
    file: RowFile, pair: ModelPair, costs: Costs | None, data: LabelledData, *, scored: bool
) -> Iterator[tuple[str, str]]:
    """The prompts of a file, each after its place, while `data` gets their rows.

    Args:
        file: rows with prompts and, where known, `input_tokens` and `output_tokens`: a number, or one for each model.
        pair: names of both models, in any spelling.
        costs: the cost of answers, None if not needed.
        data: the columns to fill.
        scored: whether the rows must have both models' scores. Otherwise they are read if the first row has them.

    Raises:
        UsageError: the file cannot be read, a row is wrong (it says which), or no row scores both models.
    """
    seen: dict[str, None] = {}
    for number, (row, prompt) in enumerate(read_asked(file)):
        if scored or (number == 0 and has_labels(row)):
            scores = parse_labels(row, file.name).scores
            found = _pair_scores(row, scores, pair)
            scored = scored or found is not None
            if found is not None:
                data.strong.append(found[0])
                data.weak.append(found[1])
            elif scored:
                seen.update(dict.fromkeys(scores))
                data.skipped += 1
                continue
        _add_costs(row, pair, costs, data)
        yield row.place, prompt
    if scored and not data.strong and data.skipped:
        raise UsageError(
            f"{file.name}: no row scores both {pair.strong!r} and {pair.weak!r}: {_why(pair, seen)} "
            "Give their names in the data with --strong-model and --weak-model."
        )


def _why(pair: ModelPair, seen: Iterable[str]) -> str:
    unknown = next((name for name in pair if canonical_model(name) not in map(canonical_model, seen)), None)
    return "they come in different rows." if unknown is None else unknown_name("model", unknown, seen)


def _pair_scores(row: Row, scores: Mapping[str, float], pair: ModelPair) -> tuple[float, float] | None:
    strong, weak = (_of_model(row, scores, model) for model in pair)
    return None if strong is None or weak is None else (strong, weak)


def _of_model(row: Row, values: Mapping[str, T], model: str) -> T | None:
    """A row's value for a model, under any of its names."""
    try:
        name = find_model(model, values)
    except UsageError as error:
        raise row.error(str(error)) from error
    return None if name is None else values[name]


def _add_costs(row: Row, pair: ModelPair, costs: Costs | None, data: LabelledData) -> None:
    if costs is None:
        return
    # Of what a model reads, which may be more than what is asked.
    few = len(whole_prompt_of(row)) / CHARACTERS_PER_TOKEN if costs.input_tokens is None else costs.input_tokens
    sides = ((pair.strong, costs.strong, data.strong_cost), (pair.weak, costs.weak, data.weak_cost))
    read = [_tokens(row, "input_tokens", model) for model, _, _ in sides]
    written = [_tokens(row, "output_tokens", model) for model, _, _ in sides]
    data.assumed_input += None in read
    data.assumed_output += None in written
    for (_, price, column), taken, given in zip(sides, read, written, strict=True):
        inward = few if taken is None else taken
        outward = costs.output_tokens if given is None else given
        column.append((inward * price.input + outward * price.output) / _MILLION)


def _tokens(row: Row, key: str, model: str) -> float | None:
    value = row.values.get(key)
    if isinstance(value, str) and value:  # a cell of CSV
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = "no number"
    if isinstance(value, dict):
        value = _of_model(row, value, model)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise row.error(f"{key} of {model!r} is not a finite number; correct the row or take it out")
    if value < 0:
        raise row.error(f"{key} of {model!r} must not be negative")
    return float(value)
