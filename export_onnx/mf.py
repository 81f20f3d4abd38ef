"""`export-onnx mf`: RouteLLM's matrix factorization checkpoint to an artifact.

The checkpoint has a vector a model (`P.weight`), a projection of the prompt's embedding (`text_proj.0.weight`) and a
classifier of their product (`classifier.0.weight`). Everything before the sigmoid is linear in the embedding, so each
model becomes one vector of the embedding's length, and the win rate the sigmoid of the embedding's dot product with the
difference of two of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort

from export_onnx.checkpoint import open_checkpoint
from export_onnx.graph import FLOAT, INT64, GraphWriter
from export_onnx.mf_checkpoint import Float32, Weights, model_ids, read_weights
from export_onnx.parity import Parity, prove
from export_onnx.quantize import Precision, fits_float16, precision_of
from routing_service.artifacts.loading import Artifact
from routing_service.artifacts.manifest import CalibrationTable, Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session
from routing_service.artifacts.writing import new_artifact
from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.errors import UsageError, unknown_name
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.routers.mf import DIRECTION, GRAPH, RATE, SELF_TEST, MatrixFactorizationRouter

# RouteLLM's, which its checkpoints don't name.
EMBEDDING_MODEL = "text-embedding-3-small"
PROOF_VECTORS = 64
PROOF_PAIRS = 32
SELF_TEST_VECTORS = 8
SELF_TEST_TOLERANCE = 1e-4
QUANTILE_LEVELS = 101


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options beside those of every export."""
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FILE",
        help="JSON list of the checkpoint's model ids in the order of their rows (default: `model_ids` of its "
        "config.json, else RouteLLM's 64)",
    )
    parser.add_argument(
        "--embedding-model",
        metavar="NAME",
        help=f"the model whose embeddings it was trained on (default: config.json's, else {EMBEDDING_MODEL})",
    )
    parser.add_argument(
        "--embeddings",
        type=Path,
        metavar="FILE",
        help="embeddings of some of your prompts, .npy of shape (prompts, dimension): they join the parity proof, and "
        "give the calibration table that strong_share needs",
    )


def run(options: argparse.Namespace) -> str:
    """Export a checkpoint and give the closing report.

    Raises:
        UsageError: the checkpoint or an option is wrong, or the artifact's win rates are not the checkpoint's.
    """
    start = time.perf_counter()
    checkpoint = open_checkpoint(str(options.checkpoint))
    weights = read_weights(checkpoint)
    ids = model_ids(checkpoint, options.models, len(weights.models))
    pair = _pair(options, ids)
    rows = ids.index(pair.strong), ids.index(pair.weak)
    precision = precision_of(options.quantize)
    sample = None if options.embeddings is None else read_embeddings(options.embeddings, weights.dimension)
    embedding_model = str(options.embedding_model or checkpoint.config.get("embedding_model") or EMBEDDING_MODEL)
    proof = proof_vectors(weights, sample)
    with new_artifact(Path(options.output), _serve_once) as draft:
        folder = draft.folder
        files = write_graph(folder / GRAPH, weights.directions(), precision)
        session = open_session(folder / GRAPH, SessionConfig())
        parity = _prove(weights, session, proof, rows, precision)
        np.save(folder / SELF_TEST, proof[:SELF_TEST_VECTORS])
        recorded = exported_win_rates(session, proof[:SELF_TEST_VECTORS], *rows).tolist()
        vectors = tuple(SelfTestVector(f"row {row} of {SELF_TEST}", rate) for row, rate in enumerate(recorded))
        manifest = draft.write_manifest(
            Manifest(
                type="mf",
                models=pair,
                max_tokens=0,  # it reads vectors; tokens are the embedder's matter
                files={name: file_entry(folder / name) for name in (*files, SELF_TEST)},
                license="NOASSERTION",  # SPDX for not known: no file of a checkpoint says
                self_test=SelfTest(SELF_TEST_TOLERANCE, vectors),
                calibration=None if sample is None else _calibration(exported_win_rates(session, sample, *rows)),
                options={"model_ids": ids, "dimension": weights.dimension, "embedding_model": embedding_model},
                provenance={
                    **checkpoint.provenance(),
                    "precision": precision,
                    "parity": parity.as_dict(),
                    "libraries": {name: version(name) for name in ("numpy", "onnx", "onnxruntime", "safetensors")},
                },
            )
        )
    size = sum(entry.bytes for entry in manifest.files.values())
    return (
        f"{options.output}: mf, {precision}, {len(ids)} models, embeddings of length {weights.dimension} by "
        f"{embedding_model}; {size / 1e6:.2f} MB in {time.perf_counter() - start:.1f} s; revision {manifest.revision}\n"
        f"parity over {parity.prompts:,} win rates: {parity.max_difference:.2g} at most, "
        f"{parity.mean_difference:.2g} on average"
    )


def write_graph(path: Path, directions: Float32, precision: Precision) -> list[str]:
    """Write the graph.

    It reads `embedding`, float32 (prompts, dimension), and the rows `strong_id` and `weak_id`, int64 scalars, and gives
    `strong_win_rate`, float32 (prompts,), and the pair's `direction`, float32 (dimension,). Sums are in float32
    whatever the precision, which says how the table of directions is stored.

    Returns:
        The names of the files written.
    """
    if precision == "fp16" and not fits_float16(directions):
        raise UsageError("the checkpoint holds values beyond float16's range; export without --quantize fp16")
    graph = GraphWriter(path, precision)
    strong, weak = (
        graph.cast(graph.embedding(row, "directions", directions), FLOAT) for row in ("strong_id", "weak_id")
    )
    direction = graph.op("Sub", strong, weak, name=DIRECTION)
    graph.op("Sigmoid", graph.op("MatMul", "embedding", direction), name=RATE)
    dimension, scalar = directions.shape[1], (INT64, ())
    return graph.finish(
        {"embedding": (FLOAT, ("prompts", dimension)), "strong_id": scalar, "weak_id": scalar},
        {RATE: (FLOAT, ("prompts",)), DIRECTION: (FLOAT, (dimension,))},
    )


def exported_win_rates(session: ort.InferenceSession, vectors: Float32, strong: int, weak: int) -> Float32:
    """The win rates that an exported graph gives for vectors and the rows of two models."""
    feeds = {"embedding": vectors, "strong_id": np.array(strong), "weak_id": np.array(weak)}
    rates: Float32 = session.run((RATE,), feeds)[0]
    return rates


def read_embeddings(path: Path, dimension: int) -> Float32:
    """A sample of embeddings, float32 of shape (prompts, dimension).

    Raises:
        UsageError: the file is no such array, or holds NaN or infinity.
    """
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--embeddings {path}: is not a NumPy array file: {error}") from error
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f" or vectors.ndim != 2 or not len(vectors):
        raise UsageError(f"--embeddings {path}: must hold floats of shape (prompts, {dimension})")
    if vectors.shape[1] != dimension:
        raise UsageError(
            f"--embeddings {path}: has vectors of length {vectors.shape[1]}; this checkpoint needs {dimension}"
        )
    vectors = vectors.astype(np.float32)
    if not np.isfinite(vectors).all():
        raise UsageError(f"--embeddings {path}: holds NaN or infinity")
    return vectors


def proof_vectors(weights: Weights, sample: Float32 | None) -> Float32:
    """Unit vectors to prove parity on: chance ones, those that move the logits most, and the caller's own."""
    drawn = np.random.default_rng(0).standard_normal((PROOF_VECTORS, weights.dimension))
    most = drawn[:0] if weights.projection is None else weights.projection[:PROOF_VECTORS]
    vectors = np.concatenate([drawn, most])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found: Float32 = vectors.astype(np.float32)
    return found if sample is None else np.concatenate([found, sample])


class _NoEmbedder(Embedder):
    """Stands in where an artifact is loaded only for its self-test."""

    @classmethod
    def build(cls, context: EmbedderContext) -> Self:
        raise NotImplementedError(context.name)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        raise NotImplementedError(f"{len(texts)} texts")


def _serve_once(artifact: Artifact) -> None:
    MatrixFactorizationRouter(artifact, _NoEmbedder(dimension=None))


def _pair(options: argparse.Namespace, ids: Sequence[str]) -> ModelPair:
    pair = ROUTELLM_PAIR.with_options(options.strong_model, options.weak_model)
    for side, name in asdict(pair).items():
        if name not in ids:
            raise UsageError(f"--{side}-model: {unknown_name('model of this checkpoint', name, ids)}")
    return pair


def _prove(
    weights: Weights, session: ort.InferenceSession, vectors: Float32, rows: tuple[int, int], precision: Precision
) -> Parity:
    """Compare over the artifact's own pair and others by chance."""
    others = np.random.default_rng(1).integers(len(weights.models), size=(PROOF_PAIRS, 2))
    pairs = [rows, *((int(strong), int(weak)) for strong, weak in others)]
    source = np.concatenate([weights.win_rates(vectors, *pair) for pair in pairs])
    exported = np.concatenate([exported_win_rates(session, vectors, *pair) for pair in pairs])
    return prove(source, exported, precision)


def _calibration(rates: Float32) -> CalibrationTable:
    levels = np.quantile(rates.astype(np.float64), np.linspace(0.0, 1.0, QUANTILE_LEVELS))
    return CalibrationTable(
        "the embeddings given at export", len(rates), tuple(round(float(level), 6) for level in levels)
    )
