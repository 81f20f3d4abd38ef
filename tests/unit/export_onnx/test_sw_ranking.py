"""`export-onnx sw_ranking`: what it accepts, what it refuses, and what it writes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")

from export_onnx import sw_ranking
from export_onnx.battles import read_battles, read_embeddings
from export_onnx.cli import main
from export_onnx.similarity_graph import write_graph
from export_onnx.similarity_proof import source_win_rates
from export_onnx.tables import find_tables
from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.manifest import read_manifest
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.errors import UsageError
from routing_service.models import ModelPair
from routing_service.routers.sw_ranking.tier_ranking import OUTCOMES, TierRanker
from tests.support.rows import Row, write_rows
from tests.support.sw_ranking import (
    DIMENSION,
    MODELS,
    export,
    make_battles,
    make_embeddings,
    write_data,
)

PAIR = {"strong_model": "big", "weak_model": "small"}
TINY: dict[str, Any] = {**PAIR, "num_tiers": 3}


def ranker(folder: Path) -> TierRanker:
    return TierRanker.open(open_artifact(folder, "sw_ranking"), SessionConfig())


def refusal(output: Path, **options: Any) -> str:
    """Export, which must be refused without writing anything; gives the message."""
    with pytest.raises(UsageError) as caught:
        export(output, **{**TINY, **options})
    assert not output.exists()
    return str(caught.value)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("fp16", 5e-4), ("int8", 5e-3)])
def test_every_pair_has_the_win_rate_of_the_battles(tmp_path: Path, precision: str, tolerance: float) -> None:
    data = write_data(tmp_path / "data", make_battles(400))
    report = export(tmp_path / "artifact", **TINY, **data, precision=precision)
    assert f"sw_ranking, {precision}, 342 battles of 4 models in 3 tiers" in report
    assert "parity over 12 win rates" in report

    battles = read_battles(find_tables("--battles", data["battles"]))
    embeddings = read_embeddings(find_tables("--embeddings", data["embeddings"]), battles)
    queries = np.random.default_rng(3).standard_normal((6, DIMENSION), np.float32)
    served = ranker(tmp_path / "artifact")
    for pair in (ModelPair(*names) for names in permutations(MODELS, 2)):
        expected = source_win_rates(battles, served.settings.model2tier, embeddings, queries, pair)
        assert served.win_rates(queries, *pair) == pytest.approx(expected, abs=tolerance)


def test_the_proof_s_source_is_a_regression_over_battles_as_routellm_s(tmp_path: Path) -> None:
    """Similarity, weights, design matrix and win rate, written out for one query."""
    linear_model = pytest.importorskip("sklearn.linear_model", reason="the extra `train` is not installed")
    data = write_data(tmp_path / "data", make_battles(300))
    battles = read_battles(find_tables("--battles", data["battles"]))
    embeddings = read_embeddings(find_tables("--embeddings", data["embeddings"]), battles)
    tiers = sw_ranking.rank(battles, 3).model2tier
    query = np.linspace(-0.2, 1.0, DIMENSION, dtype=np.float32)

    wide, asked = embeddings.astype(np.float64), query.astype(np.float64)
    similarities = wide @ asked / (np.linalg.norm(wide, axis=1) * np.linalg.norm(asked))
    weights = 10 * 10 ** (similarities / similarities.max())
    design, target = np.zeros((2 * len(battles), 3)), np.zeros(2 * len(battles))
    for row in range(2 * len(battles)):
        battle = row % len(battles)
        design[row, tiers[battles.models[battles.a[battle]]]] = math.log(10)
        design[row, tiers[battles.models[battles.b[battle]]]] = -math.log(10)
        first_copy = row < len(battles)
        target[row] = {0: 1, 1: 0, 2: int(first_copy)}[int(battles.outcome[battle])]
    model = linear_model.LogisticRegression(fit_intercept=False, C=np.inf)
    ratings = model.fit(design, target, sample_weight=np.tile(weights, 2)).coef_[0]
    expected = 1 - 1 / (1 + 10 ** (ratings[tiers["big"]] - ratings[tiers["small"]]))
    source = source_win_rates(battles, tiers, embeddings, query[np.newaxis], ModelPair("big", "small"))
    assert source == pytest.approx([expected], abs=1e-7)


def test_parquet_csv_and_json_lines_give_the_same_artifact(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `export` is not installed")
    files = {}
    for suffix in (".parquet", ".csv", ".jsonl"):
        output = tmp_path / f"artifact{suffix}"
        export(output, **TINY, **write_data(tmp_path / "data", suffix=suffix))
        files[suffix] = read_manifest(output).files
    assert files[".parquet"] == files[".csv"] == files[".jsonl"]


def test_the_same_data_gives_the_same_revision(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    for name in ("one", "other"):
        export(tmp_path / name, **TINY, **data)
    assert read_manifest(tmp_path / "one").revision == read_manifest(tmp_path / "other").revision


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    battles = make_battles()
    embeddings = make_embeddings(battles)
    whole = write_data(tmp_path / "whole", battles)
    parts = {
        "battles": [write_rows(tmp_path / f"b{i}.jsonl", rows) for i, rows in enumerate((battles[:50], battles[50:]))],
        "embeddings": [
            write_rows(tmp_path / f"e{i}.jsonl", rows) for i, rows in enumerate((embeddings[:9], embeddings[9:]))
        ],
    }
    export(tmp_path / "one", **TINY, **whole)
    export(tmp_path / "other", **TINY, **{name: list(map(str, files)) for name, files in parts.items()})
    assert read_manifest(tmp_path / "one").files == read_manifest(tmp_path / "other").files


def test_outcomes_group_the_battles_between_tiers(tmp_path: Path) -> None:
    rows = [
        {
            "model_a": a,
            "model_b": b,
            "winner_model_a": int(w == "a"),
            "winner_model_b": int(w == "b"),
            "prompt": ["x" * 16],
        }
        for a, b, w in [
            *[("p", "q", "a")] * 5,
            *[("q", "p", "a")] * 2,
            ("p", "q", "t"),
            ("q", "p", "t"),
            ("p", "p", "a"),
            ("q", "q", "t"),
        ]
    ]
    data = write_data(tmp_path / "data", [{**row, "prompt": json.dumps(row["prompt"])} for row in rows])
    export(tmp_path / "artifact", **data, strong_model="p", weak_model="q", num_tiers=2)
    assert read_manifest(tmp_path / "artifact").options["model2tier"] == {"p": 0, "q": 1}
    # First, second, tie, rows; 2 is the fixed player, who stands for side a of a tier's battles with itself.
    expected = [[0, 1, 0, 5], [0, 1, 1, 2], [1, 0, 0, 2], [1, 2, 1, 1], [2, 0, 0, 1]]
    assert np.load(tmp_path / "artifact" / OUTCOMES).tolist() == expected


def test_the_manifest_says_where_it_comes_from(tmp_path: Path) -> None:
    export(tmp_path / "artifact", **TINY, **write_data(tmp_path / "data"), license="CC-BY-4.0", precision="int8")
    manifest = read_manifest(tmp_path / "artifact")
    provenance = manifest.provenance
    assert manifest.license == "CC-BY-4.0"
    assert provenance["battles"][0]["source"] == "battles.jsonl"
    assert len(provenance["embeddings"][0]["sha256"]) == 64
    assert provenance["short_prompts_left_out"] == 18
    assert provenance["parity"]["precision"] == provenance["precision"] == "int8"
    assert str(tmp_path) not in manifest.to_json()
    assert "Prompt number" not in manifest.to_json()


def test_the_command_line_gives_an_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data")
    options = [*("--battles", *data["battles"]), *("--embeddings", *data["embeddings"]), *("--num-tiers", "3")]
    options += ["--strong-model", "big", "--weak-model", "small"]
    assert main(["sw_ranking", "--output", str(tmp_path / "artifact"), *options]) == 0
    assert "102 battles of 4 models in 3 tiers" in capsys.readouterr().out
    assert ranker(tmp_path / "artifact").settings.num_tiers == 3


def test_an_export_that_deviates_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sw_ranking, "write_graph", lambda path, rows, precision: write_graph(path, rows[::-1], precision)
    )
    assert "differs from the source model" in refusal(tmp_path / "artifact", **write_data(tmp_path / "data"))


def test_a_compressed_export_that_deviates_too_much_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sw_ranking, "COMPRESSED_TOLERANCE", 1e-9)
    message = refusal(tmp_path / "artifact", **write_data(tmp_path / "data"), precision="int8")
    assert "Export with a higher --precision" in message


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"num_tiers": 0}, "--num-tiers must be from 1 to 64, not 0"),
        ({"strong_model": None}, "--strong-model: no model with battles is named 'gpt-4-1106-preview'"),
        ({"weak_model": "smal"}, "--weak-model: no model with battles is named 'smal'; did you mean 'small'?"),
        ({"weak_model": "big"}, "are both 'big'"),
        ({"battles": ["missing.parquet"]}, "--battles missing.parquet: there is no such file or folder"),
        ({"embeddings": ["a/b/c"]}, "--embeddings a/b/c: there is no such file or folder"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    assert problem in refusal(tmp_path / "artifact", **{**write_data(tmp_path / "data"), **options})


def changed(rows: list[Row], index: int, **values: Any) -> list[Row]:
    return [{**row, **values} if number == index else row for number, row in enumerate(rows)]


def without(rows: list[Row], *columns: str) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in columns} for row in rows]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: changed(rows, 3, winner_model_a=1, winner_model_b=1), "battles.jsonl:4: must have one outcome"),
        (lambda rows: changed(rows, 3, winner_model_a=0, winner_model_b=0, winner_tie=0), "has no outcome"),
        (lambda rows: changed(rows, 3, winner_tie=math.nan), "battles.jsonl:4: the winner columns must hold 1 or 0"),
        (lambda rows: changed(rows, 3, winner_model_a=None), "must have one outcome"),
        (lambda rows: changed(rows, 3, winner_model_a=0.5), "the winner columns must hold 1 or 0"),
        (lambda rows: changed(rows, 2, model_b=""), "battles.jsonl:3: 'model_b' must be a model's name"),
        (lambda rows: changed(rows, 2, model_a=7), "'model_a' must be a model's name"),
        (lambda rows: changed(rows, 2, prompt=7), "battles.jsonl:3: 'prompt' must be a text, or a list of turns"),
        (
            lambda rows: [{**row, "prompt": '["short"]'} for row in rows],
            "none of its 120 rows can be used: there is no battle with a prompt of at least 16 characters",
        ),
        (
            lambda rows: [*rows, {"prompt": "x", "scores": {"a": 1}}],
            "battles.jsonl:121: is a row of scores, and battles",
        ),
        (lambda rows: without(rows, "model_b"), "battles.jsonl:1: 'model_b' must be a model's name"),
        (lambda rows: without(rows, "prompt"), "battles.jsonl:1: has no 'prompt', only 'id', 'model_a', 'model_b'"),
        (lambda _: [], "battles.jsonl: has no rows"),
        (
            lambda rows: [{**without([row], "winner_model_a")[0], "winer_model_a": 1} for row in rows],
            "battles.jsonl:1: must have one outcome: 'winner', or one 1 in winner_model_a",
        ),
    ],
)
def test_wrong_battles_are_refused(tmp_path: Path, change: Callable[[list[Row]], list[Row]], problem: str) -> None:
    data = write_data(tmp_path / "data")
    write_rows(Path(data["battles"][0]), change(make_battles()))
    assert problem in refusal(tmp_path / "artifact", **data)


def test_other_columns_are_passed_over(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    write_rows(Path(data["battles"][0]), [{**row, "language": "en"} for row in make_battles()])
    export(tmp_path / "artifact", **TINY, **data)
    assert ranker(tmp_path / "artifact").settings.battles == 102


def test_names_of_one_model_are_one_and_spelt_as_asked_for(tmp_path: Path) -> None:
    rows = make_battles()
    for number, row in enumerate(rows):
        for side in ("model_a", "model_b"):
            row[side] = [row[side], f"org/{row[side].upper()}", f"other/{row[side]}"][number % 3]
    export(tmp_path / "other", **TINY, **write_data(tmp_path / "data", rows))
    export(tmp_path / "one", **TINY, **write_data(tmp_path / "plain"))
    served = ranker(tmp_path / "other").settings.model2tier
    assert {"big", "small"} <= served.keys()
    assert {name.rpartition("/")[2].lower() for name in served} == set(MODELS)
    assert len(served) == len(MODELS)
    assert read_manifest(tmp_path / "one").files == read_manifest(tmp_path / "other").files


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows[:-1], "101 rows (embeddings.jsonl: 101) for 102 battles"),
        (lambda rows: [*rows, *rows[:18]], "120 rows (embeddings.jsonl: 120) for 102 battles"),
        (lambda rows: rows[:1], "1 rows (embeddings.jsonl: 1) for 102 battles"),
        (lambda _: [], "embeddings.jsonl: has no rows"),
        (
            lambda rows: changed(rows, 4, embeddings=[math.nan] * DIMENSION),
            "embeddings.jsonl:5: the embedding holds NaN",
        ),
        (lambda rows: changed(rows, 4, embeddings=[math.inf] * DIMENSION), "NaN, infinity or a number beyond float32"),
        (lambda rows: changed(rows, 4, embeddings=[1e300] * DIMENSION), "NaN, infinity or a number beyond float32"),
        (lambda rows: changed(rows, 4, embeddings=[0.0] * DIMENSION), "embeddings.jsonl:5: the embedding is all zeros"),
        (lambda rows: changed(rows, 4, embeddings=[1.0]), "embeddings.jsonl:5: has 1 numbers; the rows before have 8"),
        (lambda rows: changed(rows, 4, embeddings=[[1.0]]), "embeddings must be a list of numbers"),
        (lambda rows: changed(rows, 4, embeddings=["x"]), "embeddings must be a list of numbers"),
        (lambda rows: changed(rows, 4, embeddings=None), "embeddings must be a list of numbers"),
        (lambda rows: changed(rows, 4, embeddings=[]), "embeddings must be a list of numbers"),
        (
            lambda rows: [{"embedding": row["embeddings"]} for row in rows],
            "has no 'embeddings', only 'embedding'; is 'embedding' meant to be it?",
        ),
    ],
)
def test_wrong_embeddings_are_refused(tmp_path: Path, change: Callable[[list[Row]], list[Row]], problem: str) -> None:
    data = write_data(tmp_path / "data")
    write_rows(Path(data["embeddings"][0]), change(make_embeddings(make_battles())))
    assert problem in refusal(tmp_path / "artifact", **data)
