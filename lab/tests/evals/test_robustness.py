"""Edits that keep a prompt's meaning, and the decisions that they change."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_lab.evals import report
from routing_lab.evals.evaluation import evaluate
from routing_lab.evals.file_benchmark import FileBenchmark
from routing_lab.evals.robustness import EDITS, MAX_PROMPTS, edited, flips, sample, threshold_of
from routing_lab.evals.settings import Settings
from routing_lab.evals.summary import summary

from routing_service.artifacts.loading import open_artifact
from routing_service.asks.reader import AskReader
from routing_service.config import Config
from routing_service.routers.static import StaticRouter
from tests.support.benchmarks import WriteRows
from tests.support.progress import no_progress

SETTINGS = Settings(strong_model="big", weak_model="small", resamples=20, progress=no_progress, robustness=True)
ROWS = [(f"{'Prove ' * (i % 5)}that prompt {i} holds.", float(i % 3 > 0), float(i % 4 > 1)) for i in range(60)]


@pytest.mark.parametrize(
    ("name", "prompt", "expected"),
    [
        ("doubled spaces", "a b  c", "a  b    c"),
        ("lower case", "What Is X?", "what is x?"),
        ("no end mark", "What is it?! \n", "What is it"),
        ("no end mark", "?", "?"),
        ("please first", "Write it.", "Please write it."),
        ("please first", "SQL or not?", "Please SQL or not?"),
        ("please first", "", "Please "),
        ("a greeting", "What is it?", "Hi! What is it?"),
        ("a task tag", "x", "<task>\nx\n</task>"),
        ("one typo", "1 + 1 = 2", "1 + 1 = 2"),
    ],
)
def test_edits(name: str, prompt: str, expected: str) -> None:
    assert EDITS[name](prompt, Random(0)) == expected


@given(st.text(), st.integers(0, 9))
def test_a_typo_keeps_every_letter_and_the_ends_of_words(prompt: str, seed: int) -> None:
    found = EDITS["one typo"](prompt, Random(seed))
    assert sorted(found) == sorted(prompt)
    assert [(word[:1], word[-1:]) for word in found.split()] == [(word[:1], word[-1:]) for word in prompt.split()]


def test_the_same_seed_edits_alike_and_another_does_not() -> None:
    prompts = [row[0] for row in ROWS]
    assert edited(prompts, 1) == edited(prompts, 1)
    # A prompt's typo does not depend on which others there are.
    assert edited(prompts[5:], 1)["one typo"] == edited(prompts, 1)["one typo"][5:]
    assert edited(prompts, 1)["one typo"] != edited(prompts, 2)["one typo"]


def test_a_sample_is_bounded_and_in_order() -> None:
    prompts = [str(i) for i in range(3 * MAX_PROMPTS)]
    taken = sample(prompts, 0)
    assert len(set(taken)) == MAX_PROMPTS
    assert taken == sorted(taken, key=int)
    assert sample(prompts[:7], 0) == prompts[:7]


@pytest.mark.parametrize(("share", "strong"), [(0, 1), (0.25, 1), (0.5, 2), (0.75, 3), (1, 4)])
def test_the_threshold_gives_the_share(share: float, strong: int) -> None:
    rates = np.array([0.1, 0.4, 0.3, 0.2])
    assert (rates >= threshold_of(rates, share)).sum() == strong


def test_flips_go_both_ways() -> None:
    before = np.array([0.2, 0.5, 0.8, 0.4])
    after = {"none": before, "up": before + 0.1, "turned": 1 - before}
    assert flips(before, after, 0.5) == {"none": 0, "up": 0.25, "turned": 0.75}


def test_an_evaluation_counts_the_routers_own_flips(
    config: Config, write_benchmark: WriteRows, static_artifact: Path
) -> None:
    path = write_benchmark(ROWS)
    (result,) = evaluate(config, ["static", "odds", "luck"], [FileBenchmark(path).load()], SETTINGS)
    static, odds, luck = (router.robustness for router in result.routers)
    router = StaticRouter(open_artifact(static_artifact, "static"))

    def strong(texts: list[str], threshold: float) -> np.ndarray:
        read = [AskReader().of_prompt(text) for text in texts]
        return np.array(router.score(read, router.models).strong_win_rates) >= threshold

    prompts = [row[0] for row in ROWS]
    assert static is not None
    assert strong(prompts, static.threshold).mean() >= 0.5
    for name, texts in edited(prompts, SETTINGS.seed).items():
        assert static.flips[name] == (strong(texts, static.threshold) != strong(prompts, static.threshold)).mean()
    # A coin that depends on the text alone is another coin for each edit; one that is tossed anew measures nothing.
    assert odds is not None
    assert 0.3 < odds.mean_flips < 0.7
    assert luck is None


def test_it_is_reported(config: Config, write_benchmark: WriteRows) -> None:
    benchmarks = [FileBenchmark(write_benchmark(ROWS)).load()]
    settings = replace(SETTINGS, robustness_share=0.25)
    results = evaluate(config, ["static"], benchmarks, settings)
    found = results[0].routers[0].robustness
    assert found is not None
    assert "  flips at 25% strong calls" in summary(results[0])
    told = report.document(results, settings)["benchmarks"][0]["routers"][0]["robustness"]
    assert told["robustness"] == pytest.approx(1 - found.mean_flips)
    assert told["flips"] == dict(found.flips)
    (row, *_) = csv.DictReader(io.StringIO(report.files(results, settings)["metrics.csv"].decode()))
    assert float(row["flips"]) == found.mean_flips
    without = evaluate(config, ["static"], benchmarks, replace(settings, robustness=False))
    assert without[0].routers[0].robustness is None
    assert "flips" not in summary(without[0])
