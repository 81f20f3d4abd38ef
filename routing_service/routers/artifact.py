"""Shared by `static`, `bert` and `causal_llm`: an artifact, its names and self-test; and scoring by length."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from routing_service.artifacts.loading import Artifact, open_artifact, self_test
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.artifacts.tokenizing import Tokens, length_buckets
from routing_service.models import ModelPair
from routing_service.routers.base import Router, RouterContext, Scores


class ArtifactRouter(Router):
    """Serves an artifact that gives win rates of texts for one pair of models.

    It answers for the configured names and for the artifact's own. A subclass has `type`, `options` (a `SessionConfig`
    with the key `artifact`), `load` and `score`.

    Args:
        artifact: the verified folder.
        models: the names to answer with; None for the artifact's own.
        session: how the graph is run.

    Raises:
        ArtifactError: the artifact is of another kind, or does not return its self-test's win rates.
    """

    irrelevant_keys: ClassVar[frozenset[str]] = frozenset(("artifact",))

    def __init__(
        self, artifact: Artifact, models: ModelPair | None = None, session: SessionConfig | None = None
    ) -> None:
        own, manifest = artifact.models, artifact.manifest
        models = models or own
        super().__init__(
            models=models,
            revision=manifest.revision,
            max_tokens=manifest.max_tokens,
            calibration=manifest.calibration,
            manifest=manifest,
        )
        self._strong_names = frozenset((models.strong, own.strong))
        self._weak_names = frozenset((models.weak, own.weak))
        self.load(artifact, session or SessionConfig())
        self_test(self, artifact)

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Open the configured artifact."""
        options = context.options(cls.options)
        return cls(open_artifact(options.artifact, cls.type), context.models, options)

    @abstractmethod
    def load(self, artifact: Artifact, session: SessionConfig) -> None:
        """Read the artifact's files, before the self-test.

        Raises:
            ArtifactError: a file or an option is wrong.
        """

    @property
    def strong_names(self) -> frozenset[str]:
        """The configured name and the artifact's own."""
        return self._strong_names

    @property
    def weak_names(self) -> frozenset[str]:
        """The configured name and the artifact's own."""
        return self._weak_names


def score_by_length(
    texts: Sequence[str],
    encode: Callable[[str], Tokens],
    run: Callable[[Sequence[list[int]]], npt.NDArray[np.float32]],
) -> Scores:
    """Score prompts, those of similar length in one run: a long one does not slow the others.

    Args:
        texts: the prompts, at least one.
        encode: a prompt's tokens.
        run: the win rates, (rows,) in 0..1, of rows of token ids.
    """
    start = perf_counter_ns()
    encoded = [encode(text) for text in texts]
    tokenized = perf_counter_ns()
    lengths = [len(tokens.ids) for tokens in encoded]
    rates = np.empty(len(texts), np.float32)
    for bucket in length_buckets(lengths):
        rates[bucket] = run([encoded[index].ids for index in bucket])
    done = perf_counter_ns()
    return Scores(
        rates.tolist(),
        lengths,
        [tokens.truncated for tokens in encoded],
        (tokenized - start) / 1e3,
        (done - tokenized) / 1e3,
    )
