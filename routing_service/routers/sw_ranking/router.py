"""`sw_ranking`: RouteLLM's similarity-weighted ranking (arXiv 2406.18665, section 4.2).

The win rate is a Bradley-Terry one, from battles between models, weighted by their prompts' similarity to this one.
The models of a tier share a rating. See `tier_ranking`, and `export_onnx.sw_ranking` for making an artifact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.embedders.base import Embedder
from routing_service.models import ModelPair
from routing_service.routers.base import RouterContext
from routing_service.routers.embedding import EmbeddingRouter, Vectors, WinRates
from routing_service.routers.sw_ranking.tier_ranking import Solver, TierRanker


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


class SimilarityWeightedRouter(EmbeddingRouter):
    """Serves an `sw_ranking` artifact. Any two models of its battles can be the pair of a request.

    The other prompts of a batch change a score only in the last digits of its float32 sums.

    Args:
        artifact: the verified folder.
        embedder: makes the vectors, of the artifact's dimension.
        models: the names to answer with; None for the artifact's own.
        session: how the graph is run.
        solver: how ratings are computed; see `TierRanker`.

    Raises:
        ArtifactError: the artifact is of another kind, or does not return its own self-test's win rates.
    """

    type: ClassVar[str] = "sw_ranking"
    options = SimilarityWeightedOptions
    irrelevant_keys: ClassVar[frozenset[str]] = EmbeddingRouter.irrelevant_keys | {"solver"}  # it is in the revision

    def __init__(
        self,
        artifact: Artifact,
        embedder: Embedder,
        models: ModelPair | None = None,
        session: SessionConfig | None = None,
        solver: Solver = "routellm",
    ) -> None:
        self.ranker = TierRanker.open(artifact, session or SessionConfig(), solver)
        settings, revision = self.ranker.settings, artifact.manifest.revision
        super().__init__(
            artifact,
            embedder,
            models,
            known=settings.model2tier,
            dimension=settings.dimension,
            embedding_model=settings.embedding_model,
            revision=revision if solver == "routellm" else f"{revision}-{solver}",
        )

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Open the configured artifact and find its embedder."""
        options = context.options(SimilarityWeightedOptions)
        embedder = context.embedder(options.embedder)
        router = cls(open_artifact(options.artifact, cls.type), embedder, context.models, options, options.solver)
        router.check_embedder(context, options.embedder)
        return router

    def win_rates(self, vectors: Vectors, models: ModelPair) -> WinRates:
        """See `TierRanker.win_rates`."""
        return self.ranker.win_rates(vectors, *self.scored_as(models))
