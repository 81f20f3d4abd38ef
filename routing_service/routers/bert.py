"""`bert`: a BERT-like sequence classifier as one ONNX graph that gives win rates.

`export-onnx bert` makes its artifact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from routing_service.artifacts.loading import Artifact
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session, session_io
from routing_service.artifacts.settings import read_settings
from routing_service.artifacts.tokenizing import MAX_TOKEN_ID, Side, TruncatingTokenizer, padded
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair
from routing_service.routers.artifact import ArtifactRouter, score_by_length
from routing_service.routers.base import Scores

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
    """The `options` in a `bert` artifact's manifest.

    `pad_token_id` pads the shorter prompts of a batch; `truncation_side` is the end where long prompts are cut;
    `labels` is how many labels the classifier has; the win rate is the probability of `strong_label`, None for
    RouteLLM's rule: one minus the probability of the last two.
    """

    pad_token_id: int
    truncation_side: Side
    labels: int
    strong_label: int | None

    def __post_init__(self) -> None:
        if not 0 <= self.pad_token_id <= MAX_TOKEN_ID:
            raise ValueError(f"pad_token_id must be from 0 to {MAX_TOKEN_ID:,}")


class SequenceClassifier:
    """A graph and its tokenizer.

    Args:
        graph: reads int64 `input_ids` and `attention_mask`, gives float32 `strong_win_rate`.
        tokenizer: a `tokenizer.json`.
        max_tokens: how many tokens of a prompt are read, with special ones.
        settings: see there.
        session: how the graph is run.

    Raises:
        ArtifactError: a file is wrong.
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
        """Score prompts."""
        return score_by_length(texts, self.tokenizer.encode, self._run)

    def _run(self, rows: Sequence[list[int]]) -> npt.NDArray[np.float32]:
        ids, mask = padded(rows, self._pad_id, "right")
        rates: npt.NDArray[np.float32] = self._session.run((OUTPUT,), {"input_ids": ids, "attention_mask": mask})[0]
        return rates


class BertRouter(ArtifactRouter):
    """Serves a `bert` artifact."""

    type: ClassVar[str] = "bert"
    options = BertOptions

    def load(self, artifact: Artifact, session: SessionConfig) -> None:
        """Open graph and tokenizer."""
        self._classifier = SequenceClassifier(
            artifact.file(GRAPH),
            artifact.file(TOKENIZER),
            artifact.manifest.max_tokens,
            read_settings(artifact, BertSettings),
            session,
        )

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - one pair, whatever its names
        """Score prompts."""
        return self._classifier.score(texts)
