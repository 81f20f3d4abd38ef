"""`routing-service calibrate` to a quality or a budget, and `--compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.cli import PROMPTS, Run, complaint
from tests.support.rows import write_rows

Write = Callable[..., Path]
PRICES = ("--prices", "big=10/30", "small=1/2")


@pytest.fixture
def labelled(tmp_path: Path) -> Write:
    """`labelled([(strong, weak), …], **fields)`: PROMPTS with those scores."""

    def write(scores: list[Any], **fields: Any) -> Path:
        path = tmp_path / "labelled.jsonl"
        rows = [
            {"prompt": prompt, "scores": {"big": strong, "small": weak, "other": 1}, **fields}
            for prompt, (strong, weak) in zip(PROMPTS, scores, strict=True)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    return write


SCORES = [(1, 1), (1, 0), (1, 1), (0, 0), (1, 0)]


def test_a_quality_is_kept_with_the_fewest_strong_calls(
    run: Run, config: Path, labelled: Write, rates: list[float]
) -> None:
    ran = run("calibrate", "--target-quality", "0.75", "--input", labelled(SCORES), "--config", config, "--json")
    answer = json.loads(ran.out)
    strong, weak = np.array(SCORES, float).T
    chosen = np.asarray(rates) >= answer["threshold"]
    assert answer["strong_share"]["value"] == pytest.approx(chosen.mean())
    assert answer["quality"]["value"] == pytest.approx(np.where(chosen, strong, weak).mean())
    assert answer["quality_ratio"]["value"] >= 0.75 - 1e-9
    assert (answer["models"], answer["target_quality"]) == ({"strong": "big", "weak": "small"}, 0.75)
    assert (answer["sample_size"], answer["cost"]) == (5, None)
    for name in ("strong_share", "quality", "quality_ratio", "call_saving"):
        low, high = answer[name]["interval"]
        assert low <= answer[name]["value"] <= high


def test_a_quality_is_told_in_words(run: Run, config: Path, labelled: Write) -> None:
    path = labelled(SCORES, input_tokens=100, output_tokens={"big": 200, "small": 100})
    ran = run("calibrate", "--target-quality", "0.75", "--input", path, "--config", config, *PRICES)
    first, *rest = ran.out.splitlines()
    assert first.startswith("For ")
    assert "% strong model calls for static, threshold = " in first
    text = "\n".join(rest)
    for label in ("strong calls", "mean score", "quality kept", "cost", "saving", "target met"):
        assert label in text
    assert "assumed" not in ran.err


def test_a_budget_buys_as_many_strong_calls_as_it_can(run: Run, config: Path, labelled: Write) -> None:
    path = labelled(SCORES, input_tokens=1000, output_tokens=0)  # 0.01 and 0.001 USD
    ran = run("calibrate", "--budget", "0.0065", "--input", path, "--config", config, *PRICES, "--json")
    answer = json.loads(ran.out)
    assert answer["strong_share"]["value"] == pytest.approx(0.6)
    assert answer["cost"]["value"] == pytest.approx((3 * 0.01 + 2 * 0.001) / 5)
    assert answer["cost_saving"]["value"] == pytest.approx(1 - 0.0064 / 0.01)
    assert answer["quality"] is not None


def test_a_budget_needs_no_labels_and_states_what_it_assumes(run: Run, config: Path, prompts: Path) -> None:
    ran = run(
        "calibrate", "--budget", "1", "--input", prompts, "--config", config, "--prices", "weak=1/2", "strong=10/30",
        "--output-tokens", "500", "--json",
    )  # fmt: skip
    answer = json.loads(ran.out)
    assert (answer["strong_share"]["value"], answer["quality"]) == (1.0, None)
    tokens = sum(len(prompt) for prompt in PROMPTS) / 4 / 5
    assert answer["cost"]["value"] == pytest.approx((tokens * 10 + 500 * 30) / 1e6)
    assert "5 of 5 rows do not say input_tokens; assumed: one every 4 characters" in ran.err
    assert "5 of 5 rows do not say output_tokens; assumed: 500 an answer" in ran.err


def test_means_are_told_where_they_are_part_of_nothing(run: Run, config: Path, labelled: Write) -> None:
    path = labelled([(0, 0)] * 5)
    ran = run("calibrate", "--budget", "1", "--prices", "strong=0/0", "weak=0/0", "--input", path, "--config", config)
    assert "mean score    0" in ran.out
    assert "cost          0" in ran.out
    assert "quality kept" not in ran.out
    assert "saving" not in ran.out


def test_confidence_asks_for_more(run: Run, config: Path, labelled: Write) -> None:
    path = labelled([(1, 1), (1, 0), (1, 1), (1, 0), (1, 0)])
    arguments = ("calibrate", "--target-quality", "0.6", "--input", path, "--config", config, "--json")
    plain, sure = (json.loads(run(*arguments, *more).out) for more in ((), ("--confidence", "0.99")))
    assert sure["met"] >= 0.99 > plain["met"]
    assert sure["strong_share"]["value"] > plain["strong_share"]["value"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--target-quality", "1.9"), "no threshold reaches 1.9"),
        (("--budget", "1e-9", *PRICES), "no threshold costs as little as 1e-09 USD a request; the least is"),
        (("--target-quality", "0.9", "--strong-model", "bgi"), "did you mean 'big'? Known: 'big', 'other', 'small'"),
        (("--budget", "1", "--prices", "big=1/2", "tiny=1/2"), "write small=INPUT/OUTPUT or weak=…"),
        (("--target-quality", "0.9", "--confidence", "1.5"), "not a number from 0 to 1"),
    ],
)
def test_what_cannot_be_reached_is_told(
    run: Run, config: Path, labelled: Write, arguments: tuple[str, ...], says: str
) -> None:
    ran = run("calibrate", *arguments, "--input", labelled(SCORES), "--config", config)
    assert ran.code in (1, 2)
    assert ran.out == ""
    assert says.lower() in ran.err.lower()


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([(1, 1), (1, 0), (1, 1), (float("nan"), 1), (1, 1)], ":4: the score of 'big' must be a finite number"),
        ([(1, 1), (1, 0), ("1", 1), (1, 1), (1, 1)], ":3: the score of 'big' must be a finite number"),
        ([(0, 1)] * 5, "the strong model's mean score is 0"),
    ],
)
def test_scores_that_are_none_are_told_by_line(
    run: Run, config: Path, labelled: Write, scores: list[Any], says: str
) -> None:
    err = complaint(run("calibrate", "--target-quality", "0.9", "--input", labelled(scores), "--config", config))
    assert says in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "has no rows"),
        ('{"prompt": "hi"}', ":1: has no 'scores', only 'prompt'. Labels are needed: write"),
        ('{"prompt": "hi", "scores": {}}', ":1: 'scores' must be an object"),
        ('{"prompt": " ", "scores": {"big": 1, "small": 0}}', "none of its 1 rows can be used: they have no text"),
        (
            '{"prompt": "hi", "scores": {"a/big": 1, "b/big": 1, "small": 0}}',
            ":1: 'big' may be any of 'a/big', 'b/big'",
        ),
        ('{"scores": {"big": 1, "small": 0}}', "has no 'prompt'"),
        ('{"prompt": "hi", "scores": {"huge": 1, "small": 0}}', "no model is named 'big'"),
        ('{"prompt": "a", "scores": {"big": 1}}\n{"prompt": "b", "scores": {"small": 1}}', "different rows"),
        ('{"prompt": "hi", "scores": {"big": 1, "small": 0}, "input_tokens": -1}', "must not be negative"),
        ('{"prompt": "hi", "scores": {"big": 1, "small": 0}, "output_tokens": {"big": "x"}}', "output_tokens of 'big'"),
    ],
)
def test_wrong_labelled_data_is_told(run: Run, tmp_path: Path, config: Path, content: str, says: str) -> None:
    (tmp_path / "d.jsonl").write_text(content)
    arguments = ("--target-quality", "0.9", "--input", tmp_path / "d.jsonl", "--config", config, *PRICES)
    assert says in complaint(run("calibrate", *arguments))


def test_missing_files_and_standard_input_are_told(run: Run, tmp_path: Path, config: Path) -> None:
    for arguments in (("--target-quality", "0.9", "--input"), ("--strong-model-pct", "0.5", "--input"), ("--compare",)):
        err = complaint(run("calibrate", *arguments, tmp_path / "none.jsonl", "--config", config))
        assert "none.jsonl: cannot be read: No such file" in err
    assert "give a file" in complaint(run("calibrate", "--target-quality", "0.9", "--input", "-", "--config", config))


def test_rows_without_both_models_or_a_text_are_left_out_and_counted(run: Run, config: Path, labelled: Write) -> None:
    path = labelled(SCORES)
    with path.open("a") as file:
        file.write('{"prompt": "hi", "scores": {"other": 1}}\n{"prompt": "ho", "scores": {"big": 1, "small": null}}\n')
        file.write('{"prompt": " ", "scores": {"big": 1, "small": 0}}\n')
    ran = run("calibrate", "--target-quality", "0.9", "--input", path, "--config", config, "--json")
    assert json.loads(ran.out)["sample_size"] == 5
    assert "2 rows do not score both models and are left out" in ran.err
    assert f"1 of 8 rows of {path} have no text and are left out" in ran.err


def test_models_are_named_with_or_without_their_organisation(run: Run, config: Path, tmp_path: Path) -> None:
    rows = [
        {
            "prompt": prompt,
            "scores": {"org/BIG": bool(big), "Small": bool(small)},
            "input_tokens": {"Org/Big": 100, "small": 90},
            "output_tokens": 10,
        }
        for prompt, (big, small) in zip(PROMPTS, SCORES, strict=True)
    ]
    path = write_rows(tmp_path / "labelled.jsonl", rows)
    arguments = ("calibrate", "--target-quality", "0.75", "--input", path, "--config", config, "--json")
    ran = run(*arguments, "--prices", "vendor/big=10/30", "SMALL=1/2")
    assert ran.code == 0, ran
    assert "do not say" not in ran.err
    answer = json.loads(ran.out)
    assert answer["strong_cost"] == pytest.approx((100 * 10 + 10 * 30) / 1e6)
    assert run(*arguments, "--strong-model", "other/big", "--prices", "strong=10/30", "weak=1/2").out


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".tsv"])
def test_labels_are_read_from_tables(run: Run, config: Path, tmp_path: Path, labelled: Write, suffix: str) -> None:
    rows = list(map(json.loads, labelled(SCORES, input_tokens=5, output_tokens=7).read_text().splitlines()))
    paths = (tmp_path / "labelled.jsonl", write_rows(tmp_path / f"rows{suffix}", rows))
    one, other = (
        run("calibrate", "--target-quality", "0.75", "--input", path, "--config", config, *PRICES) for path in paths
    )
    assert one.code == 0, one
    assert one.out == other.out


def test_battles_are_labels(run: Run, config: Path, tmp_path: Path) -> None:
    winners = {(1, 1): "tie", (0, 0): "tie", (1, 0): "model_a", (0, 1): "model_b"}
    rows = [
        {"prompt": json.dumps([prompt]), "model_a": "big", "model_b": "org/small", "winner": winners[pair]}
        for prompt, pair in zip(PROMPTS, SCORES, strict=True)
    ]
    path = write_rows(tmp_path / "battles.csv", rows)
    ran = run("calibrate", "--target-quality", "0.75", "--input", path, "--config", config, "--json")
    answer = json.loads(ran.out)
    assert answer["sample_size"] == 5
    assert (answer["strong_quality"], answer["weak_quality"]) == pytest.approx((0.7, 0.3))


# --- drift --------------------------------------------------------------------------------------------------


def test_recent_prompts_are_compared_with_the_router_s_table(run: Run, config: Path, prompts: Path) -> None:
    ran = run("calibrate", "--compare", prompts, "--config", config, "--json")
    answer = json.loads(ran.out)
    assert (answer["router"], answer["sample_size"], answer["recent"]) == ("static", 5, str(prompts))
    assert answer["table"] == {"source": "a test", "sample_size": 5}
    assert answer["reading"] in {"stable", "inconclusive"}
    assert [point["strong_share"] for point in answer["points"]] == [0.2, 0.5, 0.8]


def test_scores_that_are_there_are_not_scored_again(run: Run, tmp_path: Path, config: Path) -> None:
    rows = [{"strong_win_rate": 0.1 + 0.8 * number / 999, "decision_id": str(number)} for number in range(1000)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "log.csv").write_text("strong_win_rate\n" + "\n".join(str(row["strong_win_rate"]) for row in rows))
    (tmp_path / "log").write_bytes((tmp_path / "log.jsonl").read_bytes())
    for name in ("log", "log.jsonl", "log.csv"):
        arguments = ("calibrate", "--compare", tmp_path / name, "--strong-model-pct", "0.25", "--config", config)
        answer = json.loads(run(*arguments, "--json").out)
        assert answer["sample_size"] == 1000
        (point,) = answer["points"]
        assert (point["threshold"], point["realized_share"]) == pytest.approx((0.7, 0.25), abs=2e-3)
    ran = run(*arguments)
    assert "1,000 recent prompts against the table of static" in ran.out
    assert "25.0%   0.70000" in ran.out


@pytest.mark.parametrize("fail", [False, True])
def test_major_drift_can_fail_a_pipeline(run: Run, tmp_path: Path, config: Path, fail: bool) -> None:
    (tmp_path / "base.jsonl").write_text('{"prompt": "hello world"}\n{"prompt": "Prove it, café 中文!"}\n' * 200)
    (tmp_path / "recent.jsonl").write_text('{"strong_win_rate": 0.99}\n' * 400)
    arguments = ("--compare", tmp_path / "recent.jsonl", "--input", tmp_path / "base.jsonl", "--config", config)
    ran = run("calibrate", *arguments, *(["--fail-on-drift"] if fail else []))
    assert ran.code == int(fail)
    assert "major drift" in ran.out
    assert "changed" in ran.out
    assert ("the scores have drifted" in ran.err) == fail


@pytest.mark.parametrize(
    "row", ['{"strong_win_rate": null}', '{"strong_win_rate": NaN}', '{"strong_win_rate": 2}', "{}"]
)
def test_recent_scores_that_are_none_are_told_by_line(run: Run, tmp_path: Path, config: Path, row: str) -> None:
    (tmp_path / "log.jsonl").write_text(f'{{"strong_win_rate": 0.5}}\n{row}\n')
    err = complaint(run("calibrate", "--compare", tmp_path / "log.jsonl", "--config", config))
    assert "log.jsonl:2: 'strong_win_rate' is not a number from 0 to 1" in err


def test_nothing_recent_is_told(run: Run, tmp_path: Path, config: Path) -> None:
    (tmp_path / "log.csv").write_text("strong_win_rate\n")
    assert "has no rows" in complaint(run("calibrate", "--compare", tmp_path / "log.csv", "--config", config))
    (tmp_path / "p.txt").write_text("\n")
    assert "has no rows" in complaint(run("calibrate", "--compare", tmp_path / "p.txt", "--config", config))
