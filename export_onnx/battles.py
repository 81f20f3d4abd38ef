"""Battles between models, and the embeddings of their prompts, in the columns of RouteLLM's data sets."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from export_onnx.tables import Columns, TableFile, rows_of
from routing_service.errors import UsageError

# As lmsys/lmsys-arena-human-preference-55k has them.
BATTLE_COLUMNS = Columns(
    "Battles",
    ("model_a", "model_b", "prompt", "winner_model_a", "winner_model_b"),
    ("id", "question_id", "response_a", "response_b", "winner_tie"),
)
EMBEDDING_COLUMNS = Columns("Embeddings", ("embeddings",), ("id", "question_id"))
# RouteLLM drops battles whose first turn, stripped, is shorter than this many characters.
MIN_PROMPT_CHARACTERS = 16

A_WINS, B_WINS, TIE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Battles:
    """Battles in order. `models` has each name once; `a`, `b` index it; `outcome` is A_WINS, B_WINS or TIE.

    `dropped` is how many rows were left out because their prompt is short.
    """

    models: tuple[str, ...]
    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]
    outcome: npt.NDArray[np.int64]
    dropped: int

    def __len__(self) -> int:
        return len(self.a)


def read_battles(files: Sequence[TableFile], ignored: Sequence[str] = ()) -> Battles:
    """Read the battles that RouteLLM keeps. `ignored` are columns beside those known that may be there.

    Raises:
        UsageError: a file is wrong, or a row has no two models, no prompt or not one outcome; it says where.
    """
    names: list[tuple[str, str]] = []
    outcomes: list[int] = []
    dropped = 0
    columns = BATTLE_COLUMNS.allowing(ignored)
    for file in files:
        for where, row in tqdm(rows_of(file, columns), desc=f"battles {file.path.name}", disable=None):
            pair = _name(where, row, "model_a"), _name(where, row, "model_b")
            outcome = _outcome(where, row)
            if len(_first_turn(where, row["prompt"])) < MIN_PROMPT_CHARACTERS:
                dropped += 1
                continue
            names.append(pair)
            outcomes.append(outcome)
    if not names:
        raise UsageError(
            f"--battles: there is no battle with a prompt of at least {MIN_PROMPT_CHARACTERS} characters "
            f"among {dropped} in {', '.join(file.source for file in files)}"
        )
    # RouteLLM's order of models, by first appearance, `model_a` first: its optimiser's rounding depends on it.
    models = tuple(dict.fromkeys([a for a, _ in names] + [b for _, b in names]))
    index = {name: number for number, name in enumerate(models)}
    a, b = (np.array([index[pair[side]] for pair in names], np.int64) for side in (0, 1))
    return Battles(models, a, b, np.array(outcomes, np.int64), dropped)


def read_embeddings(files: Sequence[TableFile], battles: Battles) -> npt.NDArray[np.float32]:
    """Read the embedding of each battle's prompt: float32 of shape (battles, dimension).

    Raises:
        UsageError: a file is wrong, a row is no vector, of another length, all zeros or holds NaN or infinity, or there
            are not as many as battles.
    """
    vectors: npt.NDArray[np.float32] | None = None
    counts: dict[str, int] = {}
    total = 0
    for file in files:
        counts[file.source] = 0
        for where, row in tqdm(rows_of(file, EMBEDDING_COLUMNS), desc=f"embeddings {file.path.name}", disable=None):
            vector = _vector(where, row["embeddings"])
            if vectors is None:
                vectors = np.empty((len(battles), len(vector)), np.float32)
            if len(vector) != vectors.shape[1]:
                raise UsageError(f"{where}: has {len(vector)} numbers; the rows before have {vectors.shape[1]}")
            if total < len(battles):
                vectors[total] = vector
            total += 1
            counts[file.source] += 1
    if vectors is None or total != len(battles):
        listed = ", ".join(f"{source}: {count:,}" for source, count in counts.items())
        raise UsageError(
            f"--embeddings: {total:,} rows ({listed}) for {len(battles):,} battles; there must be one, in the same "
            f"order, for each battle whose prompt has at least {MIN_PROMPT_CHARACTERS} characters "
            f"({battles.dropped:,} others are left out)"
        )
    return vectors


def _name(where: str, row: dict[str, Any], column: str) -> str:
    name = row[column]
    if not isinstance(name, str) or not name:
        raise UsageError(f"{where}: {column} must be a model's name, not {name!r}")
    return name


def _outcome(where: str, row: dict[str, Any]) -> int:
    flags = {name: row[name] for name in ("winner_model_a", "winner_model_b", "winner_tie") if name in row}
    try:
        values = [int(number) for number in map(float, flags.values()) if number in (0.0, 1.0)]
    except (TypeError, ValueError):
        values = []
    if len(values) < len(flags) or sum(values) > 1 or (len(values) == 3 and sum(values) != 1):
        listed = ", ".join(f"{name} {value!r}" for name, value in flags.items())
        raise UsageError(f"{where}: must have exactly one outcome, as 1 beside 0, not {listed}")
    return A_WINS if values[0] else B_WINS if values[1] else TIE


def _first_turn(where: str, prompt: object) -> str:
    # CSV and Parquet hold the list of turns as JSON; a JSON line may hold the list itself.
    try:
        turns = json.loads(prompt) if isinstance(prompt, str) else prompt
    except ValueError:
        turns = None
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
        raise UsageError(f"{where}: prompt must be a JSON list of turns, the first a text")
    return turns[0].strip()


def _vector(where: str, value: object) -> npt.NDArray[np.float32]:
    try:
        if isinstance(value, str):
            value = json.loads(value)
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused below
            vector = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        vector = np.empty((0, 0), np.float32)
    if vector.ndim != 1 or not vector.size:
        raise UsageError(f"{where}: embeddings must be a list of numbers")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not math.isfinite(length):
        raise UsageError(f"{where}: the embedding holds NaN, infinity or a number beyond float32; make it again")
    if not length:
        raise UsageError(f"{where}: the embedding is all zeros, which is like no prompt; make it again")
    return vector
