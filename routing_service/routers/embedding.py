"""Shared by `mf` and `sw_ranking`: an embedder, names for any two of the artifact's models, and stored vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from time import perf_counter_ns
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import structlog

from routing_service.artifacts.loading import Artifact, self_test
from routing_service.artifacts.vectors import read_vectors
from routing_service.embedders.base import Embedder
from routing_service.errors import DecisionError, Reason, nearest
from routing_service.models import ModelPair
from routing_service.routers.base import Router, RouterContext, Scores

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0

Vectors = npt.NDArray[np.float32]
WinRates = npt.NDArray[np.float64]


class EmbeddingRouter(Router):
    """Scores prompts by their vectors, for any two of an artifact's models.

    Another configured name means the artifact's own strong or weak model. A subclass has `type`,
    `options`, `build` and `win_rates`.

    Args:
        artifact: the verified folder.
        embedder: makes the vectors.
        models: the names to answer with; None for the artifact's own.
        known: the artifact's models, its own pair among them.
        dimension: the length of a vector.
        embedding_model: the model of the vectors that the artifact was made from.
        revision: None for the artifact's.
    """

    irrelevant_keys: ClassVar[frozenset[str]] = frozenset(("artifact", "embedder"))

    def __init__(
        self,
        artifact: Artifact,
        embedder: Embedder,
        models: ModelPair | None,
        *,
        known: Collection[str],
        dimension: int,
        embedding_model: str,
        revision: str | None = None,
    ) -> None:
        own, manifest = artifact.models, artifact.manifest
        models = models or own
        self._strong = _with_alias(known, models.strong, own.strong)
        self._weak = _with_alias(known, models.weak, own.weak)
        self._strong_names, self._weak_names = frozenset(self._strong), frozenset(self._weak)
        super().__init__(
            models=models,
            revision=revision or manifest.revision,
            max_tokens=embedder.max_tokens,
            # The table is for the artifact's own pair; another pair's scores are distributed differently.
            calibration=manifest.calibration if self.scored_as(models) == (own.strong, own.weak) else None,
            manifest=manifest,
        )
        self.concurrency = embedder.concurrency
        self.dimension = dimension
        self._embedder = embedder
        if embedder.model not in (None, embedding_model):
            log.warning("embedding_model_differs", trained_with=embedding_model, embedder=embedder.model)

    @property
    def strong_names(self) -> frozenset[str]:
        """Every model of the artifact, and the configured name."""
        return self._strong_names

    @property
    def weak_names(self) -> frozenset[str]:
        """Every model of the artifact, and the configured name."""
        return self._weak_names

    def scored_as(self, models: ModelPair) -> tuple[str, str]:
        """The artifact's models for a request's pair; both may be the same, because a name may be an alias.

        Raises:
            KeyError: a name is not known.
        """
        return self._strong[models.strong], self._weak[models.weak]

    def scores_alike(self, one: ModelPair, other: ModelPair) -> bool:
        """Whether both pairs are the same two models of the artifact."""
        known = all(pair.strong in self._strong and pair.weak in self._weak for pair in (one, other))
        return known and self.scored_as(one) == self.scored_as(other)

    def check_embedder(self, context: RouterContext, name: str) -> None:
        """Refuse the embedder, named `name` in the configuration, if its vectors have another length.

        Raises:
            ConfigError: they have.
        """
        if self._embedder.dimension not in (None, self.dimension):
            problem = f"its vectors have length {self._embedder.dimension}, but the artifact needs {self.dimension}"
            raise context.section.error(f"{name!r} does not fit: {problem}", "embedder")

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:
        """Embed prompts and score them. `inference_us` includes both."""
        start = perf_counter_ns()
        embeddings = self._embedder.embed(texts)
        vectors = embeddings.vectors
        self._check_shape(vectors, len(texts))
        finite = np.isfinite(vectors).all(axis=1)
        if finite.all():
            rates = self.win_rates(vectors, models)
        else:
            rates = np.full(len(texts), np.nan)
            if finite.any():
                rates[finite] = self.win_rates(vectors[finite], models)
        return Scores(
            rates.tolist(),
            embeddings.tokens,
            embeddings.truncated,
            inference_us=(perf_counter_ns() - start) / 1e3,
            errors={**{int(place): _not_finite() for place in np.flatnonzero(~finite)}, **embeddings.errors},
        )

    @abstractmethod
    def win_rates(self, vectors: Vectors, models: ModelPair) -> WinRates:
        """The strong win rates, (prompts,) in 0..1, of finite vectors of shape (prompts, dimension)."""

    def _check_shape(self, vectors: Vectors, texts: int) -> None:
        if vectors.shape != (texts, self.dimension):
            log.error("embedding_dimension_differs", wanted=self.dimension, got=vectors.shape[-1])
            problem = f"The embedder's vectors have length {vectors.shape[-1]}, but the router needs {self.dimension}"
            advice = "configure the embedding model that the router was made with"
            raise _unavailable(f"{problem}; {advice}.", "wrong_dimension")


class _StoredVectors:
    """Scores stored vectors by name."""

    models = None

    def __init__(self, rows: dict[str, Vectors], win_rates: Callable[[Vectors], npt.NDArray[Any]]) -> None:
        self._rows, self._win_rates = rows, win_rates

    def score(self, texts: Sequence[str], models: None) -> Scores:  # noqa: ARG002 - the win rates are for one pair
        vectors = np.stack([self._rows[name] for name in texts])
        return Scores(self._win_rates(vectors).tolist(), None, [False] * len(texts))


def self_test_vectors(
    artifact: Artifact, file: str, dimension: int, win_rates: Callable[[Vectors], npt.NDArray[Any]]
) -> None:
    """The self-test of an artifact with stored vectors: its prompts name the rows of the file.

    Args:
        artifact: the verified folder.
        file: its file of vectors, float32 of shape (self-test prompts, dimension).
        dimension: the length of a vector.
        win_rates: from vectors to win rates, for the artifact's own pair.

    Raises:
        ArtifactError: the file is not such an array, or a recorded win rate is not reproduced.
    """
    test = artifact.manifest.self_test
    vectors = read_vectors(artifact.file(file), len(test.vectors), dimension)
    rows = {vector.prompt: row for vector, row in zip(test.vectors, vectors, strict=True)}
    self_test(_StoredVectors(rows, win_rates), artifact)


def _not_finite() -> DecisionError:
    return _unavailable("The embedder's vector holds NaN or infinity; try again later.", "not_finite")


def _unavailable(message: str, cause: str) -> DecisionError:
    return DecisionError(Reason.EMBEDDER_UNAVAILABLE, message, metadata={"cause": cause}, retry_seconds=RETRY_SECONDS)


def _with_alias(known: Collection[str], configured: str, own: str) -> dict[str, str]:
    """The artifact's model for each name."""
    names = {name: name for name in known}
    if configured not in names:
        log.info("model_name_stands_for", name=configured, model_id=own, nearest_id=nearest(configured, known))
        names[configured] = own
    return names
