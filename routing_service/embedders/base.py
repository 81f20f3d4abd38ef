"""What an embedder is: text in, vectors out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt

from routing_service.config import EMBEDDER_KEYS
from routing_service.errors import DecisionError
from routing_service.yaml_sections import Section

T = TypeVar("T")
# The class of a dataclass of options. A `type` of its own hides the built-in one in routers and embedders.
OptionsType = type[Any]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """An embedder's answer for a batch.

    `vectors` is float32 of shape (texts, dimension); `tokens` how many tokens of each text were read, None when that is
    not known; `truncated` whether each text was cut. `errors` says why a text, by its place, has no vector: its row is
    NaN, and a router hands the error on in its `Scores`.
    """

    vectors: npt.NDArray[np.float32]
    tokens: Sequence[int] | None
    truncated: Sequence[bool]
    errors: Mapping[int, DecisionError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbedderContext:
    """What an embedder is built from: its name in the configuration and its part of it."""

    name: str
    section: Section

    def options(self, kind: type[T]) -> T:
        """The embedder's own keys as the dataclass `kind`.

        Raises:
            ConfigError: a key is not known or a value is not allowed; says file, line and key.
        """
        return self.section.parse(kind, ignore=EMBEDDER_KEYS)


class Embedder(ABC):
    """Turns texts into vectors.

    A new embedder is a subclass with `type`, `build` and `embed`, and an entry point in `routing_service.embedders`.
    `embed` may be called in `concurrency` threads at once.

    `dimension` is the length of a vector, None if it is known only after the first call; `max_tokens` is how many
    tokens of a text are read, None if not known; `concurrency` is more than 1 for an embedder that waits for
    something remote; `model` is the name of the embedding model, None if not known.

    For evaluations: `revision` changes whenever the vectors may change, None if not known; `irrelevant_keys`
    are the options that the vectors do not depend on, or that the revision covers, such as an artifact's folder.
    `options` is the dataclass of its options, for docs/configuration.md.
    """

    type: ClassVar[str]
    options: ClassVar[OptionsType | None] = None
    irrelevant_keys: ClassVar[frozenset[str]] = frozenset()
    concurrency: int = 1
    model: str | None = None
    revision: str | None = None

    def __init__(self, *, dimension: int | None, max_tokens: int | None = None) -> None:
        self.dimension, self.max_tokens = dimension, max_tokens

    @classmethod
    @abstractmethod
    def build(cls, context: EmbedderContext) -> Self:
        """Make the embedder that a section of the configuration asks for.

        Raises:
            ConfigError: the section is wrong.
            ArtifactError: the embedder's artifact cannot be trusted or read.
        """

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts, at least one.

        A text that cannot be embedded must not fail the others: it has its error in the answer's `errors`.

        Raises:
            DecisionError: EMBEDDER_UNAVAILABLE when something remote does not answer in time or answers nonsense;
                another reason for a single text that cannot be embedded.
        """

    def close(self) -> None:  # noqa: B027 - most embedders hold nothing to give up
        """Close connections. The embedder is not used afterwards."""
