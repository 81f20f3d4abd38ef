"""What RouteLLM's data must give, to the last digit that its README and paper print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from routing_lab.evals.benchmarks import for_pair, take_split
from routing_lab.evals.curves import optimal_curve
from routing_lab.evals.metrics import apgr
from routing_lab.evals.registry import load_benchmark
from routing_lab.evals.routellm_metrics import routellm_metrics

from routing_service.models import ROUTELLM_PAIR


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "prompts", "audit", "strong", "weak", "optimal"),
    [
        ("mmlu", 14_037, 7_059, 80.59, 68.09, 1.285),
        ("gsm8k", 1_307, 638, 85.77, 63.73, 1.121),
        ("mt-bench", 72, 72, 9.2118, 8.2812, 0.964),
    ],
)
def test_the_data_gives_the_published_numbers(
    shared_dir: Path, name: str, prompts: int, audit: int, strong: float, weak: float, optimal: float
) -> None:
    data = load_benchmark(name, shared_dir / "data" / "routellm_evals")
    pair = for_pair(data, *ROUTELLM_PAIR)
    digits = 4 if name == "mt-bench" else 2
    assert len(data.prompts) == prompts
    assert (round(pair.strong.mean(), digits), round(pair.weak.mean(), digits)) == (strong, weak)
    assert round(apgr(optimal_curve(pair.strong, pair.weak)), 3) == optimal
    draws = np.random.default_rng(0).random((3000 if prompts < 100 else 100, prompts))
    assert routellm_metrics(draws, pair.strong, pair.weak).apgr == pytest.approx(0.5, abs=0.005)
    assert len(take_split(data, "audit").prompts) == audit
