"""Labelled rows: a prompt with the scores of several models, or a battle between two models.

A battle has the columns of lmsys-arena-human-preference-55k: `model_a`, `model_b` and the outcome as
`winner_model_a`, `winner_model_b`, `winner_tie` (1 or true beside 0 or false), or as `winner`, one of `model_a`,
`model_b`, `tie`, `tie (bothbad)` and `both_bad`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from routing_service.rows.prompts import MODELS, PROMPT_COLUMNS, is_battle, prompt_of
from routing_service.rows.reader import Row, RowFile

SCORES = "scores"
WINNERS = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5, "both_bad": 0.5, "bothbad": 0.5}
FLAGS = {"winner_model_a": 1.0, "winner_model_b": 0.0, "winner_tie": 0.5}
COLUMNS = (*PROMPT_COLUMNS, SCORES, "source", "group", *MODELS, "winner", *FLAGS)
# Sums and differences of larger scores could overflow.
MAX_SCORE = 1e100
# A longer name in an error may be a text.
MAX_SHOWN_MODEL = 80

_EXAMPLE = (
    'write {"prompt": "…", "scores": {"strong-model": 1, "weak-model": 0}}, or a battle with prompt, model_a, model_b '
    "and winner (or winner_model_a, winner_model_b, winner_tie)"
)
_RIGHT = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A prompt, and the score of each model on it: finite, higher is better. `where` is FILE:LINE.

    The prompt may be blank, in a battle too: public data sets have such rows.
    """

    prompt: str
    source: str
    group: str
    where: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class BattleRow:
    """A prompt, two models, and the outcome: 1 where `model_a` won, 0 where `model_b` did, 0.5 for a tie."""

    prompt: str
    source: str
    group: str
    where: str
    model_a: str
    model_b: str
    outcome: float

    @property
    def scores(self) -> dict[str, float]:
        """The outcome as scores: 1 for the winner, 0 for the loser, 0.5 for each in a tie."""
        return {self.model_a: self.outcome, self.model_b: 1.0 - self.outcome}


def read_labels(file: RowFile, label: str | None = None) -> Iterator[ScoreRow | BattleRow]:
    """The rows of a file, in order. Those without text are counted in `file.blank`; the caller leaves them out.

    A row without a `source` has the file's label as its source: by default its name.

    Raises:
        UsageError: the file cannot be read, or a row is wrong; the message says which, and quotes no prompt.
    """
    label = label or file.path.name
    for row in file:
        labelled = parse_labels(row, label)
        file.blank += not labelled.prompt.strip()
        yield labelled


def parse_labels(row: Row, label: str) -> ScoreRow | BattleRow:
    """One row's labels; `label` is the file's name in its `where`, and its `source` if it has none.

    Raises:
        UsageError: it is malformed.
    """
    values, prompt = row.values, prompt_of(row)
    source, group = (str(values.get(name) or default) for name, default in (("source", label), ("group", "")))
    where = f"{label}:{row.number}"
    if is_battle(values):
        model_a, model_b = (_model(row, column) for column in MODELS)
        return BattleRow(prompt, source, group, where, model_a, model_b, _outcome(row))
    return ScoreRow(prompt, source, group, where, _scores(row))


def has_labels(row: Row) -> bool:
    """Whether a row has scores, or is a battle."""
    return row.values.get(SCORES) is not None or is_battle(row.values)


def is_true(value: object) -> bool | None:
    """A flag in any usual form: 1, true, `True`, `1.0` and their opposites; None for anything else."""
    if isinstance(value, str):
        value = _RIGHT.get(value.strip().lower(), value)
    try:
        number = float(value)  # type: ignore[arg-type] # any value of a file
    except (TypeError, ValueError, OverflowError):
        return None
    return number == 1.0 if number in (0.0, 1.0) else None


def score_number(value: object) -> float | None:
    """A score: a finite number, or true for 1 and false for 0; None for anything else."""
    if isinstance(value, bool | int | float) and abs(value) <= MAX_SCORE:  # NaN fails every comparison
        return float(value)
    return None


def _model(row: Row, column: str) -> str:
    name = row.values.get(column)
    if not isinstance(name, str) or not name.strip():
        raise row.error(f"{column!r} must be a model's name")
    return name


def _outcome(row: Row) -> float:
    if (winner := row.values.get("winner")) not in (None, ""):
        if not isinstance(winner, str) or (winner := winner.strip().lower()) not in WINNERS:
            raise row.error(f"'winner' must be one of {', '.join(map(repr, WINNERS))}")
        return WINNERS[winner]
    given = {name: value for name in FLAGS if (value := row.values.get(name)) not in (None, "")}
    flags = {name: is_true(value) for name, value in given.items()}
    if None in flags.values():
        raise row.error("the winner columns must hold 1 or 0, or true or false")
    won = [name for name, flag in flags.items() if flag]
    if len(won) > 1 or not {"winner_model_a", "winner_model_b"} <= flags.keys():
        if not flags:
            raise row.lacks("winner", f"Say who won: {_EXAMPLE}.")
        raise row.error("must have one outcome: 'winner', or one 1 in winner_model_a, winner_model_b, winner_tie")
    if not won:
        if "winner_tie" in flags:
            raise row.error("has no outcome: all of the winner columns are 0")
        return 0.5
    return FLAGS[won[0]]


def _scores(row: Row) -> dict[str, float]:
    scores = row.values.get(SCORES)
    if scores is None and SCORES not in row.values:
        raise row.lacks(SCORES, f"Labels are needed: {_EXAMPLE}.")
    if isinstance(scores, str):  # a cell of CSV
        try:
            scores = json.loads(scores)
        except (ValueError, RecursionError):
            scores = None
    if isinstance(scores, list) and all(isinstance(pair, tuple) for pair in scores):  # Parquet's map
        scores = dict(scores)
    if not isinstance(scores, Mapping) or not scores:
        raise row.error(f"{SCORES!r} must be an object of models and numbers; {_EXAMPLE}")
    found = {}
    for model, value in scores.items():
        if value is None:  # Parquet has a column for every model in any row
            continue
        number = score_number(value)
        if number is None:
            # A text there may be an answer, or the prompt; a long name may be one, too.
            given = repr(value) if isinstance(value, float) else f"a {type(value).__name__}"
            name = str(model) if len(str(model)) <= MAX_SHOWN_MODEL else "…"
            raise row.error(
                f"the score of {name!r} must be a finite number of at most {MAX_SCORE:g}, or true or false, not {given}"
            )
        found[str(model)] = number
    return found
