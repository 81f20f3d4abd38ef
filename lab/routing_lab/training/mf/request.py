"""What a training of an `mf` router is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from routing_lab.options import COUNT, number, option
from routing_lab.training.embeddings import EMBEDDINGS_OPTION
from routing_lab.training.request import ResumableRequest

_AMOUNT = number(0, 1000)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train. The defaults are those that did best, by cross-validation on the dev halves of MMLU and GSM8K."""

    option_group: ClassVar = "recipe"

    hidden: int = field(
        default=128,
        metadata=option("length of a model's vector", parse=COUNT, metavar="N"),
    )
    noise: float = field(
        default=0.05,
        metadata=option(
            "standard deviation of the noise added to each embedding at each step (RouteLLM's alpha)",
            parse=_AMOUNT,
            metavar="A",
        ),
    )
    learning_rate: float = field(default=1e-3, metadata=option("Adam's learning rate", parse=_AMOUNT, metavar="R"))
    weight_decay: float = field(default=1e-5, metadata=option("Adam's weight decay", parse=_AMOUNT, metavar="D"))
    batch_size: int = field(default=64, metadata=option("battles per step", parse=COUNT, metavar="N"))
    epochs: int = field(default=60, metadata=option("the most epochs to train", parse=COUNT, metavar="N"))
    patience: int = field(
        default=8,
        metadata=option("stop after this many epochs without a lower validation loss", parse=COUNT, metavar="N"),
    )

    def recipe(self) -> dict[str, Any]:
        """The parts of the recipe by name, as JSON."""
        return {part.name: getattr(self, part.name) for part in fields(Recipe)}


@dataclass(frozen=True, kw_only=True)
class MatrixFactorizationRequest(Recipe, ResumableRequest):
    """An `mf` router. The same inputs and seed give the same files, byte for byte."""

    router_type = "mf"
    trainer = "routing_lab.training.mf.train"
    extra, packages = "train", ("onnx", "safetensors")
    summary = "Train a matrix factorization router over local embeddings and write its artifact."
    example = (
        "routing-service train mf --data battles.csv --output artifacts/mf --strong-model gpt-4 --weak-model mixtral"
    )

    encoder: Path | None = field(
        default=None,
        metadata=option(
            "an encoder made by `export-onnx encoder`, which is copied into the artifact",
            parse=Path,
            metavar="DIR",
            shown="word vectors",
        ),
    )
    embeddings: Path | None = field(default=None, metadata=EMBEDDINGS_OPTION)
    drop_ties: bool = field(
        default=False, metadata=option("leave ties out, as RouteLLM does, instead of counting them as half a win")
    )

    def settings(self) -> dict[str, Any]:
        """What decides the result beside the data and the encoder, as JSON."""
        return {
            "seed": self.seed,
            "ties": "drop" if self.drop_ties else "half",
            "validation_share": self.validation_share,
            "recipe": self.recipe(),
        }
