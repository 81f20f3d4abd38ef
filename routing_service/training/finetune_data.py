"""The prompts of a fine-tuning: read, kept apart from benchmarks, and split into training and validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing_service.errors import UsageError
from routing_service.training.examples import Example, near_duplicate_groups
from routing_service.training.files import DataFile
from routing_service.training.preferences import load_preferences
from routing_service.training.splits import Overlap, Split, keep_apart

# With fewer, validation could not tell a router from a coin.
FEWEST_EXAMPLES, FEWEST_VALIDATION = 200, 20


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is learnt from, what tells when to stop, the files of both, and what keeping benchmarks apart found."""

    train: list[Example]
    validation: list[Example]
    files: list[DataFile]
    split: Split[Example]

    def provenance(self) -> dict[str, Any]:
        """For the manifest."""
        return {"data": [file.record() for file in self.files], **self.split.provenance()}


def read_data(
    paths: Sequence[Path],
    strong: Sequence[str],
    weak: Sequence[str],
    *,
    report_on: Sequence[Path] = (),
    overlap: Overlap = Overlap.REFUSE,
    validation_share: float = 0.1,
    seed: int = 0,
) -> TrainingData:
    """Read preference data and split it; near-duplicates stay on one side.

    Args:
        paths: files and folders, see `preferences`.
        strong: names of the strong model in the data.
        weak: names of the weak model.
        report_on: benchmarks to keep out, see `splits`.
        overlap: what to do about rows of those benchmarks.
        validation_share: the share of the rows that is not trained on, above 0 and below 1.
        seed: decides which rows those are.

    Raises:
        UsageError: the data cannot be read, holds a benchmark's prompts, or is too little or too uniform to learn from.
    """
    preferences = load_preferences(paths, strong, weak)
    split = keep_apart(preferences.examples, report_on, overlap)
    _check(split.rows, sum(file.without_pair for file in preferences.files), strong[0], weak[0])
    sides = held_out([example.prompt for example in split.rows], validation_share, seed)
    train, validation = (
        [example for example, out in zip(split.rows, sides, strict=True) if out == side] for side in (False, True)
    )
    if len(validation) < FEWEST_VALIDATION or len({example.target for example in validation}) == 1 or not train:
        raise UsageError(
            f"a validation share of {validation_share:g} leaves {len(train)} rows to learn from and {len(validation)} "
            f"to validate on; at least {FEWEST_VALIDATION}, with more than one outcome, are needed: change "
            "--validation-share, or add rows"
        )
    return TrainingData(train, validation, preferences.files, split)


def held_out(prompts: Sequence[str], share: float, seed: int) -> list[bool]:
    """Which rows only validate: about `share` of the groups of near-duplicates, the same ones for the same seed."""
    distinct = list(dict.fromkeys(prompts))
    chosen = {}
    for prompt, group in zip(distinct, near_duplicate_groups(distinct), strict=True):
        digest = hashlib.sha256(f"{seed}|validation|{group}".encode()).digest()
        chosen[prompt] = int.from_bytes(digest[:8], "big") < share * 2**64
    return [chosen[prompt] for prompt in prompts]


def _check(examples: Sequence[Example], without_pair: int, strong: str, weak: str) -> None:
    if len(examples) < FEWEST_EXAMPLES:
        scored = f"; {without_pair} more rows have no outcome for {strong!r} and {weak!r}" if without_pair else ""
        raise UsageError(
            f"--data has {len(examples)} usable rows{scored}. At least {FEWEST_EXAMPLES} are needed: add rows, or name "
            "the models that the rows score with --strong-model and --weak-model."
        )
    if len({example.target for example in examples}) == 1:
        raise UsageError(
            f"--data has the same outcome in all {len(examples)} rows, so there is nothing to learn. "
            "Add rows in which the other model did better, or swap --strong-model and --weak-model."
        )
