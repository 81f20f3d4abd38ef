"""How to evaluate. The fields are options of `routing-service evaluate`: see `options`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from routing_lab.evals.baselines import Embed
from routing_lab.options import SEED, number, option, whole
from routing_lab.progress import Progress, terminal_progress


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to evaluate.

    Baselines are fitted on the folder `data`, by vectors from what `vectors` makes. `cache` keeps win rates, except
    those of the routers of `overwrite`, which are scored anew.
    """

    strong_model: str | None = field(
        default=None,
        metadata=option("the model's name in the benchmark", parse=str, metavar="M", shown="the router's"),
    )
    weak_model: str | None = field(
        default=None,
        metadata=option("the model's name in the benchmark", parse=str, metavar="M", shown="the router's"),
    )
    bins: int = field(
        default=10,
        metadata=option("RouteLLM's quantile bins", parse=whole(1, 1000), metavar="N", name="num_results"),
    )
    runs: int = field(
        default=10,
        metadata=option("runs of the random router", parse=whole(1, 10_000), metavar="N", name="random_iters"),
    )
    resamples: int = field(
        default=1000, metadata=option("bootstrap samples for the intervals", parse=whole(10, 1_000_000), metavar="N")
    )
    seed: int = field(default=0, metadata=option("random seed", parse=SEED, metavar="N"))
    processes: int = field(
        default=1, metadata=option("processes to score with", parse=whole(1, 256), metavar="N", name="parallel")
    )
    robustness: bool = field(
        default=False, metadata=option("also measure how often edits that keep a prompt's meaning change its decision")
    )
    robustness_share: float = field(
        default=0.5,
        metadata=option("share of strong calls at which --robustness decides", parse=number(0, 1), metavar="S"),
    )
    data: Path | None = None
    vectors: Callable[[], Embed] | None = None
    cache: Path | None = None
    overwrite: frozenset[str] = frozenset()
    progress: Progress = terminal_progress
