"""`static`: static word-piece embeddings and prompt features under small trees, as one ONNX graph.

A prompt takes microseconds on a CPU, so it runs inline. `routing_lab.training.static.train` makes its artifact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import ClassVar, Self

import numpy as np

from routing_service.artifacts.loading import DEFAULT_ARTIFACT, Artifact, open_artifact
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session, session_io
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair
from routing_service.routers.artifact import ArtifactRouter
from routing_service.routers.base import RouterContext, Scores
from routing_service.routers.static_text import StaticTextEncoder, pad_ids

PAD_ID = -1  # ONNX's Gather reads it as the table's last row, which is zero
INPUTS = ("token_ids", "byte_counts")
OUTPUT = "strong_win_rate"


@dataclass(frozen=True, slots=True)
class StaticOptions(SessionConfig):
    """A `static` router: word-piece embeddings under small trees.

    Example:
        routers:
          mine: {type: static, artifact: artifacts/mine}
    """

    artifact: Path | None = None
    """The artifact's folder. By default the shipped artifact."""


class StaticRouter(ArtifactRouter):
    """Serves a `static` artifact."""

    type: ClassVar[str] = "static"
    options = StaticOptions
    inline: ClassVar[bool] = True

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Open the configured artifact, by default the shipped one."""
        options = context.options(StaticOptions)
        return cls(open_artifact(options.artifact or DEFAULT_ARTIFACT, cls.type), context.models, options)

    def load(self, artifact: Artifact, session: SessionConfig) -> None:
        """Open graph and tokenizer."""
        self._encoder = StaticTextEncoder(artifact.file("tokenizer.json"), artifact.manifest.max_tokens)
        graph = artifact.file("model.onnx")
        self._session = open_session(graph, session)
        inputs, outputs = session_io(self._session)
        if set(inputs) != set(INPUTS) or OUTPUT not in outputs:
            raise ArtifactError(
                graph, f"has the inputs {sorted(inputs)}; a static graph has {sorted(INPUTS)} and gives {OUTPUT!r}"
            )

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - one pair, whatever its names
        """Score prompts in one run of the graph. Sums are over integers, so a batch gives the same as single runs."""
        start = perf_counter_ns()
        encoded = [self._encoder.encode(text) for text in texts]
        if len(encoded) == 1:
            only = encoded[0]
            ids = np.array([only.ids or [PAD_ID]], np.int32)
            counts = only.byte_counts[np.newaxis]
        else:
            ids = pad_ids(encoded, PAD_ID)
            counts = np.stack([e.byte_counts for e in encoded])
        tokenized = perf_counter_ns()
        rates = self._session.run((OUTPUT,), {"token_ids": ids, "byte_counts": counts})[0]
        done = perf_counter_ns()
        return Scores(
            rates.tolist(),
            [len(e.ids) for e in encoded],
            [e.truncated for e in encoded],
            (tokenized - start) / 1e3,
            (done - tokenized) / 1e3,
        )
