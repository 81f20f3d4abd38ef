"""`bert`: a BERT-like sequence classifier as one ONNX graph that gives win rates.

`export-onnx bert` makes its artifact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import ClassVar, Self

import numpy as np

from routing_service.artifacts.loading import Artifact, open_artifact, self_test
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session, session_io
from routing_service.artifacts.settings import read_settings
from routing_service.artifacts.tokenizing import Side, TruncatingTokenizer, length_buckets, padded
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair
from routing_service.routers.base import Router, RouterContext, Scores

GRAPH, TOKENIZER = "model.onnx", "tokenizer.json"
INPUTS = ("attention_mask", "input_ids")
OUTPUT = "strong_win_rate"


@dataclass(frozen=True, slots=True)
class BertOptions(SessionConfig):
    """A `bert` router: a text classifier.

    Example:
        routers:
          bert: {type: bert, artifact: artifacts/bert, threads: 0}
    """

    artifact: Path = field(kw_only=True)
    """The artifact's folder, made by `train bert` or `export-onnx bert`."""


@dataclass(frozen=True, slots=True)
class BertSettings:
    """What a `bert` artifact's manifest says in `options`.

    `pad_token_id` fills up the shorter prompts of a batch; `truncation_side` is the end that a long prompt loses;
    `labels` is how many the classifier has, and `strong_label` the one whose probability is the win rate, None for
    RouteLLM's rule: one minus the probability of the last two.
    """

    pad_token_id: int
    truncation_side: Side
    labels: int
    strong_label: int | None

    def __post_init__(self) -> None:
        if self.pad_token_id < 0:
            raise ValueError("pad_token_id must be 0 or more")


class SequenceClassifier:
    """A graph and its tokenizer.

    Args:
        graph: reads int64 `input_ids` and `attention_mask`, gives float32 `strong_win_rate`.
        tokenizer: a `tokenizer.json`.
        max_tokens: how many tokens of a prompt are read, special ones included.
        settings: see there.
        session: how the graph is run.

    Raises:
        ArtifactError: a file is not what it should be.
    """

    def __init__(
        self, graph: Path, tokenizer: Path, max_tokens: int, settings: BertSettings, session: SessionConfig
    ) -> None:
        self.tokenizer = TruncatingTokenizer(tokenizer, max_tokens, settings.truncation_side)
        self._pad_id = settings.pad_token_id
        self._session = open_session(graph, session)
        inputs, outputs = session_io(self._session)
        if sorted(inputs) != list(INPUTS) or list(outputs) != [OUTPUT]:
            raise ArtifactError(
                graph, f"has inputs {sorted(inputs)}; a bert graph has {list(INPUTS)} and gives {OUTPUT!r}"
            )

    def score(self, texts: Sequence[str]) -> Scores:
        """Score prompts, those of like length in one run, so that a long one does not slow the others."""
        start = perf_counter_ns()
        encoded = [self.tokenizer.encode(text) for text in texts]
        tokenized = perf_counter_ns()
        lengths = [len(tokens.ids) for tokens in encoded]
        rates = np.empty(len(texts), np.float32)
        for part in length_buckets(lengths):
            ids, mask = padded([encoded[index].ids for index in part], self._pad_id, "right")
            rates[part] = self._session.run((OUTPUT,), {"input_ids": ids, "attention_mask": mask})[0]
        done = perf_counter_ns()
        return Scores(
            rates.tolist(),
            lengths,
            [tokens.truncated for tokens in encoded],
            (tokenized - start) / 1e3,
            (done - tokenized) / 1e3,
        )


class BertRouter(Router):
    """Serves a `bert` artifact.

    Args:
        artifact: the verified folder.
        models: the names to answer with; None for the artifact's own.
        session: how the graph is run.

    Raises:
        ArtifactError: the artifact is of another kind, or does not return its own self-test's win rates.
    """

    type: ClassVar[str] = "bert"

    def __init__(
        self, artifact: Artifact, models: ModelPair | None = None, session: SessionConfig | None = None
    ) -> None:
        manifest = artifact.manifest
        self._own_models = artifact.models
        super().__init__(
            revision=manifest.revision,
            models=models or self._own_models,
            max_tokens=manifest.max_tokens,
            calibration=manifest.calibration,
        )
        self._classifier = SequenceClassifier(
            artifact.file(GRAPH),
            artifact.file(TOKENIZER),
            manifest.max_tokens,
            read_settings(artifact, BertSettings),
            session or SessionConfig(),
        )
        self_test(self, artifact)

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Open the configured artifact."""
        options = context.options(BertOptions)
        return cls(open_artifact(options.artifact, cls.type), context.models, options)

    @property
    def strong_names(self) -> frozenset[str]:
        """The configured name and the artifact's own."""
        return frozenset((self.models.strong, self._own_models.strong))

    @property
    def weak_names(self) -> frozenset[str]:
        """The configured name and the artifact's own."""
        return frozenset((self.models.weak, self._own_models.weak))

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - one pair, whatever its names
        """Score prompts."""
        return self._classifier.score(texts)
