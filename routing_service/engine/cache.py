"""The score cache: an agent that retries, or a regenerated chat, asks the same again.

It stores a digest of the prompt, never the prompt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from hashlib import blake2b

from routing_service.engine.scoring import Scored
from routing_service.errors import DecisionError
from routing_service.models import ModelPair

# Longer prompts are scored each time: their digest takes as long as the fastest router.
MAX_CACHED_PROMPT_LENGTH = 32_768


class ScoreCache:
    """The last `capacity` scores; the longest unused are dropped first. About 300 bytes each.

    It belongs to one generation of loaded routers, so a score is never used with another artifact.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._scores: OrderedDict[Hashable, Scored] = OrderedDict()

    def key(self, router: str, models: ModelPair, text: str) -> Hashable | None:
        """The key for a score; None if it is not cached."""
        if not self._capacity or len(text) > MAX_CACHED_PROMPT_LENGTH:
            return None
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return router, models.strong, models.weak, digest

    def get(self, key: Hashable | None) -> Scored | None:
        """The cached score, with zero times; None when there is none."""
        if key is None or (kept := self._scores.get(key)) is None:
            return None
        self._scores.move_to_end(key)
        return Scored(
            kept.strong_win_rate, kept.prompt_tokens, kept.truncated, 0.0, 0.0, cached=True, signal=kept.signal
        )

    def put(self, key: Hashable | None, scored: Scored | DecisionError) -> None:
        """Store a score; errors are not stored."""
        if key is None or isinstance(scored, DecisionError):
            return
        self._scores[key] = scored
        self._scores.move_to_end(key)
        if len(self._scores) > self._capacity:
            self._scores.popitem(last=False)
