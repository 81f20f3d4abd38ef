"""Scores of recent prompts: an agent that retries, or a chat that is regenerated, asks the same thing again.

What is kept is a digest of the prompt, never the prompt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from hashlib import blake2b

from routing_service.engine.scoring import Scored
from routing_service.errors import DecisionError
from routing_service.models import ModelPair

# Longer prompts are scored each time: digesting them takes as long as the fastest router does.
MAX_CACHED_PROMPT_LENGTH = 32_768


class ScoreCache:
    """The last `capacity` scores, the longest unused leaving first; about 300 bytes each.

    It belongs to one generation of loaded routers, so a score can never outlive the artifact that gave it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._scores: OrderedDict[Hashable, Scored] = OrderedDict()

    def key(self, router: str, models: ModelPair, text: str) -> Hashable | None:
        """What a score is kept under; None when it is not kept."""
        if not self._capacity or len(text) > MAX_CACHED_PROMPT_LENGTH:
            return None
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return router, models.strong, models.weak, digest

    def get(self, key: Hashable | None) -> Scored | None:
        """The score kept under `key`, as one that took no time; None when there is none."""
        if key is None or (kept := self._scores.get(key)) is None:
            return None
        self._scores.move_to_end(key)
        return Scored(kept.strong_win_rate, kept.prompt_tokens, kept.truncated, 0.0, 0.0, cached=True)

    def put(self, key: Hashable | None, scored: Scored | DecisionError) -> None:
        """Keep a score; an error is not kept."""
        if key is None or isinstance(scored, DecisionError):
            return
        self._scores[key] = scored
        self._scores.move_to_end(key)
        if len(self._scores) > self._capacity:
            self._scores.popitem(last=False)
