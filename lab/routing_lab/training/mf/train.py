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
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import numpy as np

from export_onnx.mf import exported_win_rates, write_graph
from export_onnx.parity import prove
from routing_lab.progress import Progress, terminal_progress
from routing_lab.training.embeddings import load_embeddings
from routing_lab.training.mf.battle_set import BattleSet, read_battle_set
from routing_lab.training.mf.encoder import copy_encoder, embed, write_word_vector_encoder
from routing_lab.training.mf.fit import Fit, best_slope, epochs_done, fit
from routing_lab.training.mf.model import Float32, logit_differences
from routing_lab.training.mf.report import MatrixFactorizationReport, calibration_table, validation_metrics
from routing_lab.training.mf.request import MatrixFactorizationRequest
from routing_lab.training.self_test import SELF_TEST_PROMPTS
from routing_lab.training.work import Work
from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.manifest import CalibrationTable, Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session
from routing_service.artifacts.writing import new_artifact
from routing_service.embedders.onnx import ARTIFACT_TYPE
from routing_service.routers.mf import ENCODER, GRAPH, SELF_TEST, MatrixFactorizationRouter, bundled_embedder

EMBEDDINGS = "embeddings.safetensors"
SELF_TEST_TOLERANCE = 1e-4
PACKAGES = ("numpy", "onnx", "onnxruntime", "safetensors", "tokenizers")


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


def train(
    request: MatrixFactorizationRequest,
    *,
    progress: Progress = terminal_progress,
    notice: Callable[[str], object] = _to_stderr,
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
    request.check()
    battles = read_battle_set(request)
    with _encoder(request) as encoder:
        asked = {
            "type": "mf",
            "version": metadata.version("routing-service"),
            **request.settings(),
            "models": asdict(battles.pair),
            "encoder": encoder.manifest.revision,
            **battles.provenance(),
        }
        work = Work(request.work_folder, asked, restart=request.restart)
        resumed = epochs_done(work)
        if resumed:
            notice(f"{work.folder}: an interrupted training goes on after epoch {resumed}")
        vectors = _embed(encoder, battles.prompts, work, keep=request.encoder is not None)
        with progress("training", request.epochs) as step:
            fitted = fit(
                vectors,
                battles.training,
                battles.validation,
                len(battles.models),
                request,
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
def _encoder(request: MatrixFactorizationRequest) -> Iterator[Artifact]:
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
    request: MatrixFactorizationRequest,
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
            "command": request.command(embeddings=None),
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
