"""From a fine-tuning's work to its artifact: where checkpoints are kept, and what the manifest says of it all."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from export_onnx.checkpoint import Checkpoint, open_checkpoint
from export_onnx.quantize import precision_of
from export_onnx.text_artifact import Score, TextExport, Training
from export_onnx.tokenizer import TOKENIZER_FILES
from routing_lab.training.finetune.report import run_metrics, validation_calibration, validation_metrics
from routing_lab.training.finetune.request import FinetuneRequest
from routing_lab.training.finetune.state import FinetuneWork, RunState
from routing_lab.training.finetune.training_data import TrainingData
from routing_service.errors import UsageError

LIBRARIES = ("numpy", "peft", "safetensors", "tokenizers", "torch", "transformers")


def open_work(asked: FinetuneRequest, base: Checkpoint, data: TrainingData, **more: Any) -> FinetuneWork:
    """The run's work folder; `more` is what else decides the result."""
    wanted = {
        "type": asked.router_type,
        **asked.settings(),
        **base.provenance(*TOKENIZER_FILES),
        **data.provenance(),
        **more,
    }
    work = FinetuneWork(asked.work_folder, wanted, restart=asked.restart)
    if work.resumed:
        print(f"{work.folder}: an interrupted training goes on after update {work.resumed}", file=sys.stderr)
    return work


@contextmanager
def checkpoint_folder(asked: FinetuneRequest, work: FinetuneWork) -> Iterator[Path]:
    """An empty folder for the fine-tuned checkpoint, which is deleted afterwards; a copy is kept if that was asked for.

    Raises:
        UsageError: it cannot be made or written.
    """
    with work.scratch() as scratch:
        folder = scratch / asked.output.name
        try:
            folder.mkdir()
            yield folder
            if asked.save_checkpoint is not None:
                asked.save_checkpoint.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(folder, asked.save_checkpoint, dirs_exist_ok=True)
        except (OSError, SafetensorError) as error:
            raise UsageError(
                f"{asked.output}: its checkpoint cannot be written: {getattr(error, 'strerror', None) or error}. Make "
                "room, then repeat the command: the training itself is done and kept"
            ) from error


def describe_export(
    folder: Path,
    asked: FinetuneRequest,
    base: Checkpoint,
    data: TrainingData,
    best: RunState,
    win_rates: Callable[[Score, Sequence[str]], Sequence[float]],
) -> TextExport:
    """The export of a fine-tuned checkpoint, with all that its manifest is to say of the training.

    Args:
        folder: the fine-tuned checkpoint.
        asked: what the trainer was asked.
        base: the checkpoint that it started from.
        data: what it learnt from.
        best: the state that the checkpoint has.
        win_rates: of the validation prompts, given the artifact's own scoring and the prompts.
    """

    def training(score: Score) -> Training:
        rates = win_rates(score, [example.prompt for example in data.validation])
        metrics = {
            "run": run_metrics(best),
            "validation": validation_metrics(data.validation, rates, asked.ties, asked.seed),
        }
        provenance = {
            "command": asked.command(checkpoint=base.source),
            **asked.settings(),
            "rows": {"training": len(data.train), "validation": len(data.validation)},
            "base": base.provenance(),
            **data.provenance(),
            "versions": _versions(),
        }
        return Training(validation_calibration(data.validation, rates), metrics, provenance)

    trained = replace(open_checkpoint(str(folder)), source=f"{base.source}, fine-tuned")
    return TextExport(
        asked.router_type, trained, asked.output, asked.sides.pair, precision_of(asked.quantize), training=training
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
