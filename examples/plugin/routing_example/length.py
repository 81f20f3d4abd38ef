"""The smallest router: the longer the prompt, the likelier the strong model wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from routing_service.models import ModelPair
from routing_service.routers.base import Router, Scores


class LengthRouter(Router):
    """Half-way at 400 characters."""

    type: ClassVar[str] = "length"
    inline: ClassVar[bool] = True  # microseconds: no worker thread needed
    learns: ClassVar[bool] = False  # a rule: it cannot have seen a benchmark's prompts

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - one pair only
        """Score by length alone."""
        rates = [len(text) / (len(text) + 400) for text in texts]
        return Scores(rates, prompt_tokens=None, truncated=[False] * len(texts))
