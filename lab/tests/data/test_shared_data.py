"""The rules on what may be trained on, held against the real data and the artifact that ships."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from routing_lab.data.halves import in_dev_half
from routing_lab.data.leaks import LeakGuard
from routing_lab.data.preferences import PreferenceData, load_preferences
from routing_lab.data.routellm_files import contaminated_prompts
from routing_lab.data.routellm_folders import benchmark_folders, held_out_prompts
from routing_lab.data.splits import Overlap, keep_apart
from routing_lab.evals.routellm_benchmarks import Gsm8k, Mmlu, MtBench

from routing_service.artifacts.loading import DEFAULT_ARTIFACT, open_artifact
from routing_service.asks.reader import AskReader
from routing_service.models import ROUTELLM_PAIR
from routing_service.rows.reader import RowFile


@pytest.fixture(scope="module")
def data(shared_dir: Path) -> PreferenceData:
    """Every row that there is; nobody may change it."""
    return load_preferences(
        [shared_dir / "data" / "preferences", shared_dir / "data" / "routellm_evals"], *ROUTELLM_PAIR
    )


@pytest.mark.shared
def test_no_held_out_prompt_is_trained_on(shared_dir: Path, data: PreferenceData) -> None:
    folders = benchmark_folders(shared_dir / "data" / "routellm_evals")
    assert set(folders) == {"mmlu", "gsm8k", "mt_bench"}
    contaminated = set().union(*(contaminated_prompts(folder) for folder in folders.values()))
    guard = LeakGuard(prompt for folder in folders.values() for prompt in held_out_prompts(folder))
    sources = {example.source for example in data.examples}
    assert {"mmlu", "gsm8k", "arena-bench-v1"} <= sources
    assert "mt_bench" not in sources
    for example in data.examples:
        assert not guard.leaks(example.prompt)
        if example.source in folders:
            assert in_dev_half(example.prompt)
            assert example.prompt not in contaminated


@pytest.mark.shared
def test_no_prompt_of_a_benchmark_is_left_when_it_is_reported_on(shared_dir: Path, data: PreferenceData) -> None:
    files = [replace(file) for file in data.files]
    split = keep_apart(data.examples, [shared_dir / "data" / "routellm_evals"], Overlap.DROP, files)
    assert {example.source for example in split.rows}.isdisjoint({"mmlu", "gsm8k"})
    assert 0 < len(data.examples) - len(split.rows) == sum(file.overlap for file in files)
    assert split.benchmarks["mmlu"]["benchmark_prompts"] == 14_037
    assert split.benchmarks["gsm8k"]["benchmark_prompts"] == 1_307
    assert split.benchmarks["mt-bench"]["benchmark_prompts"] == 72
    # Beside the benchmarks' own rows few others go: the check does not take like for same.
    others = sum(example.source not in ("mmlu", "gsm8k") for example in data.examples)
    left = sum(example.source not in ("mmlu", "gsm8k") for example in split.rows)
    assert left > 0.99 * others


def test_the_shipped_router_is_as_good_as_it_must_be_and_small() -> None:
    artifact = open_artifact(DEFAULT_ARTIFACT, "static")
    metrics = artifact.manifest.metrics["by_source"]
    for name, least in (("mmlu", 0.63), ("gsm8k", 0.60)):
        assert metrics[name]["apgr_pooled"] >= least
        assert metrics[name]["apgr_mean_of_folds"] >= least
    assert metrics["all"]["calibration_error"] < 0.02
    assert sum(path.stat().st_size for path in DEFAULT_ARTIFACT.iterdir()) < 12_000_000


@pytest.mark.shared
def test_benchmarks_and_preferences_are_read_as_they_are(shared_dir: Path) -> None:
    """Figures of routers that were there before anything was stripped stand, and training sees the same prompts."""
    asks = AskReader()
    folder = shared_dir / "data" / "routellm_evals"
    prompts = [prompt for benchmark in (Mmlu(), Gsm8k(), MtBench()) for prompt in benchmark.load(folder).prompts]
    golden = json.loads((shared_dir / "golden" / "routellm" / "prompts.json").read_text())
    assert all(asks.prompt(prompt).text is prompt for prompt in (*prompts, *golden))
    files = sorted((shared_dir / "data" / "preferences").iterdir())
    rows = {row.values["prompt"] for path in files for row in RowFile(path, ["prompt"])}
    assert len(rows) > 10_000
    # These end with passages or a table, and a question beside them.
    assert len([prompt for prompt in rows if asks.prompt(prompt).text is not prompt]) <= 2
