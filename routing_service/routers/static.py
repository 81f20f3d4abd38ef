"""`static`: sums of word-piece vectors and counts of a prompt under small networks, as one ONNX graph.

A prompt takes microseconds on a CPU, so it runs inline. `routing_lab.training.static.train` makes its artifact.
Artifacts of the first edition, with trees in place of networks, are served as before: the manifest's files tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any, ClassVar, Self

import numpy as np

from routing_service.artifacts.loading import DEFAULT_ARTIFACT, Artifact, open_artifact
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session, session_io
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair
from routing_service.routers.artifact import ArtifactRouter
from routing_service.routers.base import RouterContext, Scores
from routing_service.routers.static_pieces import EncodedText, StaticPieceEncoder, read_vocabulary
from routing_service.routers.static_text import StaticTextEncoder, pad_ids

PAD_ID = -1  # ONNX's Gather reads it as the table's last row, which is zero
INPUTS = ("token_ids", "byte_counts")
OUTPUT = "strong_win_rate"
# Of a graph over pieces. The signal is how much of the prompt was understood, 0..1.
SCORED = (OUTPUT, "signal")
TOPICS = "topics"  # the share of each, by the order in the manifest
PIECES_NAME = "pieces.json"
PIECES_INPUTS = ("token_ids", "counts")


def prompt_inputs(encoded: EncodedText) -> dict[str, Any]:
    """One prompt as the inputs of a second-edition graph. A prompt without pieces is one unknown piece."""
    return {"token_ids": np.array(encoded.ids or [0], np.int32), "counts": encoded.counts[np.newaxis]}


@dataclass(frozen=True, slots=True)
class StaticOptions(SessionConfig):
    """A `static` router: word-piece vectors and counts under small networks.

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
        """Open graph and vocabulary."""
        max_tokens = artifact.manifest.max_tokens
        self._pieces: StaticPieceEncoder | None = None
        if PIECES_NAME in artifact.manifest.files:
            self._pieces = StaticPieceEncoder(read_vocabulary(artifact.file(PIECES_NAME)), max_tokens)
        else:
            self._encoder = StaticTextEncoder(artifact.file("tokenizer.json"), max_tokens)
        self._topics = tuple(artifact.manifest.options.get("topics", ()))
        graph = artifact.file("model.onnx")
        self._session = open_session(graph, session)
        inputs, outputs = session_io(self._session)
        wanted, given = (PIECES_INPUTS, (*SCORED, TOPICS)) if self._pieces else (INPUTS, (OUTPUT,))
        if set(inputs) != set(wanted) or not set(given) <= set(outputs):
            raise ArtifactError(
                graph,
                f"has the inputs {sorted(inputs)} and the outputs {sorted(outputs)}; a static graph has "
                f"{sorted(wanted)} and gives {sorted(given)}",
            )

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - one pair, whatever its names
        """Score prompts. A batch gives exactly what single calls give."""
        if self._pieces is None:
            return self._score_first_edition(texts)
        start = perf_counter_ns()
        encoded = list(map(self._pieces.encode, texts))
        tokenized = perf_counter_ns()
        run = self._session.run
        # One by one: in a batch, a matrix product may round a row otherwise than alone.
        found = [run(SCORED, prompt_inputs(text)) for text in encoded]
        done = perf_counter_ns()
        return Scores(
            [rate.item() for rate, _ in found],
            [len(e.ids) for e in encoded],
            [e.truncated for e in encoded],
            (tokenized - start) / 1e3,
            (done - tokenized) / 1e3,
            signals=[signal.item() for _, signal in found],
        )

    def topic(self, text: str) -> str:
        """The likeliest of the topics in the manifest; empty for an artifact without."""
        if self._pieces is None or not self._topics:
            return ""
        shares = self._session.run((TOPICS,), prompt_inputs(self._pieces.encode(text)))[0]
        return str(self._topics[int(shares.argmax())])

    def _score_first_edition(self, texts: Sequence[str]) -> Scores:
        """Score prompts in one run of the graph. Its sums are over integers, so a batch gives what single runs give."""
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
