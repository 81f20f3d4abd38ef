"""The encoder that goes into an `mf` artifact: an artifact of its own, in a folder inside it.

It is a copy of one made by `export-onnx encoder`, or is made here of static word vectors: the mean of a text's word
vectors, of length 1. That needs no more than a table, so that it costs microseconds and no deep-learning framework.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from export_onnx.graph import FLOAT, INT64, GraphWriter
from routing_lab.training.embeddings import Embeddings
from routing_lab.training.mf.model import Float32
from routing_lab.training.self_test import SELF_TEST_PROMPTS
from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.manifest import MANIFEST_NAME, Manifest, SelfTest, file_entry
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.artifacts.writing import new_artifact
from routing_service.embedders.onnx import (
    ARTIFACT_TYPE,
    GRAPH,
    SELF_TEST,
    TOKENIZER,
    EncoderSettings,
    OnnxEmbedder,
    SentenceEncoder,
)
from routing_service.errors import UsageError

MAX_TOKENS = 512
# float16 keeps eleven bits of a word vector's number, and machines add them up in different orders.
SELF_TEST_TOLERANCE = 1e-4
BATCH = 256


def write_word_vector_encoder(source: Embeddings, folder: Path) -> Artifact:
    """Make an encoder of static word vectors.

    Raises:
        UsageError: `folder` cannot be written.
    """
    dimension = source.vectors.shape[1]
    settings = EncoderSettings(source.provenance["name"], dimension, 0, "right", SELF_TEST_PROMPTS)

    with new_artifact(folder, OnnxEmbedder) as draft:
        fresh = draft.folder
        files = _write_graph(fresh / GRAPH, source.vectors)
        (fresh / TOKENIZER).write_bytes(_plain_tokenizer(source.tokenizer))
        encoder = SentenceEncoder(fresh / GRAPH, fresh / TOKENIZER, MAX_TOKENS, settings, SessionConfig())
        np.save(fresh / SELF_TEST, encoder.embed(SELF_TEST_PROMPTS).vectors)
        draft.write_manifest(
            Manifest(
                type=ARTIFACT_TYPE,
                models=None,
                max_tokens=MAX_TOKENS,
                files={name: file_entry(fresh / name) for name in (*files, TOKENIZER, SELF_TEST)},
                license=source.provenance.get("license", "NOASSERTION"),
                self_test=SelfTest(SELF_TEST_TOLERANCE, ()),
                options={**asdict(settings), "self_test_texts": list(SELF_TEST_PROMPTS)},
                provenance={
                    "word_vectors": source.provenance,
                    "pooling": "mean",
                    "normalize": True,
                    "precision": "fp16",
                },
            )
        )
    return open_artifact(folder, ARTIFACT_TYPE)


def copy_encoder(artifact: Artifact, folder: Path) -> list[str]:
    """Copy an encoder's files, and nothing else that lies beside them, into `folder`; gives their names inside it."""
    names = [MANIFEST_NAME, *artifact.manifest.files]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.folder / name, folder / name)
    return names


def embed(artifact: Artifact, texts: Sequence[str]) -> Float32:
    """The vectors of texts, float32 (texts, dimension), as the encoder will give them in serving.

    Raises:
        ArtifactError: the encoder does not work.
        UsageError: a vector is not finite.
    """
    embedder = OnnxEmbedder(artifact, SessionConfig(threads=0))
    parts = []
    with tqdm(total=len(texts), desc="embedding", unit=" prompts", disable=None) as bar:
        for start in range(0, len(texts), BATCH):
            parts.append(embedder.embed(texts[start : start + BATCH]).vectors)
            bar.update(len(parts[-1]))
    vectors: Float32 = np.concatenate(parts)
    if not np.isfinite(vectors).all():
        raise UsageError(f"the encoder {artifact.folder} gives NaN or infinity for some prompts; choose another")
    return vectors


def _write_graph(path: Path, vectors: Float32) -> list[str]:
    graph = GraphWriter(path, "fp16")
    rows = graph.cast(graph.embedding("input_ids", "word_vectors", vectors), FLOAT)
    mask = graph.op("Unsqueeze", graph.cast("attention_mask", FLOAT), graph.constant("mask_axis", [-1]))
    # A vector of length 1 does not tell a sum from a mean.
    total = graph.op("ReduceSum", graph.op("Mul", rows, mask), graph.constant("tokens_axis", [1]), keepdims=0)
    length = graph.op("ReduceL2", total, graph.constant("vector_axis", [-1]), keepdims=1)
    # A text without any word stays at zero.
    graph.op("Div", total, graph.op("Max", length, graph.constant("least", 1e-12, np.float32)), name="embedding")
    ids = (INT64, ("texts", "tokens"))
    return graph.finish({"input_ids": ids, "attention_mask": ids}, {"embedding": (FLOAT, ("texts", vectors.shape[1]))})


def _plain_tokenizer(tokenizer: bytes) -> bytes:
    """Without special tokens: word vectors have no use for them, and a prompt may spell them."""
    content = json.loads(tokenizer)
    content |= {"post_processor": None, "truncation": None, "padding": None, "added_tokens": []}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
