"""`export-onnx causal_llm`: a Llama that rates prompts to an artifact with its key-value cache in the graph.

The checkpoint is RouteLLM's: a causal language model whose last five tokens are the ratings [[1]] to [[5]], and the
two templates of its prompt. The source model, run by transformers as RouteLLM runs it, is what the export is proven
against.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from export_onnx.causal_llm_config import IGNORED_TENSORS, expected_tensors, read_decoder
from export_onnx.causal_llm_graph import write_graph
from export_onnx.checkpoint import CONFIG, Checkpoint, open_checkpoint
from export_onnx.text_artifact import TextExport, add_prompts_argument, load_source, step
from export_onnx.tokenizer import TOKENIZER_FILES, SourceTokenizer
from routing_service.artifacts.manifest import Manifest
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.artifacts.tokenizing import Side
from routing_service.artifacts.writing import new_artifact
from routing_service.errors import ArtifactError, UsageError
from routing_service.routers.causal_llm import (
    CLASSIFIER_TEMPLATE,
    GRAPH,
    NO_RATING,
    SYSTEM_TEMPLATE,
    TOKENIZER,
    CausalLLMRouter,
    CausalLLMSettings,
    RatingLLM,
)
from routing_service.routers.causal_llm_prompt import PromptTemplate

GENERATION_CONFIG = "generation_config.json"
RATINGS = tuple(f"[[{rating}]]" for rating in range(1, 6))
# RouteLLM's: ratings of 4 and 5 speak for the weak model, and six tokens are tried.
SCORE_THRESHOLD, MAX_NEW_TOKENS = 4, 6
# What a long text loses is its start: the end has the classifier's question.
TRUNCATION_SIDE: Side = "left"
# Settings of generation_config.json that change a greedy choice, and the values at which they don't.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "num_beams": (1,),
    "repetition_penalty": (1.0,),
    "encoder_repetition_penalty": (1.0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": (),
    "sequence_bias": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "exponential_decay_length_penalty": (),
    "guidance_scale": (1.0,),
    "stop_strings": ([],),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options beside those of every export."""
    add_prompts_argument(parser)


def run(options: argparse.Namespace) -> str:
    """Export a checkpoint and give the closing report.

    Raises:
        UsageError: the checkpoint or an option is wrong, or the artifact's win rates are not the checkpoint's.
    """
    checkpoint = open_checkpoint(str(options.checkpoint), required=(SYSTEM_TEMPLATE, CLASSIFIER_TEMPLATE))
    export = TextExport.from_options("causal_llm", checkpoint, options)
    return export.report(make_artifact(export))


def make_artifact(export: TextExport) -> Manifest:
    """Turn a checkpoint into an artifact.

    Raises:
        UsageError: the checkpoint is wrong, or the artifact's win rates are not the checkpoint's.
    """
    from transformers import AutoModelForCausalLM

    checkpoint = export.checkpoint
    model = read_decoder(checkpoint.config, checkpoint.folder / CONFIG)
    # transformers leaves out a tied head when it saves, other tools don't.
    ignored = (*IGNORED_TENSORS, *((r"lm_head\.weight",) if model.tied else ()))
    checkpoint.check_tensors(expected_tensors(model), ignored)
    tokenizer = SourceTokenizer(checkpoint, model.vocabulary)
    template = _template(checkpoint)
    ratings = rating_ids(tokenizer, model.vocabulary, checkpoint.folder)
    stops = stop_ids(checkpoint)
    # The tokens after the first need positions too, all but the last.
    max_tokens = min(tokenizer.limit or model.positions, model.positions - (MAX_NEW_TOKENS - 1))
    settings = CausalLLMSettings(ratings, SCORE_THRESHOLD, stops, MAX_NEW_TOKENS, TRUNCATION_SIDE)

    with new_artifact(export.output, CausalLLMRouter) as draft:
        folder = draft.folder
        with tqdm(expected_tensors(model), desc="weights", unit=" tensors", disable=None) as weights:

            def load(name: str) -> Any:
                weights.update()
                return checkpoint.load(name, export.precision)

            files = write_graph(folder / GRAPH, model, load, export.precision, ratings, SCORE_THRESHOLD)
        tokenizer.save(folder / TOKENIZER)
        for name in (SYSTEM_TEMPLATE, CLASSIFIER_TEMPLATE):
            shutil.copyfile(checkpoint.folder / name, folder / name)
        with step("loading the graph"):
            exported = RatingLLM(folder, max_tokens, settings, SessionConfig(threads=0))
        texts = [template.render(prompt) for prompt in export.proof_prompts()]
        tokenizer.check(exported.tokenizer, texts)
        return draft.write_manifest(
            export.manifest(
                folder,
                [*files, TOKENIZER, SYSTEM_TEMPLATE, CLASSIFIER_TEMPLATE],
                max_tokens=max_tokens,
                options=asdict(settings),
                score=exported.score,
                source=lambda prompts: source_win_rates(
                    load_source(AutoModelForCausalLM, checkpoint), tokenizer, template, settings, max_tokens, prompts
                ),
                sources=(*TOKENIZER_FILES, GENERATION_CONFIG, SYSTEM_TEMPLATE, CLASSIFIER_TEMPLATE),
            )
        )


def rating_ids(tokenizer: SourceTokenizer, rows: int, where: Path) -> tuple[int, ...]:
    """The ids of the rating tokens, which RouteLLM takes to be the last five of the vocabulary.

    Raises:
        UsageError: the tokenizer lacks one, or they are not the last rows of the model's embedding.
    """
    vocabulary = tokenizer.source.get_vocab()
    if missing := [token for token in RATINGS if token not in vocabulary]:
        raise UsageError(
            f"{where}: the tokenizer has no rating token {', '.join(missing)}; it is not the one that the model was "
            f"trained with, to which they were added: tokenizer.add_tokens([{RATINGS[0]!r}, …], special_tokens=True)"
        )
    ids = tuple(int(vocabulary[token]) for token in RATINGS)
    if ids != tuple(range(rows - len(RATINGS), rows)):
        raise UsageError(
            f"{where}: the rating tokens have the ids {list(ids)}, and are not the last of the model's {rows} rows of "
            "embeddings, from which ratings are read; with a padded vocabulary resize the embeddings to the "
            "tokenizer's length, else use the model's own tokenizer"
        )
    return ids


def stop_ids(checkpoint: Checkpoint) -> tuple[int, ...]:
    """The tokens that end an answer, by generation_config.json, else by config.json.

    Raises:
        UsageError: the generation settings ask for something other than the likeliest token.
    """
    from transformers import GenerationConfig

    where = checkpoint.folder / GENERATION_CONFIG
    settings = checkpoint.config
    if where.is_file():
        try:
            settings = GenerationConfig.from_pretrained(str(checkpoint.folder), local_files_only=True).to_dict()
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"{where}: cannot be read: {error}") from error
        for name, neutral in _NEUTRAL.items():
            if (value := settings.get(name)) is not None and value not in neutral:
                raise UsageError(f"{where}: {name} is {value!r}, which changes greedy decoding and is not supported")
    stops = settings.get("eos_token_id")
    return tuple(stops) if isinstance(stops, list | tuple) else () if stops is None else (int(stops),)


def source_win_rates(
    source: Any,
    tokenizer: SourceTokenizer,
    template: PromptTemplate,
    settings: CausalLLMSettings,
    max_tokens: int,
    prompts: Sequence[str],
) -> list[float]:
    """The win rates of a model as transformers runs it, on whatever device it is, six greedy tokens a prompt."""
    import torch

    ratings = list(settings.rating_token_ids)
    rates = []
    for prompt in tqdm(prompts, desc="source model", unit=" prompts", disable=None):
        tokens = tokenizer.encode(template.render(prompt), max_tokens, settings.truncation_side)
        ids = torch.tensor([tokens], device=source.device)
        with torch.inference_mode():
            answer = source.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=settings.max_new_tokens,
                do_sample=False,
                pad_token_id=0,
                output_scores=True,
                return_dict_in_generate=True,
            )
        rate = NO_RATING
        for token, logits in zip(answer.sequences[0, ids.shape[1] :].tolist(), answer.scores, strict=True):
            if token in ratings:
                among = logits[0, ratings].softmax(-1)
                rate = float((1 - among[settings.score_threshold - 1 :].sum()).clamp(0, 1))
                break
        rates.append(rate)
    return rates


def _template(checkpoint: Checkpoint) -> PromptTemplate:
    try:
        return PromptTemplate.read(checkpoint.folder / SYSTEM_TEMPLATE, checkpoint.folder / CLASSIFIER_TEMPLATE)
    except ArtifactError as error:
        raise UsageError(str(error)) from error
