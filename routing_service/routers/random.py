"""`random`: a uniform win rate, the baseline that every router must beat."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from routing_service.artifacts.manifest import CalibrationTable
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.routers.base import Router, RouterContext, Scores

_UNIFORM = CalibrationTable("uniform by construction", 0, (0.0, 1.0))


@dataclass(frozen=True, slots=True)
class RandomOptions:
    """A `random` router: win rates by chance, as a baseline.

    Example:
        routers:
          random: {type: random, seed: 1, by_prompt: true}
    """

    seed: int | None = None
    """Makes the draws repeatable. Which prompt of a batch gets which draw is not fixed. Any whole number."""
    by_prompt: bool = False
    """Whether a prompt always gets the same win rate, drawn from the seed (by default 0) and the prompt."""


class RandomRouter(Router):
    """Draws win rates from 0..1, without 1. It reads prompts only if `by_prompt` is set."""

    type: ClassVar[str] = "random"
    options = RandomOptions
    irrelevant_keys: ClassVar[frozenset[str]] = frozenset(("seed", "by_prompt"))  # they are in the revision
    inline: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    antithetic: ClassVar[bool] = True

    def __init__(self, models: ModelPair, options: RandomOptions | None = None) -> None:
        options = options or RandomOptions()
        if options.by_prompt:
            revision = f"by-prompt-{options.seed or 0}"
        else:
            revision = "unseeded" if options.seed is None else f"seed-{options.seed}"
        super().__init__(revision=revision, models=models, calibration=_UNIFORM)
        self.deterministic = self._by_prompt = options.by_prompt
        self._salt = f"{options.seed or 0}:".encode()
        self._draw = random.Random(options.seed).random  # noqa: S311 - a baseline, not a secret

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Take the seed from the configuration."""
        return cls(context.models or ROUTELLM_PAIR, context.options(RandomOptions))

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - chance does not depend on models
        """Draw a win rate for each prompt."""
        rates = [self._of_prompt(text) if self._by_prompt else self._draw() for text in texts]
        return Scores(rates, None, [False] * len(texts))

    def _of_prompt(self, text: str) -> float:
        digest = hashlib.blake2b(self._salt + text.encode("utf-8", "replace"), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) / (1 << 53)
