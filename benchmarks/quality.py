"""The whole table of the shipped router's quality, beside the baselines.

    python -m benchmarks.quality --data ../shared/data/routellm_evals

- audit halves of MMLU and GSM8K, and MT-Bench: APGR on the exact curve with its interval, calls to the strong model for
  half of the gap, calibration error, and the flips of `--robustness`;
- cross-validated figures of the other sources, from the artifact's manifest;
- asks of `asks.jsonl`, our own, five easy and five hard ones in each of twenty languages, and more in English:
  the share that goes to the strong model at the threshold for 50 %. `docs/models.md` says which of them were looked at
  while settings were chosen.

Takes some minutes. It needs the lab with its extra `train`. Writes `benchmarks/out/quality-TIME.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from routing_lab.evals.benchmarks import take_split
from routing_lab.evals.evaluation import evaluate
from routing_lab.evals.registry import load_benchmark
from routing_lab.evals.results import BenchmarkResult
from routing_lab.evals.routers import with_unconfigured
from routing_lab.evals.settings import Settings
from routing_lab.training.static.vectors import shipped_vectors

from benchmarks.decision import FOLDER
from routing_service.artifacts.loading import DEFAULT_ARTIFACT
from routing_service.artifacts.manifest import read_manifest
from routing_service.config import load_config
from routing_service.engine.build import build_engine
from routing_service.engine.types import RouteRequest, Tier
from routing_service.errors import RoutingServiceError

ASKS = Path(__file__).with_name("asks.jsonl")
ROUTERS = ("static", "knn", "clusters")
BENCHMARKS = ("mmlu", "gsm8k", "mt-bench")


def measured(data: Path) -> list[dict[str, Any]]:
    """A row for each router on each benchmark's held-out prompts."""
    config = with_unconfigured(load_config(None), list(ROUTERS), 0)
    benchmarks = [take_split(load_benchmark(name, data), "audit") for name in BENCHMARKS]
    results = evaluate(config, ROUTERS, benchmarks, Settings(data=data, vectors=shipped_vectors, robustness=True))
    return [row for result in results for row in _rows(result)]


def _rows(result: BenchmarkResult) -> Iterable[dict[str, Any]]:
    for router in result.routers:
        bounds = router.exact.intervals.apgr
        yield {
            "benchmark": result.paired.data.title,
            "router": router.name,
            "APGR": router.exact.apgr,
            "low": bounds.low,
            "high": bounds.high,
            "CPT(50%)": router.exact.cpt[0.5],
            "calibration error": router.probabilities.calibration_error,
            "flips": router.robustness.mean_flips if router.robustness else None,
        }


def strong_shares(asks: Sequence[dict[str, str]]) -> dict[str, dict[str, float]]:
    """By language, the share of the easy ("weak") and of the hard ("strong") asks that goes to the strong model."""
    engine = build_engine(load_config(None))
    shares: dict[str, dict[str, list[bool]]] = {}
    for ask in asks:
        decision = engine.decide(RouteRequest(ask["prompt"], strong_share=0.5))
        found = shares.setdefault(ask["language"], {"weak": [], "strong": []})
        found[ask["expected"]].append(decision.tier is Tier.STRONG)
    engine.close()
    return {
        language: {side: sum(strong) / len(strong) for side, strong in found.items()}
        for language, found in shares.items()
    }


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lines of aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def main() -> int:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="RouteLLM's folder routellm/evals")
    options = parser.parse_args()
    asks = [json.loads(line) for line in ASKS.read_text(encoding="utf-8").splitlines()]
    try:
        rows, shares = measured(options.data), strong_shares(asks)
    except RoutingServiceError as error:
        print(f"benchmarks.quality: error: {error}", file=sys.stderr)
        return 1
    manifest = read_manifest(DEFAULT_ARTIFACT)
    head = ("benchmark", "router", "APGR [95 %]", "CPT(50%)", "calibration error", "flips")
    print(
        table(
            [
                head,
                *(
                    (
                        row["benchmark"],
                        row["router"],
                        f"{row['APGR']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
                        f"{row['CPT(50%)']:.1%}",
                        f"{row['calibration error']:.3f}",
                        "" if row["flips"] is None else f"{row['flips']:.1%}",
                    )
                    for row in rows
                ),
            ]
        )
    )
    found = manifest.metrics.get("by_source", {})
    print("\nAPGR by cross-validation, from the manifest:")
    print(table([(name, f"{each['apgr_mean_of_folds']:.3f}") for name, each in sorted(found.items())]))
    print(f"\nstrong at 50 %, of {len(asks)} asks:")
    print(
        table(
            [
                ("language", "easy", "hard"),
                *((name, f"{each['weak']:.0%}", f"{each['strong']:.0%}") for name, each in sorted(shares.items())),
            ]
        )
    )
    path = FOLDER / "out" / time.strftime("quality-%Y%m%dT%H%M%SZ.json", time.gmtime())
    path.parent.mkdir(exist_ok=True)
    document = {"revision": manifest.revision, "benchmarks": rows, "metrics": manifest.metrics, "asks": shares}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
