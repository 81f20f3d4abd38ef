"""In-sample is said whenever an artifact's manifest admits it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from routing_lab.data.halves import in_dev_half
from routing_lab.data.splits import load_benchmarks
from routing_lab.evals.benchmarks import BenchmarkData, take_split
from routing_lab.evals.provenance import Exposure, sample_of

from routing_service.artifacts.loading import DEFAULT_ARTIFACT
from routing_service.artifacts.manifest import Manifest, SelfTest, read_manifest
from routing_service.models import ModelPair
from tests.support.benchmarks import write_lines

PROMPTS = tuple(f"prompt {i}" for i in range(40))
DEV = sum(map(in_dev_half, PROMPTS))
GSM8K = BenchmarkData("gsm8k", "GSM8K", "%", PROMPTS, {"m": np.zeros(40)}, halves=True, files={"gsm8k/r.csv": "aa"})
OWN = BenchmarkData("own", "own", "score", PROMPTS, {"m": np.zeros(40)}, files={"own.jsonl": "bb"})


def manifest(**provenance: Any) -> Manifest:
    return Manifest("static", ModelPair("a", "b"), 0, {}, "MIT", SelfTest(0.1, ()), provenance=provenance)


def file(name: str, digest: str = "cc", **counts: int) -> dict[str, Any]:
    return {"name": name, "sha256": digest, "rows": 3, **counts}


DROPPED = {"gsm8k": {"overlap": "dropped", "prompts": 3}}


@pytest.mark.parametrize(
    ("provenance", "data", "exposure", "learnt"),
    [
        ({"data": [file("gsm8k/gsm8k_responses.csv")]}, GSM8K, Exposure.IN_SAMPLE, DEV),
        ({"data": [file("gsm8k/gsm8k_responses.csv")]}, take_split(GSM8K, "dev"), Exposure.IN_SAMPLE, DEV),
        ({"data": [file("gsm8k/gsm8k_responses.csv")]}, take_split(GSM8K, "audit"), Exposure.OUT_OF_SAMPLE, 0),
        ({"data": [file("mmlu/mmlu_anatomy.csv")]}, GSM8K, Exposure.OUT_OF_SAMPLE, 0),
        ({"data": [file("renamed.jsonl", "bb")]}, OWN, Exposure.IN_SAMPLE, None),
        ({"data": [file("data/own.jsonl")]}, OWN, Exposure.UNKNOWN, None),
        # Whether its prompts are among those of another file, nobody has looked.
        ({"data": [file("other.jsonl")]}, OWN, Exposure.UNKNOWN, None),
        ({"data": [], "benchmarks": {"own": {"overlap": "dropped", "prompts": 4}}}, OWN, Exposure.OUT_OF_SAMPLE, 0),
        (
            {"data": [file("other.jsonl")], "benchmarks": {"own": {"overlap": "allowed", "prompts": 4}}},
            OWN,
            Exposure.IN_SAMPLE,
            4,
        ),
        # --drop-overlap on the benchmark that is itself among the data leaves nothing of it, or some of it.
        ({"data": [file("gsm8k/r.csv", "aa", used=0)], "benchmarks": DROPPED}, GSM8K, Exposure.OUT_OF_SAMPLE, 0),
        ({"data": [file("gsm8k/r.csv", "aa", used=2)], "benchmarks": DROPPED}, GSM8K, Exposure.IN_SAMPLE, DEV),
        ({"data": [file("own.jsonl", "bb", used=0)]}, OWN, Exposure.UNKNOWN, None),
        (
            {"data": [file("other.jsonl")], "benchmarks": {"gsm8k": {"overlap": "allowed", "prompts": 39}}},
            take_split(GSM8K, "audit"),
            Exposure.IN_SAMPLE,
            None,
        ),
        ({}, OWN, Exposure.UNKNOWN, None),
        ({"data": "nonsense", "benchmarks": 3}, OWN, Exposure.UNKNOWN, None),
    ],
)
def test_what_a_manifest_admits(provenance: Any, data: BenchmarkData, exposure: Exposure, learnt: int | None) -> None:
    found = sample_of(manifest(**provenance), data)
    assert (found.exposure, found.learnt) == (exposure, learnt)
    assert found.note


def test_the_shipped_router_learnt_the_dev_halves_and_nothing_else_of_them() -> None:
    shipped = read_manifest(DEFAULT_ARTIFACT)
    for name in ("mmlu", "gsm8k"):
        data = replace(GSM8K, name=name)
        assert sample_of(shipped, data).exposure is Exposure.IN_SAMPLE
        assert sample_of(shipped, take_split(data, "audit")).exposure is Exposure.OUT_OF_SAMPLE
    assert sample_of(shipped, replace(OWN, name="mt-bench", held_out=True)).exposure is Exposure.OUT_OF_SAMPLE


def test_a_check_against_another_file_of_that_name_vouches_for_nothing(tmp_path: Path) -> None:
    def record(prompts: tuple[str, ...]) -> Manifest:
        write_lines(tmp_path / "own.jsonl", [{"prompt": prompt, "scores": {"m": 1}} for prompt in prompts])
        (benchmark,) = load_benchmarks([tmp_path / "own.jsonl"])
        checked = {"overlap": "none", "benchmark_prompts": benchmark.prompts, "benchmark_sha256": benchmark.sha256}
        return manifest(data=[file("other.jsonl")], benchmarks={"own": checked})

    assert sample_of(record(PROMPTS), OWN).exposure is Exposure.OUT_OF_SAMPLE
    assert sample_of(record((*PROMPTS[1:], "another")), OWN).exposure is Exposure.UNKNOWN
    assert sample_of(record(PROMPTS[1:]), replace(OWN, sparse=True)).exposure is Exposure.UNKNOWN
    # Rows may be missing for want of a score, and those that are left were checked.
    assert sample_of(record((*PROMPTS, "another")), replace(OWN, sparse=True)).exposure is Exposure.OUT_OF_SAMPLE


def test_without_a_manifest_nothing_is_known_but_that_chance_learns_nothing() -> None:
    assert sample_of(None, OWN).exposure is Exposure.UNKNOWN
    assert sample_of(None, OWN, learns=False).exposure is Exposure.UNTRAINED


def test_in_sample_counts_and_says_how_to_avoid_it() -> None:
    note = sample_of(manifest(data=[file("gsm8k/x.csv")]), GSM8K).note
    assert note.startswith(f"in-sample ({DEV} of 40 prompts): it was trained on the dev half")
    assert note.endswith("--split audit leaves it out")
