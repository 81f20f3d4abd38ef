"""`onnx`: a sentence encoder as one ONNX graph, run in this process. `export-onnx encoder` makes its artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session, session_io
from routing_service.artifacts.settings import read_settings
from routing_service.artifacts.tokenizing import MAX_TOKEN_ID, Side, TruncatingTokenizer, length_buckets, padded
from routing_service.artifacts.vectors import MAX_DIMENSION, read_vectors
from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.errors import ArtifactError

ARTIFACT_TYPE = "encoder"
GRAPH, TOKENIZER, SELF_TEST = "model.onnx", "tokenizer.json", "self_test_embeddings.npy"
INPUTS = ("attention_mask", "input_ids")
OUTPUT = "embedding"


@dataclass(frozen=True, slots=True)
class OnnxOptions(SessionConfig):
    """An `onnx` embedder: a sentence encoder in this process, without a key or a network.

    Example:
        embedders:
          local: {type: onnx, artifact: artifacts/minilm}
    """

    artifact: Path = field(kw_only=True)
    """The artifact's folder, made by `export-onnx encoder`."""


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """The `options` in an encoder artifact's manifest.

    `model` is the encoder's name, `dimension` the length of its vectors; `pad_token_id` pads the shorter texts of a
    batch; `truncation_side` is the end where long texts are cut; row i of `self_test_embeddings.npy` is the vector of
    `self_test_texts[i]`.
    """

    model: str
    dimension: int
    pad_token_id: int
    truncation_side: Side
    self_test_texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.dimension <= MAX_DIMENSION:
            raise ValueError(f"dimension must be from 1 to {MAX_DIMENSION:,}")
        if not 0 <= self.pad_token_id <= MAX_TOKEN_ID:
            raise ValueError(f"pad_token_id must be from 0 to {MAX_TOKEN_ID:,}")
        if not self.self_test_texts:
            raise ValueError("self_test_texts must not be empty, or nothing proves that the artifact works")


class SentenceEncoder:
    """A graph and its tokenizer.

    Args:
        graph: reads int64 `input_ids` and `attention_mask`, gives float32 `embedding`.
        tokenizer: a `tokenizer.json`.
        max_tokens: how many tokens of a text are read, with special ones.
        settings: see there.
        session: how the graph is run.

    Raises:
        ArtifactError: a file is wrong.
    """

    def __init__(
        self, graph: Path, tokenizer: Path, max_tokens: int, settings: EncoderSettings, session: SessionConfig
    ) -> None:
        self.tokenizer = TruncatingTokenizer(tokenizer, max_tokens, settings.truncation_side)
        self._pad_id, self._dimension = settings.pad_token_id, settings.dimension
        self._session = open_session(graph, session)
        inputs, outputs = session_io(self._session)
        if sorted(inputs) != list(INPUTS) or list(outputs) != [OUTPUT]:
            problem = f"has inputs {sorted(inputs)}; an encoder's graph has {list(INPUTS)} and gives {OUTPUT!r}"
            raise ArtifactError(graph, problem)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts in parts of similar length: a long one does not slow the others."""
        encoded = [self.tokenizer.encode(text) for text in texts]
        lengths = [len(tokens.ids) for tokens in encoded]
        vectors = np.empty((len(texts), self._dimension), np.float32)
        for part in length_buckets(lengths):
            ids, mask = padded([encoded[index].ids for index in part], self._pad_id, "right")
            vectors[part] = self._session.run((OUTPUT,), {"input_ids": ids, "attention_mask": mask})[0]
        return Embeddings(vectors, lengths, [tokens.truncated for tokens in encoded])


class OnnxEmbedder(Embedder):
    """Serves an encoder artifact.

    Args:
        artifact: the verified folder.
        session: how the graph is run.

    Raises:
        ArtifactError: the artifact is of another kind, or does not return its self-test's vectors.
    """

    type: ClassVar[str] = "onnx"
    options = OnnxOptions
    irrelevant_keys: ClassVar[frozenset[str]] = frozenset(("artifact",))

    def __init__(self, artifact: Artifact, session: SessionConfig | None = None) -> None:
        manifest, settings = artifact.manifest, read_settings(artifact, EncoderSettings)
        super().__init__(dimension=settings.dimension, max_tokens=manifest.max_tokens)
        self.model, self.revision = settings.model, manifest.revision
        self._encoder = SentenceEncoder(
            artifact.file(GRAPH), artifact.file(TOKENIZER), manifest.max_tokens, settings, session or SessionConfig()
        )
        self._self_test(artifact, settings)

    @classmethod
    def build(cls, context: EmbedderContext) -> Self:
        """Open the configured artifact."""
        options = context.options(OnnxOptions)
        return cls(open_artifact(options.artifact, ARTIFACT_TYPE), options)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts."""
        return self._encoder.embed(texts)

    def _self_test(self, artifact: Artifact, settings: EncoderSettings) -> None:
        wanted = read_vectors(artifact.file(SELF_TEST), len(settings.self_test_texts), settings.dimension)
        tolerance = artifact.manifest.self_test.tolerance
        try:
            single = np.concatenate([self.embed([text]).vectors for text in settings.self_test_texts])
            batch = self.embed(settings.self_test_texts).vectors
        except Exception as error:
            raise ArtifactError(artifact.file(GRAPH), f"cannot be run: {error}") from error
        for vectors in (single, batch):
            difference = np.abs(vectors - wanted).max()
            if not difference <= tolerance:  # NaN fails every comparison
                raise ArtifactError(
                    artifact.folder,
                    f"fails its self-test: its vectors differ by {difference} from the recorded ones (tolerance "
                    f"{tolerance}); this machine or ONNX Runtime computes it differently",
                )
