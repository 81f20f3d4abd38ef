"""What a router is: text in, the strong model's win rate out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from routing_service.artifacts.manifest import Calibration


class ModelPair(NamedTuple):
    """The names of the strong and the weak model."""

    strong: str
    weak: str


@dataclass(frozen=True, slots=True)
class Scores:
    """A router's answer for a batch.

    `strong_win_rates` are probabilities in 0..1, one a prompt; `prompt_tokens` how many tokens of each prompt were
    read, None for a router that does not tokenize; `truncated` whether each prompt was cut; the times are microseconds
    of wall clock for the whole batch.
    """

    strong_win_rates: Sequence[float]
    prompt_tokens: Sequence[int] | None
    truncated: Sequence[bool]
    tokenize_us: float = 0.0
    inference_us: float = 0.0


class Router(ABC):
    """Scores prompts. A new router is a subclass with `score`.

    `revision` changes whenever its scores may; `models` is the pair it chooses between when a request names none;
    `max_tokens` is how many tokens of a prompt it reads, None when it does not tokenize; `calibration` is how its
    scores are distributed, None when that is not known.
    """

    type: ClassVar[str]

    def __init__(
        self,
        *,
        revision: str,
        models: ModelPair,
        max_tokens: int | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.revision, self.models, self.max_tokens, self.calibration = revision, models, max_tokens, calibration

    @abstractmethod
    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:
        """Score prompts, at least one, for a pair that `strong_names` and `weak_names` allow.

        A prompt's score must not depend on the others in its batch.
        """

    @property
    def strong_names(self) -> frozenset[str]:
        """The names that the router can score as the strong model."""
        return frozenset((self.models.strong,))

    @property
    def weak_names(self) -> frozenset[str]:
        """The names that the router can score as the weak model."""
        return frozenset((self.models.weak,))
