"""Battles between models, and the embeddings of their prompts, in the columns of RouteLLM's data sets."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from export_onnx.tables import TableFile
from routing_service.errors import UsageError
from routing_service.rows.labels import COLUMNS, BattleRow, read_labels
from routing_service.rows.model_names import Spelling
from routing_service.rows.reader import Row

EMBEDDINGS = "embeddings"
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


def read_battles(files: Sequence[TableFile], names: Sequence[str] = ()) -> Battles:
    """Read the battles that RouteLLM keeps.

    Names that mean the same model are one: as `names` has it, else as it is spelt first.

    Raises:
        UsageError: a file is wrong, has nothing but rows of scores, or a row has no two models, no prompt or not one
            outcome; it says where.
    """
    pairs: list[tuple[str, str]] = []
    outcomes: list[int] = []
    spelling, dropped = Spelling(names), 0
    for file in files:
        rows, before = file.rows(COLUMNS), len(pairs)
        for row in tqdm(read_labels(rows, rows.name), desc=f"battles {file.path.name}", disable=None):
            if not isinstance(row, BattleRow):
                raise UsageError(f"{row.where}: is a row of scores, and battles are needed; `train mf` takes both")
            if len(row.prompt.strip()) < MIN_PROMPT_CHARACTERS:
                dropped += 1
                continue
            pairs.append((spelling(row.model_a), spelling(row.model_b)))
            outcomes.append(A_WINS if row.outcome == 1 else B_WINS if row.outcome == 0 else TIE)
        if len(pairs) == before:
            raise rows.no_use(f"there is no battle with a prompt of at least {MIN_PROMPT_CHARACTERS} characters")
        rows.tell()
    # RouteLLM's order of models, by first appearance, `model_a` first: its optimiser's rounding depends on it.
    models = tuple(dict.fromkeys([a for a, _ in pairs] + [b for _, b in pairs]))
    index = {name: number for number, name in enumerate(models)}
    a, b = (np.array([index[pair[side]] for pair in pairs], np.int64) for side in (0, 1))
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
        rows = file.rows((EMBEDDINGS,))
        for row in tqdm(rows, desc=f"embeddings {file.path.name}", disable=None):
            if EMBEDDINGS not in row.values:
                raise row.lacks(EMBEDDINGS, f"Name the vectors {EMBEDDINGS!r}.")
            vector = _vector(row)
            if vectors is None:
                vectors = np.empty((len(battles), len(vector)), np.float32)
            if len(vector) != vectors.shape[1]:
                raise row.error(f"has {len(vector)} numbers; the rows before have {vectors.shape[1]}")
            if total < len(battles):
                vectors[total] = vector
            total += 1
        if not rows.rows:
            raise rows.no_use("")
        counts[file.source] = rows.rows
        rows.tell()
    if vectors is None or total != len(battles):
        listed = ", ".join(f"{source}: {count:,}" for source, count in counts.items())
        raise UsageError(
            f"--embeddings: {total:,} rows ({listed}) for {len(battles):,} battles; there must be one, in the same "
            f"order, for each battle whose prompt has at least {MIN_PROMPT_CHARACTERS} characters "
            f"({battles.dropped:,} others are left out)"
        )
    return vectors


def _vector(row: Row) -> npt.NDArray[np.float32]:
    value = row.values[EMBEDDINGS]
    try:
        if isinstance(value, str):
            value = json.loads(value)
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused below
            vector = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        vector = np.empty((0, 0), np.float32)
    if vector.ndim != 1 or not vector.size:
        raise row.error("embeddings must be a list of numbers")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not math.isfinite(length):
        raise row.error("the embedding holds NaN, infinity or a number beyond float32; make it again")
    if not length:
        raise row.error("the embedding is all zeros, which is like no prompt; make it again")
    return vector
