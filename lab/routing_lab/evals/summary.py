"""What an evaluation found, as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from routing_lab.evals.curves import Interval
from routing_lab.evals.provenance import Exposure
from routing_lab.evals.report import notes, points
from routing_lab.evals.results import BenchmarkResult, ExactMetrics, RouterResult


def summaries(results: Sequence[BenchmarkResult]) -> str:
    """Every benchmark as text: first those that no router has learnt from."""
    return "\n\n".join(summary(result) for result in sorted(results, key=lambda result: result.in_sample))


def summary(result: BenchmarkResult) -> str:
    """One benchmark as text: the pair, a table of routers and reference lines, each router's sweep, notes."""
    data = result.paired.data
    counted = [f"{len(data.prompts):,} prompts"]
    if repeated := len(data.prompts) - len(data.distinct_prompts):
        counted.append(f"{repeated:,} of them repeated and scored once")
    if data.left_out:
        whole = "" if data.split == "all" or data.held_out else " of the whole benchmark"
        counted.append(f"{data.left_out:,} contaminated ones{whole} left out")
    if result.paired.unscored:
        counted.append(f"{result.paired.unscored:,} without a score of both models left out")
    split = "" if data.split == "all" else f", {data.split} half"
    if data.held_out and data.split != "all":
        split = ", held out whole"
    lines = [
        f"{data.title}{split}: {', '.join(counted)}",
        f"strong {result.paired.models.strong}: {result.strong_quality:.4f}   weak {result.paired.models.weak}: "
        f"{result.weak_quality:.4f}   {data.unit}",
        "",
        *_table(result),
    ]
    for router in result.routers:
        lines += ["", *_sweep_lines(router)]
    # Some are of the benchmark, and every router has them.
    said = list(dict.fromkeys([*data.notes, *(note for router in result.routers for note in notes(router, result))]))
    return "\n".join([*lines, *([""] if said else []), *(f"note: {note}" for note in said)])


HEADER = (
    *("router", "sample", "APGR", "AUC", "CPT(20%)", "CPT(50%)", "CPT(80%)"),
    *("APGR [95 % interval]", "CPT(20%)", "CPT(50%)", "CPT(80%)"),
)


def _table(result: BenchmarkResult) -> list[str]:
    rows: list[tuple[str, ...]] = [HEADER]
    for router in sorted(result.routers, key=_rank):
        theirs, exact = router.routellm, router.exact
        rows.append(
            (
                router.name,
                _sample(router, result),
                _apgr(theirs.apgr),
                f"{theirs.auc:.3f}",
                *(_percent(value) for value in theirs.cpt.values()),
                f"{_apgr(exact.apgr)} {_range(exact.intervals.apgr, _apgr)}",
                *_exact_cpt(exact),
            )
        )
    for name, line in (("random", result.random), ("optimal", result.optimal)):
        rows.append((f"({name})", "", "", "", "", "", "", _apgr(line.apgr), *(_percent(v) for v in line.cpt.values())))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    starts = [sum(widths[:i]) + 2 * i for i in range(len(widths))]
    title = f"{'':{starts[2]}}{'by RouteLLM: quantile bins':{starts[7] - starts[2]}}on the exact curve"
    table = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [title, *(line.rstrip() for line in table)]


def _rank(router: RouterResult) -> tuple[int, float]:
    """What was held out before what may have been learnt from, and that before what was; the best first."""
    suspect = {Exposure.UNKNOWN: 1, Exposure.IN_SAMPLE: 2}
    return suspect.get(router.sample.exposure, 0), -_sortable(router.exact.apgr)


def _sample(router: RouterResult, result: BenchmarkResult) -> str:
    sample = router.sample
    if sample.exposure is Exposure.IN_SAMPLE and sample.learnt is not None:
        return f"{sample.exposure}, {sample.learnt / len(result.paired.data.prompts):.0%}"
    return "-" if sample.exposure is Exposure.UNTRAINED else sample.exposure


def _exact_cpt(exact: ExactMetrics) -> list[str]:
    return [f"{_percent(value)} {_range(exact.intervals.cpt[x], _percent)}" for x, value in exact.cpt.items()]


def _sweep_lines(router: RouterResult) -> Iterator[str]:
    probable = router.probabilities
    yield (
        f"{router.name} {router.revision}: as a probability, calibration error {probable.calibration_error:.4f}, "
        f"log loss {probable.log_loss:.4f} (always the mean: {probable.log_loss_of_constant:.4f})"
    )
    yield "  threshold, strong calls, average score"
    for threshold, share, quality in points(router):
        yield f"  {threshold:.5f}  {share:7.2%}  {quality:.4f}"
    if (found := router.robustness) is not None:
        yield (
            f"  flips at {found.strong_share:.0%} strong calls (threshold {found.threshold:.5f}), of {found.prompts} "
            f"prompts: mean {found.mean_flips:.1%}; robustness {1 - found.mean_flips:.3f}"
        )
        for name, flipped in found.flips.items():
            yield f"  {flipped:7.1%}  {name}"


def _range(interval: Interval, shown: Any) -> str:
    return "[-]" if math.isnan(interval.low) else f"[{shown(interval.low)}, {shown(interval.high)}]"


def _apgr(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def _sortable(value: float) -> float:
    return -math.inf if math.isnan(value) else value
