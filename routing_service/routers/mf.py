"""`mf`: RouteLLM's matrix factorization router (arXiv 2406.18665, section 4.2).

A prompt's vector e is projected, multiplied by a model's normalized vector and classified into one logit; the win rate
is sigmoid(logit_strong - logit_weak). Everything before the sigmoid is linear in e, so the difference is a dot product
of e with a direction that depends on the pair alone. The graph gives that direction once for a pair; a prompt then
costs a few microseconds more than its embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.manifest import MANIFEST_NAME
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session, session_io
from routing_service.artifacts.settings import read_settings
from routing_service.artifacts.vectors import MAX_DIMENSION
from routing_service.embedders.base import Embedder
from routing_service.embedders.onnx import ARTIFACT_TYPE as ENCODER_TYPE
from routing_service.embedders.onnx import OnnxEmbedder
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair
from routing_service.routers.base import RouterContext
from routing_service.routers.embedding import EmbeddingRouter, Vectors, WinRates, self_test_vectors

GRAPH, SELF_TEST = "model.onnx", "self_test_embeddings.npy"
# The folder of the encoder's artifact in an artifact from `train mf`.
ENCODER = "encoder"
INPUTS = {"embedding": "tensor(float)", "strong_id": "tensor(int64)", "weak_id": "tensor(int64)"}
RATE, DIRECTION = "strong_win_rate", "direction"
# The most cached directions, one vector each. For more pairs the graph is asked again.
PAIRS_READY = 256


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
    """The `options` in an `mf` artifact's manifest.

    `model_ids` are the models in the order of the graph's rows, `dimension` the length of a prompt's vector, and
    `embedding_model` the model of the vectors that it was trained on.
    """

    model_ids: tuple[str, ...]
    dimension: int
    embedding_model: str

    def __post_init__(self) -> None:
        if not self.model_ids or len(set(self.model_ids)) < len(self.model_ids):
            raise ValueError("model_ids must be different names, at least one")
        if not 1 <= self.dimension <= MAX_DIMENSION:
            raise ValueError(f"dimension must be from 1 to {MAX_DIMENSION:,}")


class MatrixFactorizationRouter(EmbeddingRouter):
    """Serves an `mf` artifact. Any two of its model ids can be the pair of a request.

    Args:
        artifact: the verified folder.
        embedder: makes the vectors, of the artifact's dimension.
        models: the names to answer with; None for the artifact's own.

    Raises:
        ArtifactError: the artifact is of another kind, or does not return its self-test's win rates.
    """

    type: ClassVar[str] = "mf"
    options = MatrixFactorizationOptions

    def __init__(self, artifact: Artifact, embedder: Embedder, models: ModelPair | None = None) -> None:
        settings = read_settings(artifact, MatrixFactorizationSettings)
        if unknown := [name for name in artifact.models if name not in settings.model_ids]:
            raise ArtifactError(
                artifact.folder / MANIFEST_NAME, f"has the model {unknown[0]!r}, which is not in its model_ids"
            )
        super().__init__(
            artifact,
            embedder,
            models,
            known=settings.model_ids,
            dimension=settings.dimension,
            embedding_model=settings.embedding_model,
        )
        self._rows = {name: row for row, name in enumerate(settings.model_ids)}
        graph = artifact.file(GRAPH)
        self._session = open_session(graph, SessionConfig())
        inputs, outputs = session_io(self._session)
        if inputs != INPUTS or set(outputs) != {RATE, DIRECTION}:
            raise ArtifactError(graph, f"has inputs {inputs}; an mf graph has {INPUTS}")
        self._direction = lru_cache(PAIRS_READY)(self._ask_direction)
        self._self_test(artifact)

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Open the configured artifact, and find the configured embedder, or else the one in the artifact."""
        options = context.options(MatrixFactorizationOptions)
        if options.embedder is None:
            artifact = open_artifact(options.artifact, cls.type)
            if not has_encoder(artifact):
                problem = "is needed, because the artifact has no encoder in it; name one of `embedders`"
                raise context.section.error(problem, "embedder")
            return cls(artifact, bundled_embedder(artifact), context.models)
        embedder = context.embedder(options.embedder)
        router = cls(open_artifact(options.artifact, cls.type), embedder, context.models)
        router.check_embedder(context, options.embedder)
        return router

    def win_rates(self, vectors: Vectors, models: ModelPair) -> WinRates:
        """The strong win rates, in 0..1, of vectors of shape (prompts, dimension)."""
        # Row by row: in a matrix product the order of sums depends on the number of rows.
        differences = np.vecdot(vectors, self._direction(*self._row_pair(models)))
        # sigmoid(x) = (1 + tanh(x / 2)) / 2, which cannot overflow.
        rates: WinRates = 0.5 * (1.0 + np.tanh(0.5 * differences.astype(np.float64)))
        return rates

    def _row_pair(self, models: ModelPair) -> tuple[int, int]:
        strong, weak = self.scored_as(models)
        return self._rows[strong], self._rows[weak]

    def _ask_direction(self, strong: int, weak: int) -> Vectors:
        vectors = np.zeros((1, self.dimension), np.float32)
        direction: Vectors = self._session.run((DIRECTION,), _feeds(vectors, strong, weak))[0]
        return direction

    def _self_test(self, artifact: Artifact) -> None:
        """Check the recorded win rates, by the graph and by its direction; and that there is a row for every model."""
        own, last = artifact.models, len(self._rows) - 1
        rows = self._row_pair(own)
        self_test_vectors(
            artifact, SELF_TEST, self.dimension, lambda vectors: self._session.run((RATE,), _feeds(vectors, *rows))[0]
        )
        self_test_vectors(artifact, SELF_TEST, self.dimension, lambda vectors: self.win_rates(vectors, own))
        try:
            self._direction(last, last)
        except Exception as error:
            raise ArtifactError(artifact.file(GRAPH), f"cannot be run: {error}") from error


def has_encoder(artifact: Artifact) -> bool:
    """Whether an `mf` artifact contains the encoder for its vectors."""
    return f"{ENCODER}/{MANIFEST_NAME}" in artifact.manifest.files


def bundled_embedder(artifact: Artifact) -> Embedder:
    """The encoder in an `mf` artifact. Its manifest and self-test are checked like those of any encoder.

    Raises:
        ArtifactError: it cannot be trusted, or its vectors have another length than the artifact needs.
    """
    embedder = OnnxEmbedder(open_artifact(artifact.folder / ENCODER, ENCODER_TYPE))
    settings = read_settings(artifact, MatrixFactorizationSettings)
    if embedder.dimension != settings.dimension:
        problem = f"makes vectors of length {embedder.dimension}, but the artifact around it needs {settings.dimension}"
        raise ArtifactError(artifact.folder / ENCODER, problem)
    return embedder


def _feeds(vectors: Vectors, strong: int, weak: int) -> dict[str, npt.NDArray[Any]]:
    return {"embedding": vectors, "strong_id": np.array(strong, np.int64), "weak_id": np.array(weak, np.int64)}
