"""A router with options and an embedder: the win rate is the similarity to the nearest example of a hard prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from routing_service.embedders.base import Embedder
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.routers.base import Router, RouterContext, Scores


@dataclass(frozen=True, slots=True)
class SimilarityOptions:
    """What its section of the configuration may say: the keys, their types, and what is wrong with a value."""

    embedder: str
    examples: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.examples:
            raise ValueError("examples must name at least one hard prompt")


class SimilarityRouter(Router):
    """Scores in a worker thread, because embedding may take a while."""

    type: ClassVar[str] = "similarity"
    options = SimilarityOptions

    def __init__(self, embedder: Embedder, examples: Sequence[str], models: ModelPair) -> None:
        super().__init__(models=models, max_tokens=embedder.max_tokens)
        self._embedder = embedder
        self._examples = embedder.embed(examples).vectors

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Read the options and ask for the embedder that they name."""
        options = context.options(SimilarityOptions)
        return cls(context.embedder(options.embedder), options.examples, context.models or ROUTELLM_PAIR)

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - one pair only
        """Compare with every example."""
        embedded = self._embedder.embed(texts)
        nearest = (embedded.vectors @ self._examples.T).max(axis=1)
        return Scores(np.clip(nearest, 0.0, 1.0).tolist(), embedded.tokens, embedded.truncated, errors=embedded.errors)
