"""What the fine-tuning of a `bert` or a `causal_llm` router is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from export_onnx.quantize import QUANTIZED
from routing_lab.options import COUNT, number, option, whole
from routing_lab.training.finetune.labels import Ties
from routing_lab.training.request import ResumableRequest
from routing_service.errors import UsageError
from routing_service.extras import require

EVALUATIONS_PER_EPOCH = 4
_AMOUNT = number()


class LearningRates(NamedTuple):
    """The usual learning rate, at its highest: of the whole model, and of adapters, which learn at a higher one."""

    whole: float
    adapters: float

    def __str__(self) -> str:
        return f"{self.whole:g}, with adapters {self.adapters:g}"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is fine-tuned; the defaults are those for an encoder.

    `batch_size` rows make one update, run `batch_tokens` tokens at a time. The learning rate rises over `warmup_share`
    of all updates and falls to 0 over the rest. A `lora_rank` of 0 trains the whole model.
    """

    option_group: ClassVar = "recipe"
    usual_rates: ClassVar = LearningRates(whole=2e-5, adapters=2e-4)

    max_tokens: int = field(
        default=512,
        metadata=option(
            "the most tokens to read of a text, with special tokens and templates", parse=COUNT, metavar="N"
        ),
    )
    lora_rank: int = field(
        default=0,
        metadata=option(
            "train adapters of this rank, merged in the end; 0 trains the whole model",
            parse=whole(0, 1024),
            metavar="R",
        ),
    )
    epochs: int = field(default=3, metadata=option("the most epochs to train", parse=COUNT, metavar="N"))
    learning_rate: float | None = field(
        default=None,
        metadata=option(
            "AdamW's highest learning rate", parse=_AMOUNT, metavar="R", shown=lambda kind: str(kind.usual_rates)
        ),
    )
    warmup_share: float = field(
        default=0.06,
        metadata=option("share of the updates in which the learning rate rises", parse=number(0, 1), metavar="S"),
    )
    weight_decay: float = field(default=0.01, metadata=option("AdamW's weight decay", parse=_AMOUNT, metavar="D"))
    max_grad_norm: float = field(
        default=1.0, metadata=option("clip the norm of the gradient to this", parse=_AMOUNT, metavar="G")
    )
    batch_size: int = field(default=16, metadata=option("rows per update", parse=COUNT, metavar="N"))
    batch_tokens: int = field(
        default=8192,
        metadata=option("tokens to run at once, with padding; fewer need less memory", parse=COUNT, metavar="N"),
    )
    patience: int = field(
        default=EVALUATIONS_PER_EPOCH,
        metadata=option(
            f"stop after this many evaluations ({EVALUATIONS_PER_EPOCH} per epoch) without gain",
            parse=COUNT,
            metavar="N",
        ),
    )
    gradient_checkpointing: bool = field(default=False, metadata=option("less memory, for about a third more time"))

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate at its highest: the given one, or else the usual one."""
        if self.learning_rate is not None:
            return self.learning_rate
        return self.usual_rates.adapters if self.lora_rank else self.usual_rates.whole

    def recipe(self) -> dict[str, Any]:
        """The parts that decide the trained weights by name, as JSON."""
        parts = {
            part.name: getattr(self, part.name) for part in fields(Recipe) if part.name != "gradient_checkpointing"
        }
        return {**parts, "learning_rate": self.peak_learning_rate}


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest(Recipe, ResumableRequest):
    """A router that is fine-tuned from a checkpoint."""

    extra = "finetune"
    packages = ("torch", "transformers", "onnx", "safetensors", "huggingface_hub")
    checkpoint: str = field(
        metadata=option(
            "the model to start from: a folder with safetensors, or a Hugging Face id", parse=str, metavar="DIR"
        )
    )
    ties: Ties = field(
        default=Ties.WEAK,
        metadata=option(
            "what a tie counts for in the win rate: weak, nothing, as the weak model will do (RouteLLM's rule); or "
            "half a win",
            choices=Ties,
        ),
    )
    quantize: str | None = field(
        default=None,
        metadata=option("the artifact's precision, as for export-onnx", choices=QUANTIZED, shown="float32"),
    )
    save_checkpoint: Path | None = field(
        default=None,
        metadata=option(
            "also save the fine-tuned checkpoint, for export-onnx; a new or empty folder",
            parse=Path,
            metavar="DIR",
            repeated=False,
        ),
    )
    finish: bool = field(
        default=False,
        metadata=option("finish an interrupted training with its best model so far", repeated=False),
    )

    def check(self) -> None:
        """Refuse at once what would fail after hours.

        Raises:
            UsageError: beside what every training refuses, the folder for the checkpoint holds something else, or
                adapters cannot be trained as peft is not installed.
        """
        super().check()
        if self.lora_rank:
            require("--lora-rank", "routing-lab", self.extra, "peft")
        kept = self.save_checkpoint
        if kept is not None and kept.exists() and (not kept.is_dir() or any(kept.iterdir())):
            raise UsageError(f"--save-checkpoint {kept} exists and is not empty; name a new folder")

    def command(self, **instead: Any) -> str:
        """The command to repeat it, without folders; for `instead` see `to_command`."""
        return super().command(**{"learning_rate": self.peak_learning_rate, **instead})

    def settings(self) -> dict[str, Any]:
        """What decides the trained weights, beside checkpoint and data, as JSON."""
        return {
            "seed": self.seed,
            "ties": self.ties.value,
            "validation_share": self.validation_share,
            "recipe": self.recipe(),
            "models": {side: list(names) for side, names in self.sides._asdict().items()},
        }


@dataclass(frozen=True, kw_only=True)
class BertRequest(FinetuneRequest):
    """A `bert` router, from a BERT, RoBERTa, XLM-RoBERTa or DistilBERT."""

    router_type = "bert"
    trainer = "routing_lab.training.finetune.bert"
    summary = (
        "Fine-tune a BERT-like encoder (BERT, RoBERTa, XLM-RoBERTa or DistilBERT) on preference data and write its "
        "artifact."
    )
    example = "routing-service train bert --checkpoint FacebookAI/xlm-roberta-base --data battles.csv --output bert"


@dataclass(frozen=True, kw_only=True)
class CausalLLMRequest(FinetuneRequest):
    """A `causal_llm` router, from a Llama or a Mistral."""

    router_type = "causal_llm"
    trainer = "routing_lab.training.finetune.causal_llm"
    summary = "Fine-tune a Llama (or a Mistral) to rate prompts from 1 to 5 and write its artifact."
    example = (
        "routing-service train causal_llm --checkpoint meta-llama/Llama-3.1-8B --data battles.csv --output "
        "artifacts/causal_llm --quantize fp16 --gradient-checkpointing"
    )
    usual_rates = LearningRates(whole=1e-5, adapters=1e-4)

    max_tokens: int = 2048
    lora_rank: int = 16
    epochs: int = 2
    system_template: Path | None = field(
        default=None,
        metadata=option("the system turn", parse=Path, metavar="F", shown="the checkpoint's, or a short one"),
    )
    classifier_template: Path | None = field(
        default=None,
        metadata=option(
            "the user turn's text, with {question} where the prompt goes",
            parse=Path,
            metavar="F",
            shown="the checkpoint's, or a short one",
        ),
    )
