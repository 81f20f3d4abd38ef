"""How good the `static` router is on benchmarks that RouteLLM reports: APGR, CPT and calibration.

    python -m benchmarks.quality --data ../shared/data/routellm_evals --plot docs/quality.svg

The audit halves of MMLU and GSM8K, and MT-Bench, are for reporting once a router ships: whoever tunes anything on them
has no measure left. While developing, use `--half dev`, and trust the cross-validation in the artifact's manifest, for
the shipped router has seen the dev half.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.quality_plot import Panel, draw
from routing_service.artifacts.loading import DEFAULT_ARTIFACT, open_artifact
from routing_service.errors import RoutingServiceError, UsageError
from routing_service.evals import metrics
from routing_service.routers.static import StaticRouter
from routing_service.training.routellm_folders import (
    BENCHMARKS,
    audit_rows,
    benchmark_folders,
    contaminated_prompts,
    dev_rows,
    response_files,
)
from routing_service.training.sources import DEFAULT_STRONG, DEFAULT_WEAK, canonical_model

BATCH = 64
TITLES = {
    "mmlu": ("MMLU", "right answers"),
    "gsm8k": ("GSM8K", "right answers"),
    "mt_bench": ("MT-Bench", "grade (1 to 10)"),
}


@dataclass(frozen=True, slots=True)
class Responses:
    """Prompts of a benchmark, and the two models' scores on each."""

    prompts: list[str]
    strong: npt.NDArray[np.float64]
    weak: npt.NDArray[np.float64]


def read_right_or_wrong(folder: Path, half: str) -> Responses:
    """MMLU or GSM8K: 1 for a right answer, 0 for a wrong one."""
    read = {"audit": audit_rows, "dev": dev_rows}[half]
    rows = [row for file in response_files(folder) for row in read(folder, file, DEFAULT_STRONG, DEFAULT_WEAK)]
    return Responses(
        [row.prompt for row in rows], np.array([row.strong for row in rows]), np.array([row.weak for row in rows])
    )


def read_mt_bench(folder: Path) -> Responses:
    """MT-Bench: routed on the first turn, and the mean of the judge's grades, 1 to 10, over both turns."""
    grades: dict[tuple[int, str], list[float]] = defaultdict(list)
    for judgement in _json_lines(folder / "judgements.jsonl"):
        grades[judgement["question_id"], canonical_model(judgement["model"])].append(judgement["score"])
    contaminated = contaminated_prompts(folder)
    questions = [q for q in _json_lines(folder / "question.jsonl") if not contaminated.intersection(q["turns"])]

    def graded(model: str) -> npt.NDArray[np.float64]:
        return np.array([np.mean(grades[q["question_id"], canonical_model(model)]) for q in questions])

    return Responses([q["turns"][0] for q in questions], graded(DEFAULT_STRONG), graded(DEFAULT_WEAK))


def score(router: StaticRouter, prompts: Sequence[str]) -> list[float]:
    """The router's win rates, in order."""
    batches = (prompts[start : start + BATCH] for start in range(0, len(prompts), BATCH))
    return [rate for batch in batches for rate in router.score(batch, router.models).strong_win_rates]


def report(name: str, responses: Responses, rates: Sequence[float], bins: int) -> float:
    """Print one benchmark's figures, and return its APGR."""
    sweep = metrics.threshold_sweep(rates, responses.strong, responses.weak, bins)
    apgr = metrics.apgr(sweep)
    cpt = [f"CPT({x:.0%}) {metrics.call_performance_threshold(sweep, x):.1%}" for x in (0.2, 0.5, 0.8)]
    print(f"{name}: {len(rates)} prompts, weak {sweep.weak_quality:.4f}, strong {sweep.strong_quality:.4f}")
    print(f"  APGR {apgr:.4f}   {'   '.join(cpt)}")
    outcomes = (1 + np.sign(responses.strong - responses.weak)) / 2
    reliability = metrics.reliability(rates, outcomes)
    print(f"  log loss {metrics.log_loss(rates, outcomes):.4f}, always {outcomes.mean():.3f} would have ", end="")
    print(f"{metrics.log_loss(np.full(len(rates), outcomes.mean()), outcomes):.4f}")
    print(f"  calibration error {metrics.calibration_error(reliability):.4f}; mean score and outcome by tenth:")
    print("    " + "  ".join(f"{part.mean_score:.2f}/{part.mean_target:.2f}" for part in reliability))
    return apgr


def main() -> None:
    """Score and report each benchmark that the data folder has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="RouteLLM's evals, as folders")
    parser.add_argument(
        "--artifact", type=Path, default=DEFAULT_ARTIFACT, metavar="DIR", help="default: the shipped one"
    )
    parser.add_argument("--half", choices=("audit", "dev"), default="audit", help="of MMLU and GSM8K (default: audit)")
    parser.add_argument("--bins", type=int, default=10, metavar="N", help="thresholds of the sweep, less one")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw quality against strong calls here, e.g. q.svg")
    options = parser.parse_args()
    try:
        run(options)
    except RoutingServiceError as error:
        sys.exit(f"benchmarks.quality: {error}")


def run(options: argparse.Namespace) -> None:
    """Score each benchmark that the data folder has, print its figures, and draw them if asked to."""
    router = StaticRouter(open_artifact(options.artifact, "static"))
    folders = benchmark_folders(options.data)
    print(f"router {router.revision}, {options.half} half{' (trained on: in-sample)' * (options.half == 'dev')}")
    panels: dict[str, Panel] = {}
    for name in (*BENCHMARKS, "mt_bench"):
        if name not in folders or (name == "mt_bench" and options.half == "dev"):
            continue
        responses = (
            read_mt_bench(folders[name]) if name == "mt_bench" else read_right_or_wrong(folders[name], options.half)
        )
        rates = score(router, responses.prompts)
        title, unit = TITLES[name]
        apgr = report(name, responses, rates, options.bins)
        panels[title] = Panel(np.array(rates), responses.strong, responses.weak, apgr, unit)
    if not panels:
        raise UsageError(f"--data {options.data} holds none of the folders {', '.join(TITLES)}")
    if options.plot is not None:
        draw(panels, options.plot)
        print(f"drawn: {options.plot}")


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    main()
