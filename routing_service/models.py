"""The pair of models that a decision chooses between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from routing_service.errors import UsageError


@dataclass(frozen=True, slots=True)
class ModelPair:
    """The two models that decisions choose between, under the names that callers know.

    Example:
        models: {strong: gpt-4-1106-preview, weak: mixtral-8x7b-instruct-v0.1}

    Raises:
        ValueError: a name is empty, or both are the same.
    """

    strong: str
    """The strong, expensive model."""
    weak: str
    """The weak, cheap model."""

    def __post_init__(self) -> None:
        if not self.strong or not self.weak:
            raise ValueError("the models' names must not be empty")
        if self.strong == self.weak:
            raise ValueError(f"the strong and the weak model are both {self.strong!r}")

    def __iter__(self) -> Iterator[str]:
        """The strong model's name, then the weak one's."""
        yield self.strong
        yield self.weak

    def with_options(self, strong: str | None, weak: str | None) -> ModelPair:
        """This pair, with the models of the options --strong-model and --weak-model in place of its own.

        Raises:
            UsageError: both are then the same.
        """
        try:
            return ModelPair(strong or self.strong, weak or self.weak)
        except ValueError as error:
            raise UsageError(f"{error}; name two different ones with --strong-model and --weak-model") from error


# The pair of RouteLLM's published routers: what decisions choose between where nothing says otherwise.
ROUTELLM_PAIR = ModelPair("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
