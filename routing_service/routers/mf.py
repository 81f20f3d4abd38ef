"""`mf`: RouteLLM's matrix factorization router (arXiv 2406.18665, section 4.2).

A prompt's vector e is projected, multiplied by a model's normalised vector and classified into one logit; the win rate
is sigmoid(logit_strong - logit_weak). All of it before the sigmoid is linear in e, so the difference is one dot product
of e with a direction that depends on the pair alone. The graph gives that direction once a pair; a prompt then costs a
few microseconds beyond its embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter_ns
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import structlog

from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.manifest import MANIFEST_NAME
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session, session_io
from routing_service.artifacts.settings import read_settings
from routing_service.artifacts.vectors import read_vectors
from routing_service.embedders.base import Embedder
from routing_service.embedders.onnx import ARTIFACT_TYPE as ENCODER_TYPE
from routing_service.embedders.onnx import OnnxEmbedder
from routing_service.errors import ArtifactError, DecisionError, Reason, nearest
from routing_service.models import ModelPair
from routing_service.routers.base import Router, RouterContext, Scores

log = structlog.get_logger(__name__)

GRAPH, SELF_TEST = "model.onnx", "self_test_embeddings.npy"
# Where an artifact that `train mf` made has an encoder's artifact, in a folder of its own.
ENCODER = "encoder"
INPUTS = {"embedding": "tensor(float)", "strong_id": "tensor(int64)", "weak_id": "tensor(int64)"}
RATE, DIRECTION = "strong_win_rate", "direction"
# Directions kept ready, one vector each. Beyond so many pairs in use, the graph is asked again.
PAIRS_READY = 256
DEFAULT_RETRY_SECONDS = 1.0

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFactorizationOptions:
    """An `mf` router: matrix factorization. It runs on the CPU only.

    Example:
        routers:
          mf: {type: mf, artifact: artifacts/mf, embedder: openai}
        embedders:
          openai: {type: openai, model: text-embedding-3-small, api_key_env: OPENAI_API_KEY}
    """

    artifact: Path
    """The artifact's folder, made by `train mf` or `export-onnx mf`."""
    embedder: str | None = None
    """The embedder for the prompts. It must use the embedding model that the artifact was trained with. By default the
    encoder in the artifact's folder `encoder`, on one core; for other settings, configure that folder as an `onnx`
    embedder."""


@dataclass(frozen=True, slots=True)
class MatrixFactorizationSettings:
    """What an `mf` artifact's manifest says in `options`.

    `model_ids` are the models in the order of the graph's rows, `dimension` the length of a prompt's vector, and
    `embedding_model` the model that made the vectors that it was trained on.
    """

    model_ids: tuple[str, ...]
    dimension: int
    embedding_model: str

    def __post_init__(self) -> None:
        if not self.model_ids or len(set(self.model_ids)) < len(self.model_ids):
            raise ValueError("model_ids must be different names, at least one")
        if self.dimension < 1:
            raise ValueError("dimension must be 1 or more")


class MatrixFactorizationRouter(Router):
    """Serves an `mf` artifact. Any two of its model ids can be the pair of a request.

    A configured name that is no model id stands for the artifact's own strong or weak model.

    Args:
        artifact: the verified folder.
        embedder: makes the vectors, of the artifact's dimension.
        models: the names to answer with; None for the artifact's own.

    Raises:
        ArtifactError: the artifact is of another kind, or does not return its own self-test's win rates.
    """

    type: ClassVar[str] = "mf"

    def __init__(self, artifact: Artifact, embedder: Embedder, models: ModelPair | None = None) -> None:
        manifest = artifact.manifest
        own = artifact.models
        settings = read_settings(artifact, MatrixFactorizationSettings)
        if unknown := [name for name in own if name not in settings.model_ids]:
            raise ArtifactError(
                artifact.folder / MANIFEST_NAME, f"has the model {unknown[0]!r}, which is not in its model_ids"
            )
        models = models or own
        self._rows = {name: row for row, name in enumerate(settings.model_ids)}
        self._strong_rows = _with_alias(self._rows, models.strong, own.strong)
        self._weak_rows = _with_alias(self._rows, models.weak, own.weak)
        scored_as_own = self._row_pair(models) == self._row_pair(own)
        super().__init__(
            models=models,
            revision=manifest.revision,
            max_tokens=embedder.max_tokens,
            # The table was made with the artifact's own pair; another pair's scores are distributed differently.
            calibration=manifest.calibration if scored_as_own else None,
        )
        self.concurrency = embedder.concurrency
        self.dimension = settings.dimension
        self._embedder = embedder
        self._strong_names, self._weak_names = frozenset(self._strong_rows), frozenset(self._weak_rows)
        self._session = open_session(artifact.file(GRAPH), SessionConfig())
        inputs, outputs = session_io(self._session)
        if inputs != INPUTS or set(outputs) != {RATE, DIRECTION}:
            raise ArtifactError(artifact.file(GRAPH), f"has inputs {inputs}; an mf graph has {INPUTS}")
        self._direction = lru_cache(PAIRS_READY)(self._ask_direction)
        self._check(artifact, own)
        if embedder.model not in (None, settings.embedding_model):
            log.warning("embedding_model_differs", trained_with=settings.embedding_model, embedder=embedder.model)

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Open the configured artifact, and find the embedder that is configured or else in the artifact."""
        options = context.options(MatrixFactorizationOptions)
        if options.embedder is None:
            artifact = open_artifact(options.artifact, cls.type)
            if not has_encoder(artifact):
                problem = "is needed, because the artifact has no encoder in it; name one of `embedders`"
                raise context.section.error(problem, "embedder")
            return cls(artifact, bundled_embedder(artifact), context.models)
        embedder = context.embedder(options.embedder)
        router = cls(open_artifact(options.artifact, cls.type), embedder, context.models)
        if embedder.dimension not in (None, router.dimension):
            problem = f"its vectors have length {embedder.dimension}, but the artifact needs {router.dimension}"
            raise context.section.error(f"{options.embedder!r} does not fit: {problem}", "embedder")
        return router

    @property
    def strong_names(self) -> frozenset[str]:
        """Every model id, and the configured name."""
        return self._strong_names

    @property
    def weak_names(self) -> frozenset[str]:
        """Every model id, and the configured name."""
        return self._weak_names

    def scores_alike(self, one: ModelPair, other: ModelPair) -> bool:
        """Whether both pairs are the same two models of the artifact."""
        pairs = (one, other)
        known = all(pair.strong in self._strong_rows and pair.weak in self._weak_rows for pair in pairs)
        return known and self._row_pair(one) == self._row_pair(other)

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:
        """Embed prompts and score them. `inference_us` holds both."""
        start = perf_counter_ns()
        embeddings = self._embedder.embed(texts)
        if embeddings.vectors.shape != (len(texts), self.dimension):
            raise self._misfit(embeddings.vectors.shape)
        rates = self.win_rates(embeddings.vectors, models)
        return Scores(
            rates.tolist(),
            embeddings.tokens,
            embeddings.truncated,
            inference_us=(perf_counter_ns() - start) / 1e3,
            errors=embeddings.errors,
        )

    def win_rates(self, vectors: Vectors, models: ModelPair) -> npt.NDArray[np.float64]:
        """The strong win rates, in 0..1, of vectors of shape (prompts, dimension)."""
        # Row by row, unlike a matrix product, whose order of sums depends on the number of rows.
        differences = np.vecdot(vectors, self._direction(*self._row_pair(models)))
        # sigmoid(x) = (1 + tanh(x / 2)) / 2, which cannot overflow.
        rates: npt.NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * differences.astype(np.float64)))
        return rates

    def _row_pair(self, models: ModelPair) -> tuple[int, int]:
        return self._strong_rows[models.strong], self._weak_rows[models.weak]

    def _ask_direction(self, strong: int, weak: int) -> Vectors:
        vectors = np.zeros((1, self.dimension), np.float32)
        direction: Vectors = self._session.run((DIRECTION,), _feeds(vectors, strong, weak))[0]
        return direction

    def _misfit(self, shape: tuple[int, ...]) -> DecisionError:
        log.error("embedding_dimension_differs", wanted=self.dimension, got=shape[-1])
        return DecisionError(
            Reason.EMBEDDER_UNAVAILABLE,
            f"The embedder's vectors have length {shape[-1]}, but the router needs {self.dimension}; "
            "configure the embedding model that the router was trained with.",
            metadata={"cause": "wrong_dimension"},
            retry_seconds=DEFAULT_RETRY_SECONDS,
        )

    def _check(self, artifact: Artifact, own: ModelPair) -> None:
        """The self-test: the recorded win rates of stored vectors, by the graph, one by one and as a batch."""
        test = artifact.manifest.self_test
        vectors = read_vectors(artifact.file(SELF_TEST), len(test.vectors), self.dimension)
        wanted = np.array([vector.strong_win_rate for vector in test.vectors])
        try:
            last = len(self._rows) - 1
            self._direction(last, last)  # the table has a row for every model id
            by_graph = self._session.run((RATE,), _feeds(vectors, *self._row_pair(own)))[0]
            single = np.concatenate([self.win_rates(vector[np.newaxis], own) for vector in vectors])
            batch = self.win_rates(vectors, own)
        except Exception as error:
            raise ArtifactError(artifact.file(GRAPH), f"cannot be run: {error}") from error
        for rates in (by_graph, single, batch):
            # A comparison with NaN is false, so that NaN fails.
            if rates.shape != wanted.shape or not (np.abs(rates - wanted) <= test.tolerance).all():
                raise ArtifactError(
                    artifact.folder,
                    f"fails its self-test: it gives {rates.tolist()}, not {wanted.tolist()} (tolerance "
                    f"{test.tolerance}); this machine or ONNX Runtime computes it differently",
                )


def has_encoder(artifact: Artifact) -> bool:
    """Whether an `mf` artifact has the encoder in it that makes its vectors."""
    return f"{ENCODER}/{MANIFEST_NAME}" in artifact.manifest.files


def bundled_embedder(artifact: Artifact) -> Embedder:
    """The encoder that is in an `mf` artifact. Its own manifest and self-test are checked as any encoder's.

    Raises:
        ArtifactError: it cannot be trusted, or gives vectors of another length than the artifact reads.
    """
    embedder = OnnxEmbedder(open_artifact(artifact.folder / ENCODER, ENCODER_TYPE))
    settings = read_settings(artifact, MatrixFactorizationSettings)
    if embedder.dimension != settings.dimension:
        problem = f"makes vectors of length {embedder.dimension}, but the artifact around it needs {settings.dimension}"
        raise ArtifactError(artifact.folder / ENCODER, problem)
    return embedder


def _feeds(vectors: Vectors, strong: int, weak: int) -> dict[str, npt.NDArray[Any]]:
    return {"embedding": vectors, "strong_id": np.array(strong, np.int64), "weak_id": np.array(weak, np.int64)}


def _with_alias(rows: dict[str, int], configured: str, own: str) -> dict[str, int]:
    if configured in rows:
        return rows
    log.info("model_name_stands_for", name=configured, model_id=own, nearest_id=nearest(configured, rows))
    return {**rows, configured: rows[own]}
