"""What a training of a `static` router is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from routing_lab.training.embeddings import EMBEDDINGS_OPTION
from routing_lab.training.request import TrainingRequest


@dataclass(frozen=True, kw_only=True)
class StaticRequest(TrainingRequest):
    """A `static` router. The same inputs and seed give the same files, byte for byte."""

    router_type = "static"
    trainer = "routing_lab.training.static.train"
    extra, packages = "train", ("lightgbm", "onnx", "safetensors", "sklearn")
    summary = "Train a static router and write its artifact. It takes a minute, so there is nothing to resume."
    example = "routing-service train static --data preferences.jsonl --output artifacts/static"

    embeddings: Path | None = field(default=None, metadata=EMBEDDINGS_OPTION)
