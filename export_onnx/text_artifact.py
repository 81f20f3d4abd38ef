"""What the exports of routers that read text have in common: options, the parity proof, the manifest, the report."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from export_onnx.checkpoint import Checkpoint
from export_onnx.parity import Parity, proof_prompts, prove
from export_onnx.quantize import Precision, precision_of
from routing_service.artifacts.manifest import CalibrationTable, Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.errors import UsageError
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.routers.base import Scores
from routing_service.rows.prompts import PROMPT_COLUMNS, read_prompts
from routing_service.rows.reader import RowFile

# Other processors sum in another order, and round int8 at other places.
SELF_TEST_TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 5e-3, "int8": 2e-2}
SELF_TEST_PROMPTS = 8
QUANTILE_LEVELS = 101
LIBRARIES = ("numpy", "onnx", "onnxruntime", "safetensors", "tokenizers", "torch", "transformers")

Rates = Callable[[Sequence[str]], Sequence[float]]
Score = Callable[[Sequence[str]], Scores]


@dataclass(frozen=True, slots=True)
class Training:
    """What the training that a checkpoint comes from adds to its manifest."""

    calibration: CalibrationTable
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TextExport:
    """One export.

    `own_prompts` are the user's, for the proof and the calibration table; `training`, of a checkpoint that was trained
    just now, is given the artifact's own scoring; `started` is when it began, in seconds of `time.perf_counter`.
    """

    kind: str
    checkpoint: Checkpoint
    output: Path
    pair: ModelPair
    precision: Precision
    own_prompts: tuple[str, ...] = ()
    training: Callable[[Score], Training] | None = None
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def from_options(cls, kind: str, checkpoint: Checkpoint, options: argparse.Namespace) -> TextExport:
        """Read the options that every such export has.

        Raises:
            UsageError: the models are the same, or the file of prompts cannot be read.
        """
        pair = ROUTELLM_PAIR.with_options(options.strong_model, options.weak_model)
        prompts: tuple[str, ...] = ()
        if options.prompts is not None:
            file = RowFile(options.prompts, PROMPT_COLUMNS)
            prompts = tuple(read_prompts(file))
            if not prompts:
                raise file.no_use("they have no text")
            file.tell()
        return cls(kind, checkpoint, Path(options.output), pair, precision_of(options.quantize), prompts)

    def proof_prompts(self, *more: str) -> tuple[str, ...]:
        """The prompts of the parity proof."""
        return proof_prompts((*more, *self.own_prompts))

    def manifest(
        self,
        folder: Path,
        files: Sequence[str],
        *,
        max_tokens: int,
        options: Mapping[str, Any],
        score: Score,
        source: Rates,
        more_prompts: Sequence[str] = (),
        sources: Sequence[str] = (),
    ) -> Manifest:
        """Prove the files of `folder` against the source model, and describe them.

        Args:
            folder: where the artifact is being made.
            files: the artifact's files.
            max_tokens: how many tokens of a prompt are read.
            options: the settings that the router's type reads.
            score: the artifact's own scores.
            source: the source model's win rates.
            more_prompts: for the proof.
            sources: files of the checkpoint, beside configuration and weights, that the artifact was made from.

        Raises:
            UsageError: the win rates differ too much.
        """
        prompts = self.proof_prompts(*more_prompts)
        with step(f"parity proof on {len(prompts)} prompts"):
            exported = score(prompts).strong_win_rates
            parity = prove(list(source(prompts)), list(exported), self.precision)
        recorded = tuple(map(SelfTestVector, prompts[:SELF_TEST_PROMPTS], exported[:SELF_TEST_PROMPTS]))
        training = self.training(score) if self.training else None
        return Manifest(
            type=self.kind,
            models=self.pair,
            max_tokens=max_tokens,
            files={name: file_entry(folder / name) for name in files},
            license="NOASSERTION",  # SPDX for not known: no file of a checkpoint says
            self_test=SelfTest(SELF_TEST_TOLERANCES[self.precision], recorded),
            calibration=training.calibration if training else self._calibration(score),
            options=dict(options),
            provenance={
                **self.checkpoint.provenance(*sources),
                "precision": self.precision,
                "parity": parity.as_dict(),
                "libraries": {name: version(name) for name in LIBRARIES},
                **(training.provenance if training else {}),
            },
            metrics=dict(training.metrics) if training else {},
        )

    def report(self, manifest: Manifest) -> str:
        """What came of it, in a few lines for people."""
        parity = Parity(**manifest.provenance["parity"])
        sizes = ", ".join(f"{name} {entry.bytes / 1e6:,.1f} MB" for name, entry in manifest.files.items())
        return (
            f"{self.output}: {self.kind}, {self.precision}, {manifest.max_tokens:,} tokens, "
            f"revision {manifest.revision}, {time.perf_counter() - self.started:.1f} s\nfiles: {sizes}\n"
            f"parity over {parity.prompts:,} prompts: {parity.max_difference:.2g} at most, "
            f"{parity.mean_difference:.2g} on average"
        )

    def _calibration(self, score: Score) -> CalibrationTable | None:
        if not self.own_prompts:
            return None
        with step(f"calibration on {len(self.own_prompts)} prompts"):
            rates = score(self.own_prompts).strong_win_rates
        quantiles = np.quantile(np.asarray(rates, np.float64), np.linspace(0, 1, QUANTILE_LEVELS))
        return CalibrationTable("prompts given at export", len(rates), tuple(quantiles.tolist()))


def load_source(kind: Any, checkpoint: Checkpoint, **options: Any) -> Any:
    """The source model in float32, as the transformers class `kind` (one of its AutoModels) loads it.

    Raises:
        UsageError: transformers cannot load it.
    """
    import torch

    progress: Any = import_module("transformers.utils.logging")
    progress.disable_progress_bar()
    try:
        model = kind.from_pretrained(
            str(checkpoint.folder),
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{checkpoint.folder}: transformers cannot load the source model: {error}") from error
    return model.eval()


def add_prompts_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--prompts` to an exporter's options."""
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="F",
        help="some of your prompts (JSON lines, CSV, Parquet or one a line): they join the parity proof, and give the "
        "calibration table that strong_share needs",
    )


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say on a terminal what is being done, and how long it took."""
    from tqdm import tqdm

    with tqdm(total=1, desc=what, bar_format="{desc}: {elapsed}", disable=None) as bar:
        yield
        bar.update()
