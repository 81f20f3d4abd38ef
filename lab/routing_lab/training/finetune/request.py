"""What the trainers of `bert` and `causal_llm` share: what is asked of them, loading a model, and its artifact."""

from __future__ import annotations

import logging
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from export_onnx.checkpoint import Checkpoint, open_checkpoint
from export_onnx.quantize import precision_of
from export_onnx.text_artifact import Score, TextExport, Training
from export_onnx.tokenizer import TOKENIZER_FILES
from routing_lab.data.preferences import Names, Sides, sides
from routing_lab.data.splits import Overlap, command_options
from routing_lab.training.finetune.labels import Ties
from routing_lab.training.finetune.loop import Recipe
from routing_lab.training.finetune.report import run_metrics, validation_calibration, validation_metrics
from routing_lab.training.finetune.state import FinetuneWork, RunState
from routing_lab.training.finetune.training_data import TrainingData, read_data
from routing_lab.training.work import work_folder
from routing_service.artifacts.writing import check_output
from routing_service.errors import UsageError
from routing_service.models import ModelPair

LIBRARIES = ("numpy", "peft", "safetensors", "tokenizers", "torch", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a fine-tuning is asked to do.

    Args:
        checkpoint: a folder with safetensors, or a Hugging Face id, to start from.
        data: preference files and folders (see `preferences`).
        output: the artifact's folder; replaced whole, and only once the new artifact is complete.
        recipe: how the model is fine-tuned.
        max_tokens: how many tokens of a text are read, special ones included, at most.
        ties: what a tie counts for in the win rate.
        lora_rank: the rank of the adapters that are trained; 0 trains the whole model.
        gradient_checkpointing: compute activations twice rather than keep them: slower, in less memory.
        quantize: the artifact's precision, `int8` or `fp16`; None for float32.
        strong_model: the strong model as the data names it; several names are one model, the first is the one that
            decisions name. None for the default pair's.
        weak_model: the weak model, likewise.
        seed: decides the split, new weights and every random draw.
        report_on: benchmarks whose prompts must not be learnt from (see `splits`).
        overlap: what to do about rows that ask what a benchmark asks.
        validation_share: the share of prompts that only validate, near-duplicates together.
        work: where an interrupted run is kept; None for `OUTPUT.work`.
        restart: throw an interrupted run's work away.
        finish: end an interrupted run with its best model so far.
        save_checkpoint: where the fine-tuned checkpoint is to be kept as well, a new or empty folder.
    """

    checkpoint: str
    data: Sequence[Path]
    output: Path
    recipe: Recipe
    max_tokens: int
    ties: Ties = Ties.WEAK
    lora_rank: int = 0
    gradient_checkpointing: bool = False
    quantize: str | None = None
    strong_model: Names | None = None
    weak_model: Names | None = None
    seed: int = 0
    report_on: Sequence[Path] = ()
    overlap: Overlap = Overlap.REFUSE
    validation_share: float = 0.1
    work: Path | None = None
    restart: bool = False
    finish: bool = False
    save_checkpoint: Path | None = None

    @property
    def pair(self) -> ModelPair:
        """The models that decisions will name."""
        return self.sides.pair

    @property
    def sides(self) -> Sides:
        """The names of both models.

        Raises:
            UsageError: a model is on both sides.
        """
        return sides(self.strong_model, self.weak_model)

    def check(self) -> None:
        """Refuse at once what would fail after hours.

        Raises:
            UsageError: the output or the folder for the checkpoint holds something else, or the models are the same.
        """
        check_output(self.output)
        kept = self.save_checkpoint
        if kept is not None and kept.exists() and (not kept.is_dir() or any(kept.iterdir())):
            raise UsageError(f"--save-checkpoint {kept} exists and is not empty; name a new folder")
        _ = self.sides

    def read_data(self) -> TrainingData:
        """The rows to train and to validate on."""
        return read_data(
            self.data,
            self.sides,
            report_on=self.report_on,
            overlap=self.overlap,
            validation_share=self.validation_share,
            seed=self.seed,
        )

    def open_work(self, kind: str, base: Checkpoint, data: TrainingData, **more: Any) -> FinetuneWork:
        """The run's work folder, for a router's type; `more` is what else decides the result."""
        asked = {"type": kind, **self.settings(), **base.provenance(*TOKENIZER_FILES), **data.provenance(), **more}
        work = FinetuneWork(self.work or work_folder(self.output), asked, restart=self.restart)
        if work.resumed:
            print(f"{work.folder}: an interrupted training goes on after update {work.resumed}", file=sys.stderr)
        return work

    def settings(self) -> dict[str, Any]:
        """What decides the trained weights, beside checkpoint and data, as JSON."""
        return {
            "seed": self.seed,
            "ties": self.ties.value,
            "lora_rank": self.lora_rank,
            "max_tokens": self.max_tokens,
            "validation_share": self.validation_share,
            "recipe": asdict(self.recipe),
            "models": {side: list(names) for side, names in self.sides._asdict().items()},
        }

    def command(self, kind: str, base: Checkpoint) -> str:
        """The command to repeat it, without folders."""
        options = f"--checkpoint {base.source} --data {' '.join(path.name for path in self.data)} --output DIR"
        for side, names in self.sides._asdict().items():
            options += f" --{side}-model {' '.join(names)}"
        values = {"seed": self.seed, "validation_share": self.validation_share, "max_tokens": self.max_tokens}
        for name, value in {**values, "lora_rank": self.lora_rank, **asdict(self.recipe)}.items():
            options += f" --{name.replace('_', '-')} {value}"
        options += f" --ties {self.ties.value}" + (f" --quantize {self.quantize}" if self.quantize else "")
        options += command_options(self.report_on, self.overlap)
        return f"routing-service train {kind} {options}"


def load_pretrained(kind: Any, base: Checkpoint, *, may_be_new: Sequence[str] = (), **options: Any) -> Any:
    """A checkpoint's model in float32, on the CPU, as the transformers class `kind` (one of its AutoModels) loads it.

    Args:
        kind: the class.
        base: the checkpoint.
        may_be_new: the first parts of the names of weights that the checkpoint may lack or have in another shape.
        options: for `from_pretrained`.

    Raises:
        UsageError: transformers cannot load it, or it lacks other weights.
    """
    transformers: Any = import_module("transformers.utils.logging")
    transformers.disable_progress_bar()
    # It warns of new heads, which are wanted here, and of every layer that is quantized or frozen.
    transformers.set_verbosity_error()
    logging.getLogger("peft").setLevel(logging.ERROR)
    try:
        model, info = kind.from_pretrained(
            str(base.folder),
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{base.folder}: transformers cannot load the model: {error}") from error
    lacking = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
    if others := sorted(name for name in lacking if not name.startswith(tuple(may_be_new))):
        raise UsageError(
            f"{base.folder}: lacks {len(others)} of the model's weights, e.g. {others[0]}; give the checkpoint that "
            "belongs to its config.json"
        )
    return model


def enable_gradient_checkpointing(model: Any) -> None:
    """Make a model compute its activations a second time on the way back, rather than keep them."""
    # transformers 5 has renamed it, and warns of the older name.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def move_to_device(model: Any) -> None:
    """Move a model to the GPU if there is one, there with the weights that are not trained in bfloat16."""
    if not torch.cuda.is_available():
        return
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    model.to("cuda")


@contextmanager
def checkpoint_folder(asked: Request, work: FinetuneWork) -> Iterator[Path]:
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
    kind: str,
    folder: Path,
    asked: Request,
    base: Checkpoint,
    data: TrainingData,
    best: RunState,
    win_rates: Callable[[Score, Sequence[str]], Sequence[float]],
) -> TextExport:
    """The export of a fine-tuned checkpoint, with all that its manifest is to say of the training.

    Args:
        kind: the router's type.
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
            "command": asked.command(kind, base),
            **asked.settings(),
            "rows": {"training": len(data.train), "validation": len(data.validation)},
            "base": base.provenance(),
            **data.provenance(),
            "versions": _versions(),
        }
        return Training(validation_calibration(data.validation, rates), metrics, provenance)

    trained = replace(open_checkpoint(str(folder)), source=f"{base.source}, fine-tuned")
    return TextExport(kind, trained, asked.output, asked.pair, precision_of(asked.quantize), training=training)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
