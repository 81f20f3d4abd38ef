"""What a training of a `static` router is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from routing_lab.options import option
from routing_lab.training.request import TrainingRequest
from routing_service.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class StaticRequest(TrainingRequest):
    """A `static` router. The same inputs and seed give the same files, byte for byte."""

    router_type = "static"
    trainer = "routing_lab.training.static.train"
    extra, packages = "train", ("lightgbm", "onnx", "sklearn")
    summary = "Train a static router and write its artifact. It takes some minutes, so there is nothing to resume."
    example = "routing-service train static --data preferences.jsonl --output artifacts/static"

    topics: Path | None = field(
        default=None,
        metadata=option(
            "a folder of asks with topics, for prompts unlike those of --data; without it every prompt is scored by "
            "what your data say",
            parse=Path,
            metavar="DIR",
        ),
    )
    table: Path | None = field(
        default=None,
        metadata=option(
            "the artifact whose table of word pieces is used", parse=Path, metavar="DIR", shown="the shipped one"
        ),
    )
    wheels: Path | None = field(
        default=None,
        metadata=option(
            "make a new table from this folder of wheels; it takes ten minutes and PyTorch", parse=Path, metavar="DIR"
        ),
    )

    def check(self) -> None:
        """As every training's, and a table is made or taken, not both.

        Raises:
            UsageError: it is both.
        """
        super().check()
        if self.table and self.wheels:
            raise UsageError("--wheels makes a new table and --table takes one; leave one of them out")
