"""RouteLLM's figures against what its own code gave: `routellm/evals` of 0.2.0 under pandas 3.1 and NumPy 2.4.

`routellm_golden.json` holds, for each case, win rates (a list a run for a router of chance), both models' scores, and
what `Benchmark.evaluate` and `generate_results` made of them: points of threshold, strong calls and score; CPT, AUC and
APGR. Shares of calls and CPT are in per cent.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from routing_lab.evals.routellm_metrics import routellm_metrics

CASES = json.loads((Path(__file__).parent / "routellm_golden.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_figures_are_routellms(case: dict[str, Any]) -> None:
    found = routellm_metrics(case["win_rates"], case["strong"], case["weak"], case["bins"])
    thresholds, percent, scores = np.array(case["points"]).T
    exactly: Any = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(found.sweep.thresholds, thresholds, **exactly)
    np.testing.assert_allclose(found.sweep.strong_shares * 100, percent, **exactly)
    np.testing.assert_allclose(found.sweep.qualities, scores, **exactly)
    np.testing.assert_allclose([100 * share for share in found.cpt.values()], case["cpt"], **exactly)
    np.testing.assert_allclose([found.auc, found.apgr], [case["auc"], case["apgr"]], **exactly)
    assert found.sweep.strong_quality == pytest.approx(case["strong_quality"], rel=1e-12)
    assert found.sweep.weak_quality == pytest.approx(case["weak_quality"], rel=1e-12)


def test_edges_that_fall_together_are_kept_where_routellm_stops() -> None:
    strong, weak = np.array([1.0, 1, 1, 0]), np.array([0.0, 0, 1, 0])
    found = routellm_metrics([0.5, 0.5, 0.5, 0.5], strong, weak)
    assert len(found.sweep.thresholds) == 11
    assert set(found.sweep.strong_shares) == {0, 1}
    assert found.apgr == pytest.approx(0.5)
    assert found.cpt[0.5] == pytest.approx(0.5)


def test_without_a_gap_there_is_no_figure() -> None:
    found = routellm_metrics([0.1, 0.2, 0.3], [1, 0, 1], [0, 1, 1])
    assert math.isnan(found.apgr)
    assert all(math.isnan(share) for share in found.cpt.values())
    assert found.auc > 0


@pytest.mark.parametrize("bins", [1, 3, 10, 50])
def test_any_number_of_bins(bins: int) -> None:
    rng = np.random.default_rng(bins)
    found = routellm_metrics(rng.random(37), rng.random(37), rng.random(37), bins)
    assert len(found.sweep.thresholds) == bins + 1
    assert (np.diff(found.sweep.strong_shares) > 0).all() or bins > 36


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="bins"):
        routellm_metrics([0.1], [1], [0], 0)
    with pytest.raises(ValueError, match="finite"):
        routellm_metrics([math.nan], [1], [0])
