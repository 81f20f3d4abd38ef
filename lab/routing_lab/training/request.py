"""What every training is asked to do. The fields are the options of `routing-service train`: see `options`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from routing_lab.data.preferences import Names, Sides, sides
from routing_lab.data.splits import Overlap
from routing_lab.options import SEED, number, option, to_command
from routing_service.artifacts.writing import check_output
from routing_service.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """A training.

    Attributes:
        router_type: the type of router that it makes.
        trainer: the module whose `train` does it, given the request.
        extra: the extra of `routing-lab` that brings `packages`, which the trainer needs.
        summary: what it does, in a sentence.
        example: a command line.
    """

    router_type: ClassVar[str]
    trainer: ClassVar[str]
    extra: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    summary: ClassVar[str]
    example: ClassVar[str]

    data: Sequence[Path] = field(
        metadata=option(
            "JSON lines, CSV or Parquet of per-model scores or battles, folders of them, or benchmark folders in "
            "RouteLLM's layout (their dev half)",
            parse=Path,
            metavar="F",
            many=True,
        )
    )
    output: Path = field(metadata=option("the artifact's folder; replaced whole", parse=Path, metavar="DIR"))
    seed: int = field(
        default=0,
        metadata=option("random seed; the same data and seed give the same artifact", parse=SEED, metavar="N"),
    )
    strong_model: Names | None = field(
        default=None,
        metadata=option(
            "the strong model in your data; several count as one, under the first name",
            parse=str,
            metavar="M",
            many=True,
        ),
    )
    weak_model: Names | None = field(
        default=None,
        metadata=option(
            "the weak model in your data; several count as one, under the first name", parse=str, metavar="M", many=True
        ),
    )
    report_on: Sequence[Path] = field(
        default=(),
        metadata=option(
            "benchmarks that the router will be reported on, as JSON lines with a prompt or folders in RouteLLM's "
            "layout: their questions must not be trained on",
            parse=Path,
            metavar="F",
            many=True,
        ),
    )
    overlap: Overlap = field(
        default=Overlap.REFUSE,
        metadata=option(
            flags={
                Overlap.DROP: "leave out rows with a question of a --report-on benchmark",
                Overlap.ALLOW: "train on such rows too; the manifest says so",
            }
        ),
    )

    @property
    def sides(self) -> Sides:
        """The names of both models, the default pair's where none is given.

        Raises:
            UsageError: a model is on both sides.
        """
        return sides(self.strong_model, self.weak_model)

    def check(self) -> None:
        """Refuse at once what would fail after hours.

        Raises:
            UsageError: the output holds something else, the models are the same, or options contradict each other.
        """
        if self.overlap is not Overlap.REFUSE and not self.report_on:
            raise UsageError(
                f"--{self.overlap}-overlap is about the benchmarks of --report-on; name them, or leave it out"
            )
        check_output(self.output)
        _ = self.sides

    def command(self, **instead: Any) -> str:
        """The command to repeat it, without folders; for `instead` see `to_command`."""
        return f"routing-service train {self.router_type} {to_command(self, output='DIR', **instead)}"


@dataclass(frozen=True, kw_only=True)
class ResumableRequest(TrainingRequest):
    """A training that has a validation split, and goes on where it was interrupted."""

    validation_share: float = field(
        default=0.1,
        metadata=option(
            "share of prompts held out to decide when to stop; near-duplicates stay together",
            parse=number(0, 0.5, above=True),
            metavar="S",
        ),
    )
    work: Path | None = field(
        default=None,
        metadata=option(
            "folder of checkpoints until the artifact is done; the same command resumes from it",
            parse=Path,
            metavar="DIR",
            shown="OUTPUT.work",
            repeated=False,
        ),
    )
    restart: bool = field(
        default=False, metadata=option("first delete what an interrupted training left", repeated=False)
    )

    @property
    def work_folder(self) -> Path:
        """Where the work is kept: beside the output, unless told otherwise."""
        return self.work or self.output.with_name(self.output.name + ".work")
