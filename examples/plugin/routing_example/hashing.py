"""An embedder without a model: words are hashed into a vector of counts of length 1."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings


@dataclass(frozen=True, slots=True)
class HashingOptions:
    """How many numbers a vector has."""

    dimension: int = 256

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise ValueError("dimension must be at least 1")


class HashingEmbedder(Embedder):
    """Counts words."""

    type: ClassVar[str] = "hashing"
    options = HashingOptions

    @classmethod
    def build(cls, context: EmbedderContext) -> Self:
        """Take the dimension from the configuration."""
        return cls(dimension=context.options(HashingOptions).dimension)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Hash each word to a place and count."""
        size = self.dimension or 1
        vectors = np.zeros((len(texts), size), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                row[zlib.crc32(word.encode("utf-8", "replace")) % size] += 1
        vectors /= np.maximum(1.0, np.linalg.norm(vectors, axis=1, keepdims=True))
        return Embeddings(vectors, tokens=[len(text.split()) for text in texts], truncated=[False] * len(texts))
