"""`train static` from end to end, on data small enough for a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from routing_lab.data.examples import Example
from routing_lab.training.report import traffic_quantiles
from routing_lab.training.static import model as static_model
from routing_lab.training.static.exam import Standard
from routing_lab.training.static.features import FEATURE_NAMES
from routing_lab.training.static.graph import build_graph
from routing_lab.training.static.heads import PRIOR_LOG_ODDS, Head, fuse
from routing_lab.training.static.networks import Network
from routing_lab.training.static.report import StaticReport
from routing_lab.training.static.request import StaticRequest
from routing_lab.training.static.table import StaticTable, read_table
from routing_lab.training.static.topics import TOPICS
from routing_lab.training.static.train import Reader, score, train

from routing_service.artifacts.loading import DEFAULT_ARTIFACT, Artifact, open_artifact
from routing_service.errors import ArtifactError, UsageError
from routing_service.routers.static import StaticRouter
from routing_service.routers.static_pieces import StaticPieceEncoder
from tests.support.progress import no_progress
from tests.support.training import EASY, HARD, WritePreferences

PAIR = {"strong_model": "org/Big", "weak_model": "small"}
pytestmark = pytest.mark.usefixtures("few_rounds")


def run(data: Path, output: Path, table: Path, **options: Any) -> StaticReport:
    asked = StaticRequest(data=[data], output=output, table=table, **{**PAIR, **options})
    return train(asked, progress=no_progress)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_trained_is_served_and_tells_hard_from_easy(
    tmp_path: Path, table_folder: Path, write_preferences: WritePreferences
) -> None:
    report = run(write_preferences(400), tmp_path / "out", table_folder)
    router = StaticRouter(open_artifact(tmp_path / "out", "static"))
    assert router.revision == report.revision
    assert (router.models.strong, router.models.weak) == ("org/Big", "small")
    easy, hard = router.score([EASY + "?", HARD + "?"], router.models).strong_win_rates
    assert 0 <= easy < hard <= 1
    found = report.metrics["by_source"]["own.jsonl"]
    assert found["apgr_pooled"] > 0.65
    assert found["log_loss"] < found["log_loss_of_constant"]
    assert "own.jsonl: APGR 0." in str(report)
    constant = f"log loss {found['log_loss']:.3f} (a constant: {found['log_loss_of_constant']:.3f})"
    assert constant in str(report)


def test_the_manifest_says_how_it_was_made_and_holds_no_training_prompt(
    tmp_path: Path, table_folder: Path, write_preferences: WritePreferences
) -> None:
    data = write_preferences(400)
    run(data, tmp_path / "out", table_folder, seed=3)
    manifest = open_artifact(tmp_path / "out", "static").manifest
    assert manifest.provenance["seed"] == 3
    assert manifest.provenance["data"][0]["used"] == 400
    assert manifest.provenance["command"].endswith("--seed 3 --strong-model org/Big --weak-model small")
    assert manifest.calibration is not None
    assert len(manifest.calibration.quantiles) == 1001
    assert len(manifest.self_test.vectors) >= 10
    text = (tmp_path / "out" / "manifest.json").read_text()
    assert str(tmp_path) not in text
    assert not any(json.loads(line)["prompt"] in text for line in data.read_text().splitlines())


def test_the_same_inputs_and_seed_give_the_same_files(
    tmp_path: Path, table_folder: Path, write_preferences: WritePreferences
) -> None:
    data = write_preferences(300)
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        run(data, tmp_path / name, table_folder, seed=seed)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one")["model.onnx"] != contents(tmp_path / "three")["model.onnx"]


def test_a_failed_training_keeps_the_old_artifact(
    tmp_path: Path, table_folder: Path, write_preferences: WritePreferences, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, output = write_preferences(300), tmp_path / "out"
    run(data, output, table_folder)
    before = contents(output)

    def refuse(artifact: Artifact) -> None:
        raise ArtifactError(artifact.file("model.onnx"), "does not return its own win rates")

    monkeypatch.setattr("routing_lab.training.static.train.StaticRouter", refuse)
    with pytest.raises(ArtifactError, match="its own win rates"):
        run(data, output, table_folder, seed=1)
    assert contents(output) == before
    assert {path.name for path in tmp_path.iterdir()} == {"own.jsonl", "out", "table"}


def test_too_few_rows_are_counted(tmp_path: Path, table_folder: Path, write_preferences: WritePreferences) -> None:
    with pytest.raises(UsageError, match=r"50 usable rows.*At least 200"):
        run(write_preferences(50), tmp_path / "out", table_folder)
    data = write_preferences(300)
    only = r"own\.jsonl: none of its 300 rows can be used: 300 do not score 'huge' and 'small', only 'big', 'small'"
    with pytest.raises(UsageError, match=only):
        run(data, tmp_path / "out", table_folder, strong_model="huge")
    with data.open("a") as file:
        file.write(json.dumps({"prompt": "p", "scores": {"huge": 1, "small": 0}}) + "\n")
    with pytest.raises(UsageError, match=r"1 usable rows; 300 more rows have no outcome for 'huge' and 'small'"):
        run(data, tmp_path / "out", table_folder, strong_model="huge")


def test_a_few_prompts_asked_often_are_too_few(tmp_path: Path, table_folder: Path) -> None:
    data = tmp_path / "own.jsonl"
    rows = ({"prompt": f"p {i % 3}", "scores": {"big": i % 2, "small": 0.5}} for i in range(300))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UsageError, match=r"300 usable rows over 3 different prompts\. At least 200 different prompts"):
        run(data, tmp_path / "out", table_folder)


def test_one_model_is_no_pair(tmp_path: Path, table_folder: Path, write_preferences: WritePreferences) -> None:
    with pytest.raises(UsageError, match="the strong and the weak model are both 'org/Big'"):
        run(write_preferences(300), tmp_path / "out", table_folder, weak_model="big")


def test_rows_that_all_end_alike_teach_nothing(tmp_path: Path, table_folder: Path) -> None:
    data = tmp_path / "own.jsonl"
    rows = [json.dumps({"prompt": f"p {i}", "scores": {"big": 1, "small": 0}}) for i in range(300)]
    data.write_text("\n".join(rows))
    with pytest.raises(UsageError, match="the same outcome in all 300 rows"):
        run(data, tmp_path / "out", table_folder)


def test_the_graph_computes_what_numpy_does(tmp_path: Path, static_table: StaticTable) -> None:
    rng = np.random.default_rng(0)
    words = np.array([*EASY.split(), *HARD.split(), "x1", "Ünï", "\n\n", "{}", "$5", "中文", "\nB. x", "```"])
    prompts = ["", " ", "\ud800", *(" ".join(rng.choice(words, rng.integers(0, 30))) for _ in range(300))]
    reader = Reader(static_table)
    looked, understood = reader.read(prompts)
    inputs = looked.shape[1]
    assert inputs == static_table.components + len(FEATURE_NAMES)

    def network(reads: int, outputs: int) -> Head:
        shapes = ((reads, 5), (5,), (5, outputs), (outputs,), (reads, outputs))
        return Head(Network(*(rng.normal(size=shape).astype(np.float32) for shape in shapes)), np.arange(reads))

    standard = Standard.of(looked)
    parts = [network(inputs, 1), network(inputs, 1), network(7, 1), network(9, len(TOPICS))]
    heads = fuse(standard.mean, standard.deviation, *parts)
    for part, output in zip(parts, np.split(heads.outputs(looked), [1, 2, 3], axis=1), strict=True):
        np.testing.assert_allclose(output, part.network(standard(looked)[:, part.reads]), atol=3e-3)
    (tmp_path / "model.onnx").write_bytes(build_graph(static_table, heads))
    got = score(tmp_path / "model.onnx", reader.encoder, prompts)
    np.testing.assert_allclose(got, heads.blend(heads.parts(looked), understood), atol=1e-4)
    assert got.min() < got.max()


@pytest.mark.parametrize("text", ["", "\x00 \x01", "zqxj vbnk", "hello " * 2_000])
def test_nothing_understood_gives_the_prior(table_folder: Path, text: str) -> None:
    table, _ = read_table(table_folder)
    encoder = StaticPieceEncoder(table.vocabulary, 512)
    prior = 1 / (1 + np.exp(-PRIOR_LOG_ODDS))
    heads_say = 0.5
    router = StaticRouter(open_artifact(table_folder, "static"))
    signals = router.score([text, f"{HARD} {EASY}"], router.models).signals
    assert signals is not None
    assert signals[0] < 0.2
    assert signals[1] == 1
    nothing, words = score(table_folder / "model.onnx", encoder, [text, f"{HARD} {EASY}"])
    assert words == pytest.approx(heads_say, abs=1e-6)
    assert abs(nothing - prior) < (prior - heads_say) / 5


def test_a_table_comes_back_from_its_artifact(static_table: StaticTable, table_folder: Path) -> None:
    found, _ = read_table(table_folder)
    assert list(found.vocabulary.pieces) == list(static_table.vocabulary.pieces)
    for name in ("rows", "kinds", "classes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(static_table, name))
    (table_folder / "pieces.json").unlink()
    with pytest.raises(UsageError, match="holds no table"):
        read_table(table_folder)


def test_topics_decide_what_no_outcome_tells(
    tmp_path: Path, table_folder: Path, write_preferences: WritePreferences
) -> None:
    folder = tmp_path / "topics"
    folder.mkdir()
    rng = np.random.default_rng(0)
    seeds = [{"prompt": " ".join(rng.choice(EASY.split(), 4)), "topic": "chitchat"} for _ in range(60)]
    seeds += [{"prompt": " ".join(rng.choice(HARD.split(), 4)), "topic": "math"} for _ in range(60)]
    (folder / "seeds.jsonl").write_text("\n".join(map(json.dumps, seeds)))
    rows = [{"source": "other", "group": "", "prompt": f"{seed['prompt']} {i}"} for i, seed in enumerate(seeds)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run(write_preferences(300), tmp_path / "out", table_folder, topics=folder)
    router = StaticRouter(open_artifact(tmp_path / "out", "static"))
    easy, hard = router.score([f"{EASY} {EASY}", f"{HARD} {HARD}"], router.models).strong_win_rates
    assert easy < hard
    assert router.manifest is not None
    assert set(router.manifest.options["topics"]) == set(TOPICS)
    assert [file["name"] for file in router.manifest.provenance["topics"]] == ["rows.jsonl", "seeds.jsonl"]


def test_one_table_only(tmp_path: Path, table_folder: Path, write_preferences: WritePreferences) -> None:
    with pytest.raises(UsageError, match="--wheels makes a new table and --table takes one"):
        run(write_preferences(300), tmp_path / "out", table_folder, wheels=tmp_path)


def test_a_batch_of_the_shipped_router_gives_single_scores_bit_for_bit() -> None:
    router = StaticRouter(open_artifact(DEFAULT_ARTIFACT, "static"))
    rng = np.random.default_rng(0)
    words = [
        "prove",
        "that",
        "π",
        "=",
        "3.14",
        "is\n",
        "wrong?",
        "def",
        "f(x):",
        "return",
        "{x}",
        "naïve",
        "你好",
        "\\frac{1}{2}",
        "<b>",
        "café",
        "HELLO",
        "1234567",
        "the",
    ]
    prompts = [" ".join(rng.choice(words, rng.integers(0, 400 if i % 50 == 0 else 60))) for i in range(1500)]
    single = [router.score([prompt], router.models).strong_win_rates[0] for prompt in prompts]
    batched: list[float] = []
    while len(batched) < len(prompts):
        batch = prompts[len(batched) : len(batched) + int(rng.integers(1, 130))]
        batched += router.score(batch, router.models).strong_win_rates
    assert batched == single
    assert len(set(single)) > 1000


def test_quantiles_of_a_mixture_by_hand() -> None:
    own = [Example(f"p{i}", 0.5, "own.jsonl", "", 1.0) for i in range(3)]
    quantiles, mixture, size = traffic_quantiles([*own, own[0]], np.array([0.2, 0.6, 0.4, 0.2]))
    assert (quantiles[0], quantiles[500], quantiles[-1], size, mixture) == (0.2, 0.4, 0.6, 3, "100% own.jsonl")
    mmlu, gsm8k = Example("a", 1, "mmlu", "", 1.0), Example("b", 1, "gsm8k", "", 1.0)
    unused = Example("c", 1, "routellm-distl", "", 1.0)
    quantiles, mixture, size = traffic_quantiles([mmlu, gsm8k, unused], np.array([0.1, 0.3, 0.9]))
    assert (quantiles[0], quantiles[-1], size, mixture) == (0.1, 0.3, 2, "50% gsm8k, 50% mmlu")


def test_scores_that_say_nothing_calibrate_to_the_average() -> None:
    examples = [Example(f"p{i}", float(i % 4 > 0), "own.jsonl", "", 1.0) for i in range(400)]
    calibrator = static_model.calibrate(np.array([-1.0 if e.target else 1.0 for e in examples]), examples)
    np.testing.assert_allclose(calibrator(np.array([-1.0, 1.0])), 0.75, atol=0.01)


def test_calibration_recovers_known_log_odds() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=20_000)
    examples = [Example(str(i), 1 / (1 + np.exp(-x)), "own.jsonl", "", 1.0) for i, x in enumerate(true)]
    calibrator = static_model.calibrate((true - 0.5) / 2, examples)
    assert calibrator.slope == pytest.approx(2, rel=1e-3)
    assert calibrator.intercept == pytest.approx(0.5, rel=1e-3)
