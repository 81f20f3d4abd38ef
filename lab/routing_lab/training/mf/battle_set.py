"""The battles of an `mf` training: read, kept apart from benchmarks, split, and as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_lab.data.battles import Battle, load_battles
from routing_lab.data.files import DataFile
from routing_lab.data.sources import source_of
from routing_lab.data.splits import Split, held_out, keep_apart
from routing_lab.training.mf.model import Battles
from routing_lab.training.mf.request import MatrixFactorizationRequest
from routing_service.errors import UsageError, unknown_name
from routing_service.models import ModelPair

# With fewer, validation could not tell a router from a coin.
MIN_BATTLES, MIN_VALIDATION_PROMPTS = 200, 20
# With fewer validation battles between the pair itself, the temperature is that of all of them.
MIN_PAIR_BATTLES = 100


@dataclass(frozen=True, slots=True)
class BattleSet:
    """Everything that is learnt from and validated on.

    `rows` and `arrays` are the same battles; `prompts` has each text once, `models` each name once, sorted; `held_out`
    says which battles only validate, (battles,).
    """

    rows: list[Battle]
    arrays: Battles
    prompts: list[str]
    models: list[str]
    held_out: npt.NDArray[np.bool_]
    pair: ModelPair
    files: list[DataFile]
    split: Split[Battle]

    @property
    def training(self) -> Battles:
        """What is learnt from."""
        return self.arrays.take(~self.held_out)

    @property
    def validation(self) -> Battles:
        """What says when to stop. All of it: the few battles of one pair are too noisy a sign."""
        return self.arrays.take(self.held_out)

    def pair_signs(self) -> npt.NDArray[np.int64]:
        """1 for a battle of the strong against the weak model, -1 for the reverse, 0 for others; (battles,)."""
        strong, weak = (self.models.index(name) for name in self.pair)
        a, b = self.arrays.a, self.arrays.b
        forward, backward = (a == strong) & (b == weak), (a == weak) & (b == strong)
        return np.asarray(forward.astype(np.int64) - backward.astype(np.int64))

    def calibrating(self) -> npt.NDArray[np.bool_]:
        """The validation battles whose temperature is best, (battles,): the pair's own, where there are enough.

        Battles of a source that does not score the pair itself do not count as its own.
        """
        calibrates = np.array([source_of(row.source).calibrates for row in self.rows])
        of_pair = self.held_out & (self.pair_signs() != 0) & calibrates
        return of_pair if of_pair.sum() >= MIN_PAIR_BATTLES else self.held_out

    def provenance(self) -> dict[str, Any]:
        """For the manifest."""
        return {"data": [file.record() for file in self.files], **self.split.provenance()}


def read_battle_set(request: MatrixFactorizationRequest) -> BattleSet:
    """Read battles and split them by prompt; near-duplicates stay on one side.

    Raises:
        UsageError: the data cannot be read, holds a benchmark's prompts, does not know the pair, or is too little or
            too uniform to learn from.
    """
    pair, share = request.sides.pair, request.validation_share
    found = load_battles(request.data, request.sides)
    split = keep_apart(found.battles, request.report_on, request.overlap, found.files)
    rows = [row for row in split.rows if not request.drop_ties or row.outcome != 0.5]
    _check(rows, sum(file.without_pair for file in found.files), len(split.rows) - len(rows))
    validates = np.array(held_out([row.prompt for row in rows], share, request.seed), bool)
    models = sorted({name for row, out in zip(rows, validates, strict=True) if not out for name in _sides(row)})
    for name in pair:
        if name not in models:
            raise UsageError(f"--data: {unknown_name('model of the data', name, models)} Name the pair as it is there.")
    known = set(models)
    kept = [number for number, row in enumerate(rows) if known.issuperset(_sides(row))]
    rows, validates = [rows[number] for number in kept], validates[kept]
    validation = [rows[number] for number in np.flatnonzero(validates)]
    asked = len({row.prompt for row in validation})
    if asked < MIN_VALIDATION_PROMPTS or len({_of_pair(row)[1] for row in validation}) == 1:
        raise UsageError(
            f"a validation share of {share:g} leaves {len(validation)} battles over {asked} prompts to "
            f"validate on; at least {MIN_VALIDATION_PROMPTS} prompts, with more than one outcome, are needed: raise "
            "--validation-share, or add prompts"
        )
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    return BattleSet(rows, _arrays(rows, prompts, models), prompts, models, validates, pair, found.files, split)


def _sides(row: Battle) -> tuple[str, str]:
    return row.model_a, row.model_b


def _arrays(rows: Sequence[Battle], prompts: Sequence[str], models: Sequence[str]) -> Battles:
    prompt_rows = {prompt: number for number, prompt in enumerate(prompts)}
    model_rows = {name: number for number, name in enumerate(models)}
    return Battles(
        np.array([prompt_rows[row.prompt] for row in rows], np.int64),
        np.array([model_rows[row.model_a] for row in rows], np.int64),
        np.array([model_rows[row.model_b] for row in rows], np.int64),
        np.array([row.outcome for row in rows], np.float32),
        np.array([row.weight for row in rows], np.float64),
    )


def _of_pair(row: Battle) -> tuple[tuple[str, str], float]:
    """A battle's models in order, and the outcome for the first of them: who stands first in the row means nothing."""
    a, b = _sides(row)
    return ((a, b), row.outcome) if a < b else ((b, a), 1 - row.outcome)


def _check(rows: Sequence[Battle], without_pair: int, ties: int) -> None:
    if len(rows) < MIN_BATTLES:
        others = f"; {without_pair} more rows score one model only" if without_pair else ""
        others += f"; {ties} ties were dropped" if ties else ""
        raise UsageError(
            f"--data has {len(rows)} usable battles{others}. At least {MIN_BATTLES} are needed: add rows that score "
            "two or more models"
        )
    if {row.outcome for row in rows} == {0.5}:
        raise UsageError(f"--data has nothing but ties in all {len(rows)} battles, so there is nothing to learn")
    results = {_of_pair(row) for row in rows}
    if len(results) == len({models for models, _ in results}):
        raise UsageError(
            f"--data has, in {len(rows)} battles, one and the same outcome whenever two models meet, so there is "
            "nothing to learn from the prompts. Add battles that ended otherwise"
        )
