"""`sw_ranking`: RouteLLM's similarity-weighted ranking (arXiv 2406.18665, section 4.2).

The win rate is a Bradley-Terry one, from battles between models weighted by how like their prompts are to this one.
Models share ratings by tier. See `tier_ranking` for how, and `export_onnx.sw_ranking` for making an artifact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import ClassVar, Self

import numpy as np
import structlog

from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.embedders.base import Embedder
from routing_service.errors import DecisionError, Reason, nearest
from routing_service.models import ModelPair
from routing_service.routers.base import Router, RouterContext, Scores
from routing_service.routers.sw_ranking.tier_ranking import Solver, TierRanker, Vectors

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityWeightedOptions(SessionConfig):
    """An `sw_ranking` router: Elo-like ratings from the battles whose prompts are similar.

    Example:
        routers:
          sw: {type: sw_ranking, artifact: artifacts/sw_ranking, embedder: openai}
        embedders:
          openai: {type: openai, model: text-embedding-3-small, api_key_env: OPENAI_API_KEY}
    """

    artifact: Path
    """The artifact's folder, made by `export-onnx sw_ranking`."""
    embedder: str
    """The embedder for the prompts. It must use the embedding model of the battles' vectors."""
    solver: Solver = "routellm"
    """`routellm` gives RouteLLM's ratings; its optimizer stops early. `newton` gives the exact maximum likelihood."""


class SimilarityWeightedRouter(Router):
    """Serves an `sw_ranking` artifact. Any two models of its battles can be the pair of a request.

    A configured name that no battle has stands for the artifact's own strong or weak model.

    Args:
        artifact: the verified folder.
        embedder: makes the vectors, of the artifact's dimension.
        models: the names to answer with; None for the artifact's own.
        session: how the graph is run.
        solver: how ratings are found; see `TierRanker`.

    Raises:
        ArtifactError: the artifact is of another kind, or does not return its own self-test's win rates.
    """

    type: ClassVar[str] = "sw_ranking"

    def __init__(
        self,
        artifact: Artifact,
        embedder: Embedder,
        models: ModelPair | None = None,
        session: SessionConfig | None = None,
        solver: Solver = "routellm",
    ) -> None:
        manifest = artifact.manifest
        self.ranker = TierRanker.open(artifact, session or SessionConfig(), solver)
        own, tiers = artifact.models, self.ranker.settings.model2tier
        models = models or own
        self._strong = _with_alias(tiers, models.strong, own.strong)
        self._weak = _with_alias(tiers, models.weak, own.weak)
        scored_as_own = self._known(models) == own
        super().__init__(
            models=models,
            revision=manifest.revision if solver == "routellm" else f"{manifest.revision}-{solver}",
            max_tokens=embedder.max_tokens,
            # A table of another pair's scores would be wrong for this one.
            calibration=manifest.calibration if scored_as_own else None,
        )
        self.concurrency = embedder.concurrency
        self._embedder = embedder
        embedding_model = self.ranker.settings.embedding_model
        if embedder.model not in (None, embedding_model):
            log.warning("embedding_model_differs", trained_with=embedding_model, embedder=embedder.model)

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Open the configured artifact and find its embedder."""
        options = context.options(SimilarityWeightedOptions)
        embedder = context.embedder(options.embedder)
        router = cls(open_artifact(options.artifact, cls.type), embedder, context.models, options, options.solver)
        dimension = router.ranker.settings.dimension
        if embedder.dimension not in (None, dimension):
            problem = f"its vectors have length {embedder.dimension}, but the artifact needs {dimension}"
            raise context.section.error(f"{options.embedder!r} does not fit: {problem}", "embedder")
        return router

    @property
    def strong_names(self) -> frozenset[str]:
        """Every model of the battles, and the configured name."""
        return frozenset(self._strong)

    @property
    def weak_names(self) -> frozenset[str]:
        """Every model of the battles, and the configured name."""
        return frozenset(self._weak)

    def scores_alike(self, one: ModelPair, other: ModelPair) -> bool:
        """Whether both pairs are the same two models of the battles."""
        known = all(pair.strong in self._strong and pair.weak in self._weak for pair in (one, other))
        return known and self._known(one) == self._known(other)

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:
        """Embed prompts and score them; `inference_us` holds both.

        What else is in a batch changes a score only in the last digits of its float32 sums.
        """
        start = perf_counter_ns()
        embeddings = self._embedder.embed(texts)
        self._check_shape(embeddings.vectors, len(texts))
        scored = np.isfinite(embeddings.vectors).all(axis=1)
        rates = np.full(len(texts), np.nan)
        if scored.any():
            rates[scored] = self.ranker.win_rates(embeddings.vectors[scored], self._known(models))
        return Scores(
            rates.tolist(),
            embeddings.tokens,
            embeddings.truncated,
            inference_us=(perf_counter_ns() - start) / 1e3,
            errors={**{int(place): _not_finite() for place in np.flatnonzero(~scored)}, **embeddings.errors},
        )

    def _known(self, models: ModelPair) -> ModelPair:
        """The models of the battles that a request's pair stands for."""
        return ModelPair(self._strong[models.strong], self._weak[models.weak])

    def _check_shape(self, vectors: Vectors, texts: int) -> None:
        wanted = (texts, self.ranker.settings.dimension)
        if vectors.shape != wanted:
            log.error("embedding_dimension_differs", wanted=wanted[1], got=vectors.shape[-1])
            problem = f"The embedder's vectors have length {vectors.shape[-1]}, but the router needs {wanted[1]}"
            raise _unavailable(
                f"{problem}; configure the embedding model that the router was made with.", "wrong_dimension"
            )


def _not_finite() -> DecisionError:
    return _unavailable("The embedder's vector holds NaN or infinity; try again later.", "not_finite")


def _unavailable(message: str, cause: str) -> DecisionError:
    return DecisionError(Reason.EMBEDDER_UNAVAILABLE, message, metadata={"cause": cause}, retry_seconds=RETRY_SECONDS)


def _with_alias(tiers: Mapping[str, int], configured: str, own: str) -> dict[str, str]:
    names = {name: name for name in tiers}
    if configured not in tiers:
        log.info("model_name_stands_for", name=configured, model_id=own, nearest_id=nearest(configured, tiers))
        names[configured] = own
    return names
