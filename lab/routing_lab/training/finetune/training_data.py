"""The prompts of a fine-tuning: read, kept apart from benchmarks, and split into training and validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing_lab.data.examples import Example
from routing_lab.data.files import DataFile
from routing_lab.data.preferences import Sides, check_examples, load_preferences
from routing_lab.data.splits import Overlap, Split, held_out, keep_apart
from routing_service.errors import UsageError

# With fewer prompts, validation could not tell a router from a coin.
MIN_VALIDATION_PROMPTS = 20


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
    sides: Sides,
    *,
    report_on: Sequence[Path] = (),
    overlap: Overlap = Overlap.REFUSE,
    validation_share: float = 0.1,
    seed: int = 0,
) -> TrainingData:
    """Read preference data and split it; near-duplicates stay on one side.

    Args:
        paths: files and folders, see `preferences`.
        sides: names of the two models in the data.
        report_on: benchmarks to keep out, see `splits`.
        overlap: what to do about rows of those benchmarks.
        validation_share: the share of the rows that is not trained on, above 0 and below 1.
        seed: decides which rows those are.

    Raises:
        UsageError: the data cannot be read, holds a benchmark's prompts, or is too little or too uniform to learn from.
    """
    preferences = load_preferences(paths, *sides)
    split = keep_apart(preferences.examples, report_on, overlap, preferences.files)
    check_examples(split.rows, preferences.files, sides.pair)
    validates = held_out([example.prompt for example in split.rows], validation_share, seed)
    train, validation = (
        [example for example, out in zip(split.rows, validates, strict=True) if out == side] for side in (False, True)
    )
    asked = len({example.prompt for example in validation})
    if asked < MIN_VALIDATION_PROMPTS or len({example.target for example in validation}) == 1 or not train:
        raise UsageError(
            f"a validation share of {validation_share:g} leaves {len(train)} rows to learn from and {len(validation)} "
            f"rows over {asked} prompts to validate on; at least {MIN_VALIDATION_PROMPTS} prompts, with more than one "
            "outcome, are needed: change --validation-share, or add prompts"
        )
    return TrainingData(train, validation, preferences.files, split)
