"""The prompts of a fine-tuning: read, kept apart from benchmarks, and split into training and validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from routing_lab.data.examples import Example
from routing_lab.data.files import DataFile
from routing_lab.data.preferences import check_examples, load_preferences
from routing_lab.data.splits import Split, held_out, keep_apart
from routing_lab.training.request import ResumableRequest
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


def read_data(request: ResumableRequest) -> TrainingData:
    """Read preference data and split it; near-duplicates stay on one side.

    Raises:
        UsageError: the data cannot be read, holds a benchmark's prompts, or is too little or too uniform to learn from.
    """
    share = request.validation_share
    preferences = load_preferences(request.data, *request.sides)
    split = keep_apart(preferences.examples, request.report_on, request.overlap, preferences.files)
    check_examples(split.rows, preferences.files, request.sides.pair)
    validates = held_out([example.prompt for example in split.rows], share, request.seed)
    train, validation = (
        [example for example, out in zip(split.rows, validates, strict=True) if out == side] for side in (False, True)
    )
    asked = len({example.prompt for example in validation})
    if asked < MIN_VALIDATION_PROMPTS or len({example.target for example in validation}) == 1 or not train:
        raise UsageError(
            f"a validation share of {share:g} leaves {len(train)} rows to learn from and {len(validation)} "
            f"rows over {asked} prompts to validate on; at least {MIN_VALIDATION_PROMPTS} prompts, with more than one "
            "outcome, are needed: change --validation-share, or add prompts"
        )
    return TrainingData(train, validation, preferences.files, split)
