"""Whole evaluations of small routers, and what is written of them."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from routing_lab.evals import plot, report
from routing_lab.evals.benchmarks import BenchmarkData, Split, take_split
from routing_lab.evals.curves import full_curve
from routing_lab.evals.evaluation import evaluate
from routing_lab.evals.file_benchmark import FileBenchmark
from routing_lab.evals.metrics import apgr, calibration_error, log_loss, reliability
from routing_lab.evals.provenance import Exposure
from routing_lab.evals.registry import load_benchmark
from routing_lab.evals.results import BenchmarkResult
from routing_lab.evals.routellm_metrics import routellm_metrics
from routing_lab.evals.settings import Settings
from routing_lab.evals.summary import summaries, summary

from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.manifest import read_manifest
from routing_service.asks.reader import AskReader
from routing_service.asks_config import AsksConfig
from routing_service.config import Config, parse_config
from routing_service.errors import UsageError
from routing_service.models import ModelPair
from routing_service.routers.static import StaticRouter
from tests.support.benchmarks import WriteRows
from tests.support.progress import no_progress

SETTINGS = Settings(strong_model="big", weak_model="small", resamples=50, progress=no_progress)
ROWS = [(f"{'prove ' * (i % 5)}prompt {i}", float(i % 3 > 0), float(i % 4 > 1)) for i in range(60)]


@pytest.fixture
def own(write_benchmark: WriteRows) -> Path:
    return write_benchmark(ROWS)


def run(config: Config, path: Path, *names: str, settings: Settings = SETTINGS) -> BenchmarkResult:
    (result,) = evaluate(config, names or ("static",), [FileBenchmark(path).load()], settings)
    return result


def with_(**changes: Any) -> Settings:
    return replace(SETTINGS, **changes)


def test_qualities_and_reference_lines(config: Config, own: Path) -> None:
    result = run(config, own)
    strong, weak = np.array([row[1] for row in ROWS]), np.array([row[2] for row in ROWS])
    assert (result.strong_quality, result.weak_quality) == (strong.mean(), weak.mean())
    assert result.random.apgr == 0.5
    assert result.random.cpt == {0.2: 0.2, 0.5: 0.5, 0.8: 0.8}
    np.testing.assert_allclose(
        result.random.quality[[0, 50, -1]], [weak.mean(), (strong + weak).mean() / 2, strong.mean()]
    )
    assert (result.optimal.quality >= result.random.quality - 1e-12).all()
    assert result.optimal.apgr > 1


def test_a_router_is_measured_by_its_own_rates(config: Config, own: Path, static_artifact: Path) -> None:
    router = StaticRouter(open_artifact(static_artifact, "static"))
    rates = router.score([row[0] for row in ROWS], router.models).strong_win_rates
    strong, weak = [row[1] for row in ROWS], [row[2] for row in ROWS]
    (found,) = run(config, own).routers
    assert found.exact.apgr == apgr(full_curve(rates, strong, weak))
    outcomes = (1 + np.sign(np.subtract(strong, weak))) / 2
    assert found.probabilities.log_loss == log_loss(rates, outcomes)
    assert found.probabilities.calibration_error == calibration_error(reliability(rates, outcomes))
    assert sum(part.count for part in found.probabilities.bins) == 60
    assert found.routellm.cpt == routellm_metrics(rates, strong, weak).cpt
    assert found.revision == router.revision
    assert (found.models, found.own_pair, found.runs) == (ModelPair("big", "small"), False, 1)


def test_a_prompt_that_comes_again_is_scored_once_and_counts_as_often_as_it_comes(
    config: Config, write_benchmark: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = run(config, write_benchmark([*ROWS, *ROWS]))
    scored: list[str] = []
    original = StaticRouter.score

    def score(self: StaticRouter, texts: Any, models: Any) -> Any:
        scored.extend(texts)
        return original(self, texts, models)

    monkeypatch.setattr(StaticRouter, "score", score)
    once = run(config, write_benchmark(ROWS))
    before = len(scored)
    assert run(config, write_benchmark([*ROWS, *ROWS])).routers[0].exact.apgr == pytest.approx(
        once.routers[0].exact.apgr
    )
    assert len(scored) - before == before  # as many as for the rows without repetition
    assert twice.strong_quality == once.strong_quality
    assert "120 prompts, 60 of them repeated and scored once" in summary(twice)


def test_chance_is_run_many_times_and_by_prompt_only_once(config: Config, own: Path) -> None:
    luck, odds = run(config, own, "luck", "odds", settings=with_(runs=7)).routers
    assert (luck.runs, odds.runs) == (7, 1)
    assert luck.exact.apgr == pytest.approx(0.5, abs=0.2)
    assert luck.sample.exposure == "untrained"


def test_chance_does_not_depend_on_what_else_is_evaluated(
    config: Config, own: Path, write_benchmark: WriteRows
) -> None:
    other = write_benchmark(ROWS[:30], "other.jsonl")
    (alone,) = evaluate(config, ["luck"], [FileBenchmark(own).load()], SETTINGS)
    _, after = evaluate(config, ["luck"], [FileBenchmark(p).load() for p in (other, own)], SETTINGS)
    assert alone.routers[0].exact.apgr == after.routers[0].exact.apgr


def test_the_cache_is_used_across_pairs_and_not_across_revisions(
    config: Config, own: Path, tmp_path: Path, build_artifact: Any
) -> None:
    settings = with_(cache=tmp_path / "cache")
    first, again = run(config, own, settings=settings), run(config, own, settings=settings)
    assert [first.routers[0].cached, again.routers[0].cached] == [0, 60]
    assert report.document([first], settings) == report.document([again], settings)
    assert (
        run(config, own, settings=with_(cache=tmp_path / "cache", overwrite=frozenset(["static"]))).routers[0].cached
        == 0
    )
    build_artifact(tmp_path / "other", license="MIT")
    other = parse_config("routers: {static: {type: static, artifact: other}}", "a test", tmp_path)
    assert run(other, own, settings=settings).routers[0].cached == 0


def test_another_pair_needs_the_benchmark_to_have_it(config: Config, own: Path) -> None:
    with pytest.raises(UsageError, match=r"own: no scores of the strong model 'huge'.*'big', 'small'"):
        run(config, own, settings=with_(strong_model="huge"))
    swapped = run(config, own, settings=with_(strong_model="small", weak_model="big"))
    assert swapped.routers[0].own_pair
    assert "static knows only its own pair, big and small, and was scored for that" in summary(swapped)


def test_only_routers_that_are_evaluated_can_be_overwritten(config: Config, own: Path) -> None:
    with pytest.raises(UsageError, match="--overwrite-cache: 'odds' is not one of --routers"):
        run(config, own, settings=with_(overwrite=frozenset(["odds"])))


def test_two_benchmarks_of_one_name_are_refused(config: Config, own: Path) -> None:
    data = FileBenchmark(own).load()
    with pytest.raises(UsageError, match="two are called 'own'"):
        evaluate(config, ["static"], [data, data], SETTINGS)


def test_without_a_gap_figures_are_undefined_and_said_to_be(config: Config, write_benchmark: WriteRows) -> None:
    rows = [(f"prompt {i}", float(i % 2), float((i + 1) % 2)) for i in range(20)]
    result = run(config, write_benchmark(rows))
    assert "both models have the same mean score" in summary(result)
    found = report.document([result], SETTINGS)["benchmarks"][0]
    assert found["routers"][0]["exact"]["apgr"] is None
    assert found["references"]["random"]["cpt"] == {"20%": None, "50%": None, "80%": None}
    assert "NaN" not in json.dumps(found)
    assert plot.figures([result]).keys() == {"quality.png", "quality.svg"}


def test_too_few_prompts_have_no_interval(config: Config, write_benchmark: WriteRows) -> None:
    result = run(config, write_benchmark([("a", 1, 0), ("b", 0, 1), ("c", 1, 0)]))
    assert "the prompts are too few to tell the models apart" in summary(result)
    assert report.document([result], SETTINGS)["benchmarks"][0]["routers"][0]["exact"]["apgr_interval"] is None


def test_a_pair_the_wrong_way_round_is_said(config: Config, own: Path) -> None:
    right, wrong = run(config, own), run(config, own, settings=with_(strong_model="small", weak_model="big"))
    says = "note: small scores below big: APGR and CPT say how much of that loss is made"
    assert says in summary(wrong)
    assert "scores below" not in summary(right)


def test_too_few_prompts_to_resample_are_said(config: Config, write_benchmark: WriteRows) -> None:
    says = "too few for resampling, so that intervals are narrower than they should be"
    few = write_benchmark([(f"p{i}", 1, 0) for i in range(3)])
    assert summary(run(config, few, "static", "odds")).count(f"note: prompts: 3, {says}") == 1
    assert says not in summary(run(config, write_benchmark(ROWS)))


def test_contaminated_prompts_are_counted_over_the_whole_benchmark(config: Config, evals_folder: Path) -> None:
    settings = with_(strong_model=None, weak_model=None)
    for split, says in (("all", "1 contaminated ones left out"), ("dev", "1 contaminated ones of the whole benchmark")):
        data = take_split(load_benchmark("gsm8k", evals_folder), split)  # type: ignore[arg-type] # of a tuple of text
        assert says in summary(evaluate(config, ["odds"], [data], settings)[0])


def test_one_rate_for_all_is_said(config: Config, write_benchmark: WriteRows) -> None:
    result = run(config, write_benchmark([("same", 1, 0)] * 5))
    assert "static gives every prompt the same win rate" in summary(result)
    assert result.routers[0].exact.apgr == 0.5


def test_the_summary_has_every_figure(config: Config, own: Path) -> None:
    result = run(config, own, "static", "luck")
    text = summary(result)
    (static, _) = result.routers
    assert (
        f"{static.exact.apgr:.3f} [{static.exact.intervals.apgr.low:.3f}, {static.exact.intervals.apgr.high:.3f}]"
        in text
    )
    assert f"{static.routellm.auc:.3f}" in text
    assert text.count("threshold, strong calls, average score") == 2
    for threshold, share, quality in zip(
        static.routellm.sweep.thresholds,
        static.routellm.sweep.strong_shares,
        static.routellm.sweep.qualities,
        strict=True,
    ):
        assert f"  {threshold:.5f}  {share:7.2%}  {quality:.4f}" in text
    assert "(random)" in text
    assert "(optimal)" in text


def test_json_and_csv_say_the_same(config: Config, own: Path) -> None:
    result = run(config, own, "static", "luck")
    written = report.files([result], SETTINGS)
    document = json.loads(written["results.json"])
    (benchmark,) = document["benchmarks"]
    tables = {
        name: list(csv.DictReader(io.StringIO(text.decode())))
        for name, text in written.items()
        if name.endswith(".csv")
    }
    assert [row["router"] for row in tables["metrics.csv"]] == ["static", "luck", "(random)", "(optimal)"]
    for router, row in zip(benchmark["routers"], tables["metrics.csv"], strict=False):
        assert float(row["apgr"]) == router["exact"]["apgr"]
        assert float(row["routellm_cpt_50%"]) == router["routellm"]["cpt"]["50%"]
        assert [float(row["apgr_low"]), float(row["apgr_high"])] == router["exact"]["apgr_interval"]
        points = [point for point in tables["sweep.csv"] if point["router"] == router["name"]]
        assert [float(point["quality"]) for point in points] == [
            point["quality"] for point in router["routellm"]["sweep"]
        ]
        curve = [point for point in tables["curves.csv"] if point["router"] == router["name"]]
        assert [float(point["low"]) for point in curve] == router["exact"]["quality_low"]
        assert len(curve) == len(benchmark["shares"]) == 101


def test_no_prompt_is_written(config: Config, own: Path) -> None:
    result = run(config, own, "static")
    written = report.files([result], SETTINGS) | plot.figures([result])
    assert not any(b"prompt 1" in content for content in written.values())


def test_a_figure_is_the_same_every_time_and_says_what_it_shows(config: Config, evals_folder: Path) -> None:
    benchmarks = [load_benchmark(name, evals_folder) for name in ("gsm8k", "mmlu")]
    results = evaluate(
        config,
        ["static", "luck"],
        benchmarks,
        with_(strong_model="gpt-4-1106-preview", weak_model="mixtral-8x7b-instruct-v0.1"),
    )
    one, two = plot.figures(results), plot.figures(results)
    assert one == two
    assert one["quality.png"].startswith(b"\x89PNG")
    svg = one["quality.svg"].decode()
    figure = results[0].routers[0].exact.apgr
    for text in (
        "GSM8K (30 prompts)",
        "MMLU (5 prompts)",
        "optimal (knows both scores)",
        "interval of the gain over random",
        f"static {figure:.3f}",
    ):
        assert text in svg


def test_many_routers_and_benchmarks_fit(config: Config, own: Path) -> None:
    result = run(config, own, "static", "luck", "odds")
    crowd = BenchmarkResult(
        result.paired, result.strong_quality, result.weak_quality, result.random, result.optimal, result.routers * 3
    )
    assert len(plot.figures([crowd] * 4)["quality.png"]) > 10_000
    assert math.isfinite(crowd.optimal.apgr)


@pytest.fixture
def halved(tmp_path: Path, static_artifact: Path) -> tuple[Config, BenchmarkData]:
    """A benchmark of two halves, a router that learnt its dev half, and chance."""
    manifest = read_manifest(static_artifact)
    learnt = replace(manifest, provenance={"data": [{"name": "exam/a.csv", "sha256": "0", "used": 9}]})
    folder = tmp_path / "learnt"
    shutil.copytree(static_artifact, folder)
    (folder / "manifest.json").write_text(learnt.to_json(), encoding="utf-8")
    text = f"{{routers: {{mine: {{type: static, artifact: '{folder}'}}, luck: {{type: random, seed: 1}}}}}}"
    prompts, strong, weak = zip(*ROWS, strict=True)
    scores = {"big": np.array(strong), "small": np.array(weak)}
    return parse_config(text, "a test", tmp_path), BenchmarkData("exam", "Exam", "score", prompts, scores, halves=True)


def test_where_a_router_learnt_one_half_the_other_is_measured_too_and_first(
    halved: tuple[Config, BenchmarkData], tmp_path: Path
) -> None:
    config, exam = halved
    kept = with_(cache=tmp_path / "cache")
    half, whole = evaluate(config, ["mine", "luck"], [exam], kept)
    assert (half.paired.data.split, whole.paired.data.split) == ("audit", "all")
    assert [router.sample.exposure for router in half.routers] == [Exposure.OUT_OF_SAMPLE, Exposure.UNTRAINED]
    assert [router.sample.exposure for router in whole.routers] == [Exposure.IN_SAMPLE, Exposure.UNTRAINED]
    assert (half.in_sample, whole.in_sample) == (False, True)
    # It is what the audit half alone gives, chance included, and nothing was scored a second time for it.
    (alone,) = evaluate(config, ["mine", "luck"], [take_split(exam, "audit")], SETTINGS)
    assert report.document([half], SETTINGS) == report.document([alone], SETTINGS)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    tables = report.files([half, whole], SETTINGS)
    for name in ("metrics.csv", "sweep.csv", "curves.csv"):
        rows = list(csv.DictReader(io.StringIO(tables[name].decode())))
        assert {row["split"] for row in rows} == {"audit", "all"}


@pytest.mark.parametrize("split", ["dev", "audit"])
def test_a_half_that_was_asked_for_is_measured_alone(halved: tuple[Config, BenchmarkData], split: Split) -> None:
    config, exam = halved
    (only,) = evaluate(config, ["mine"], [take_split(exam, split)], SETTINGS)
    assert only.paired.data.split == split


def test_where_no_router_learnt_a_half_the_whole_is_enough(halved: tuple[Config, BenchmarkData]) -> None:
    config, exam = halved
    (only,) = evaluate(config, ["luck"], [exam], SETTINGS)
    assert only.paired.data.split == "all"


def test_the_table_has_what_was_held_out_first_then_what_may_not_have_been(
    halved: tuple[Config, BenchmarkData], static_artifact: Path, own: Path
) -> None:
    config, exam = halved
    other = parse_config(f"{{routers: {{other: {{type: static, artifact: '{static_artifact}'}}}}}}", "a test", Path())
    config = replace(config, routers={**config.routers, **other.routers})
    _, whole = evaluate(config, ["mine", "other", "luck"], [exam], SETTINGS)
    lines = summary(whole).splitlines()
    rows = [line.split()[:2] for line in lines if line.startswith(("mine  ", "other  ", "luck  "))]
    assert rows == [["luck", "-"], ["other", "unknown"], ["mine", "in-sample,"]]
    assert lines[3].index("by RouteLLM") == lines[4].index("APGR")
    untouched = FileBenchmark(own).load()
    text = summaries(evaluate(config, ["mine", "luck"], [exam, untouched], SETTINGS))
    assert [text.index("Exam, audit half"), text.index("own: 60"), text.index("Exam: 60")] == sorted(
        text.index(start) for start in ("Exam, audit half", "own: 60", "Exam: 60")
    )


def test_a_benchmarks_prompts_are_read_as_a_service_reads_them(config: Config, write_benchmark: WriteRows) -> None:
    plain = write_benchmark(ROWS)
    expected = run(config, plain).routers[0].exact.apgr
    wrapped = [(f"<state>\n{'word ' * (40 - i)}\n</state>\n{text}", *scores) for i, (text, *scores) in enumerate(ROWS)]
    path = write_benchmark(wrapped)
    assert run(config, path).routers[0].exact.apgr == expected
    whole = replace(config, asks=AsksConfig(strip="none"))
    asks = AskReader(whole.asks)
    (result,) = evaluate(whole, ["static"], [load_benchmark(str(path), None, asks)], SETTINGS)
    assert result.routers[0].exact.apgr != expected
