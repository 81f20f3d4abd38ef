"""`routing-service train bert` and `train causal_llm`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from routing_lab.cli.train_options import (
    add_data_options,
    add_run_options,
    add_type,
    count,
    data_arguments,
    needing,
    run_arguments,
    train_and_report,
)

EXTRA = "finetune"
# The parts of a recipe that are options. Those that are not given are the trainer's own.
_RECIPE = (
    "epochs",
    "batch_size",
    "learning_rate",
    "patience",
    "batch_tokens",
    "warmup_share",
    "weight_decay",
    "max_grad_norm",
)


def add_train_bert(types: Any) -> None:
    """Add `bert`."""
    parser = add_type(
        types,
        "bert",
        train_bert,
        "Fine-tune a BERT-like encoder on preference data and write its artifact.",
        "routing-service train bert --checkpoint FacebookAI/xlm-roberta-base --data battles.csv --output bert",
    )
    add_data_options(parser)
    add_run_options(parser)
    _add_model_options(parser, "a BERT, RoBERTa, XLM-RoBERTa or DistilBERT", "512", "0")


def add_train_causal_llm(types: Any) -> None:
    """Add `causal_llm`."""
    parser = add_type(
        types,
        "causal_llm",
        train_causal_llm,
        "Fine-tune a Llama to rate prompts from 1 to 5 and write its artifact.",
        "routing-service train causal_llm --checkpoint meta-llama/Llama-3.1-8B --data battles.csv --output "
        "artifacts/causal_llm --quantize fp16 --gradient-checkpointing",
    )
    add_data_options(parser)
    add_run_options(parser)
    _add_model_options(parser, "a Llama or Mistral", "2048, templates included", "16")
    parser.add_argument(
        "--system-template",
        type=Path,
        metavar="F",
        help="the system turn (default: the checkpoint's, or a short one)",
    )
    parser.add_argument(
        "--classifier-template",
        type=Path,
        metavar="F",
        help="the user turn's text, with {question} where the prompt goes (default: the checkpoint's, or a short one)",
    )


def _add_model_options(parser: argparse.ArgumentParser, kinds: str, tokens: str, rank: str) -> None:
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR",
        help=f"what to start from, {kinds} with safetensors: a folder, or a Hugging Face id",
    )
    parser.add_argument(
        "--ties",
        choices=("weak", "half"),
        default="weak",
        help="what a tie counts for in the win rate: weak, nothing, as the weak model will do (RouteLLM's rule); or "
        "half a win (default weak)",
    )
    parser.add_argument(
        "--quantize", choices=("int8", "fp16"), help="the artifact's precision, as for export-onnx (default: float32)"
    )
    parser.add_argument(
        "--save-checkpoint",
        type=Path,
        metavar="DIR",
        help="keep the fine-tuned checkpoint there, for export-onnx",
    )
    parser.add_argument(
        "--finish", action="store_true", help="end an interrupted training with the best model that it has so far"
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--max-tokens", type=count, metavar="N", help=f"read so many of a text (default {tokens})")
    recipe.add_argument(
        "--lora-rank",
        type=_rank,
        metavar="R",
        help=f"train adapters of this rank, merged in the end; 0 trains the whole model (default {rank})",
    )
    recipe.add_argument("--epochs", type=count, metavar="N", help="at most so many")
    recipe.add_argument("--learning-rate", type=_amount, metavar="R", help="of AdamW, at its highest")
    recipe.add_argument("--warmup-share", type=_share, metavar="S", help="rise to it in this share of all updates")
    recipe.add_argument("--weight-decay", type=_amount, metavar="D", help="of AdamW")
    recipe.add_argument("--max-grad-norm", type=_amount, metavar="G", help="clip the gradient's norm to this")
    recipe.add_argument("--batch-size", type=count, metavar="N", help="rows in an update")
    recipe.add_argument(
        "--batch-tokens", type=count, metavar="N", help="tokens run at once, padding included: less takes less memory"
    )
    recipe.add_argument(
        "--patience",
        type=count,
        metavar="N",
        help="stop after so many evaluations, four an epoch, without gain",
    )
    recipe.add_argument(
        "--gradient-checkpointing", action="store_true", help="less memory, for about a third more time"
    )


def train_bert(options: argparse.Namespace) -> None:
    """Fine-tune an encoder and write its artifact."""

    def load() -> Any:
        from routing_lab.training.finetune import bert, request

        return bert, request

    bert, module = needing(EXTRA, load)
    request = _request(options, module.Request, bert, 0)
    train_and_report(lambda: bert.train(request), options)


def train_causal_llm(options: argparse.Namespace) -> None:
    """Fine-tune a Llama and write its artifact."""

    def load() -> Any:
        from routing_lab.training.finetune import causal_llm, request

        return causal_llm, request

    causal_llm, module = needing(EXTRA, load)
    request = _request(options, module.Request, causal_llm, causal_llm.LORA_RANK)
    templates = (options.system_template, options.classifier_template)
    train_and_report(lambda: causal_llm.train(request, templates), options)


def _request(options: argparse.Namespace, make: Callable[..., Any], trainer: Any, lora_rank: int) -> Any:
    from routing_lab.training.finetune.labels import Ties

    given = {name: value for name in _RECIPE if (value := getattr(options, name)) is not None}
    rank = lora_rank if options.lora_rank is None else options.lora_rank
    return make(
        checkpoint=options.checkpoint,
        data=options.data,
        output=options.output,
        recipe=trainer.recipe(rank, **given),
        max_tokens=options.max_tokens or trainer.MAX_TOKENS,
        ties=Ties(options.ties),
        lora_rank=rank,
        gradient_checkpointing=options.gradient_checkpointing,
        quantize=options.quantize,
        finish=options.finish,
        save_checkpoint=options.save_checkpoint,
        **data_arguments(options),
        **run_arguments(options),
    )


def _rank(text: str) -> int:
    if not text.isdecimal() or int(text) > 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is no rank from 0 to 1024")
    return int(text)


def _amount(text: str) -> float:
    return _number(text, math.inf)


def _share(text: str) -> float:
    return _number(text, 1.0)


def _number(text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= most or math.isinf(value):
        limits = f"from 0 to {most:g}" if most < math.inf else "of 0 or more"
        raise argparse.ArgumentTypeError(f"{text!r} is no number {limits}")
    return value
