"""`export-onnx bert`: a BERT-like sequence classifier to an artifact whose graph gives win rates.

BERT and MiniLM, RoBERTa and XLM-RoBERTa, and DistilBERT are supported. The graph is written node by node; the source
model, run by transformers one prompt at a time as RouteLLM does, is what it is proven against.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from export_onnx.bert_config import IGNORED_TENSORS, Classifier, expected_tensors, read_classifier
from export_onnx.bert_graph import write_graph
from export_onnx.checkpoint import CONFIG, Checkpoint, open_checkpoint
from export_onnx.text_artifact import TextExport, add_prompts_argument, load_source, step
from export_onnx.tokenizer import TOKENIZER_FILES, SourceTokenizer
from routing_service.artifacts.manifest import Manifest
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.artifacts.writing import new_artifact
from routing_service.errors import UsageError, unknown_name
from routing_service.routers.bert import GRAPH, TOKENIZER, BertRouter, BertSettings, SequenceClassifier

# RouteLLM's classifier: the strong model wins, a tie, the weak model wins.
ROUTELLM_LABELS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options beside those of every export."""
    parser.add_argument(
        "--strong-label",
        metavar="LABEL",
        help="the label, by number or by name in config.json's id2label, whose probability is the win rate (default: "
        "with three labels RouteLLM's rule, one minus the probability of the last two; with two labels 0, the first)",
    )
    add_prompts_argument(parser)


def run(options: argparse.Namespace) -> str:
    """Export a checkpoint and give the closing report.

    Raises:
        UsageError: the checkpoint or an option is wrong, or the artifact's win rates are not the checkpoint's.
    """
    export = TextExport.from_options("bert", open_checkpoint(str(options.checkpoint)), options)
    return export.report(make_artifact(export, options.strong_label))


def make_artifact(export: TextExport, chosen_label: str | None = None) -> Manifest:
    """Turn a checkpoint into an artifact; `chosen_label` is what `--strong-label` says.

    Raises:
        UsageError: the checkpoint is wrong, or the artifact's win rates are not the checkpoint's.
    """
    checkpoint = export.checkpoint
    names = _labels(checkpoint)
    strong = strong_label(names, chosen_label, checkpoint.folder / CONFIG)
    model = read_classifier(checkpoint.config, len(names), checkpoint.folder / CONFIG)
    checkpoint.check_tensors(expected_tensors(model), IGNORED_TENSORS)
    tokenizer = SourceTokenizer(checkpoint, model.vocabulary)
    max_tokens = min(tokenizer.limit or model.max_tokens, model.max_tokens)
    settings = BertSettings(model.pad_id, tokenizer.side, model.labels, strong)

    with new_artifact(export.output, BertRouter) as draft:
        folder = draft.folder
        with tqdm(expected_tensors(model), desc="weights", unit=" tensors", disable=None) as weights:

            def load(name: str) -> Any:
                weights.update()
                return checkpoint.load(name, export.precision)

            files = write_graph(folder / GRAPH, model, load, export.precision, strong)
        tokenizer.save(folder / TOKENIZER)
        with step("loading the graph"):
            exported = SequenceClassifier(
                folder / GRAPH, folder / TOKENIZER, max_tokens, settings, SessionConfig(threads=0)
            )
        # Longer than any model of these reads, so that the proof covers the cut.
        long_prompt = "The quick brown fox jumps over the lazy dog. " * (max_tokens // 8 + 1)
        tokenizer.check(exported.tokenizer, export.proof_prompts(long_prompt))
        return draft.write_manifest(
            export.manifest(
                folder,
                [*files, TOKENIZER],
                max_tokens=max_tokens,
                options=asdict(settings),
                score=exported.score,
                source=lambda prompts: source_win_rates(checkpoint, model, tokenizer, max_tokens, strong, prompts),
                more_prompts=(long_prompt,),
                sources=TOKENIZER_FILES,
            )
        )


def strong_label(names: Sequence[str], chosen: str | None, where: Path) -> int | None:
    """The label whose probability is the win rate, None for RouteLLM's three-label rule.

    Args:
        names: the labels' names, at least one.
        chosen: what the user asked for, a number or a name.
        where: the file that says the names.

    Raises:
        UsageError: there is no such label, or too few or too many to choose by default.
    """
    if len(names) < 2:
        raise UsageError(
            f"{where}: the classifier has one label, so its output is not a probability; two or more are needed"
        )
    if chosen is not None:
        if chosen.isdecimal() and int(chosen) < len(names):
            return int(chosen)
        if chosen in names:
            return names.index(chosen)
        known = [*names, *map(str, range(len(names)))]
        raise UsageError(f"--strong-label: {unknown_name('label', chosen, known)}")
    if len(names) > ROUTELLM_LABELS:
        raise UsageError(
            f"{where}: the classifier has {len(names)} labels; say with --strong-label which one means strong"
        )
    return None if len(names) == ROUTELLM_LABELS else 0


def source_win_rates(
    checkpoint: Checkpoint,
    model: Classifier,
    tokenizer: SourceTokenizer,
    max_tokens: int,
    strong: int | None,
    prompts: Sequence[str],
) -> list[float]:
    """The win rates of the source model, run by transformers in float32, one prompt at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification

    source = load_source(AutoModelForSequenceClassification, checkpoint, num_labels=model.labels)
    rates = []
    with torch.inference_mode():
        for prompt in tqdm(prompts, desc="source model", unit=" prompts", disable=None):
            ids = torch.tensor([tokenizer.encode(prompt, max_tokens, tokenizer.side)])
            probabilities = source(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].softmax(-1)
            rate = 1 - probabilities[-2:].sum() if strong is None else probabilities[strong]
            rates.append(float(rate.clamp(0, 1)))  # sums may end a rounding beyond
    return rates


def _labels(checkpoint: Checkpoint) -> list[str]:
    """The labels' names by number: config.json's, else as many as the classifier's last layer has rows."""
    names: Mapping[str, Any] = checkpoint.config.get("id2label") or {}
    rows = [
        shape[0]
        for name in ("classifier.out_proj.bias", "classifier.bias")
        if len(shape := checkpoint.shapes.get(name, ())) == 1
    ]
    # A checkpoint trained with num_labels beside its config.json has the rows and not the names.
    count = rows[0] if rows else len(names)
    return [str(names.get(str(index), f"LABEL_{index}")) for index in range(count)]
