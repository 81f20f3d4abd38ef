"""RouteLLM's folders are read as RouteLLM reads them, and what is wrong with one is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from routing_lab.evals.benchmarks import for_pair
from routing_lab.evals.registry import load_benchmark

from routing_service.errors import UsageError
from tests.support.benchmarks import STRONG, WEAK, write_csv, write_lines


def test_mmlu_is_every_subject_without_contaminated_prompts(evals_folder: Path) -> None:
    data = load_benchmark("mmlu", evals_folder)
    assert data.prompts == ("a1", "a2", "a3", "v1", "a1")
    np.testing.assert_array_equal(data.scores[STRONG], [100, 100, 100, 0, 100])
    np.testing.assert_array_equal(data.scores[WEAK], [100, 0, 0, 100, 100])
    assert data.left_out == 1
    assert data.halves
    assert data.notes == ("2 of 57 subjects: not comparable with results on all of MMLU",)
    assert set(data.files) == {"mmlu/mmlu_anatomy.csv", "mmlu/mmlu_virology.csv"}


def test_gsm8k_passes_over_columns_that_are_no_models(evals_folder: Path) -> None:
    path = evals_folder / "gsm8k/gsm8k_responses.csv"
    write_csv(
        path, ['q1,True,False,"long, text",x', "q2,1,0.0,more,y"], f"prompt,{STRONG},{WEAK},{STRONG}_response,note"
    )
    data = load_benchmark("gsm8k", evals_folder)
    assert set(data.scores) == {STRONG, WEAK}
    np.testing.assert_array_equal(data.scores[STRONG], [100, 100])


def test_mt_bench_is_the_mean_of_both_turns_of_any_model(evals_folder: Path) -> None:
    data = load_benchmark("mt-bench", evals_folder)
    assert data.prompts == ("first 1", "first 3")
    np.testing.assert_allclose(data.scores[STRONG], [9.5, 8.5])
    np.testing.assert_allclose(for_pair(data, "gpt-4-1106-preview", "another").weak, [1, 0])
    assert data.left_out == 1
    assert data.held_out


def test_the_folder_of_the_benchmark_itself_will_do(evals_folder: Path) -> None:
    assert load_benchmark("gsm8k", evals_folder / "gsm8k").prompts == load_benchmark("gsm8k", evals_folder).prompts


def test_a_model_that_a_subject_lacks_is_named_with_the_file(evals_folder: Path) -> None:
    write_csv(evals_folder / "mmlu/responses/mmlu_zoology.csv", ["z,True,True"], f"prompt,{STRONG},{WEAK}")
    write_csv(evals_folder / "mmlu/responses/mmlu_aardvark.csv", ["z,True,True"], f"prompt,{WEAK},other")
    data = load_benchmark("mmlu", evals_folder)
    with pytest.raises(
        UsageError, match=r"1 of 7 prompts lack a score of 'gpt-4.*mmlu_aardvark\.csv has no such column"
    ):
        for_pair(data, STRONG, WEAK)


def remove(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def write(name: str, text: str | bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return change


JUDGEMENT = {"question_id": 1, "model": "m", "turn": 1, "score": 5}
# -1 is what FastChat writes where it could not read the judge's grade.
WRONG_GRADES = (-1, 11, float("nan"), True, "5", 10**400)
WRONG_TURNS: tuple[Any, ...] = ([], "a text", [None, None], [{"a": 1}])


def judged(**changes: Any) -> Callable[[Path], None]:
    return write("mt_bench/judgements.jsonl", json.dumps(JUDGEMENT | changes))


def asked(turns: Any) -> Callable[[Path], None]:
    return write("mt_bench/question.jsonl", json.dumps({"question_id": 1, "turns": turns}))


def list_all(folder: Path) -> None:
    write_lines(
        folder / "mmlu/contaminated_prompts.jsonl", [{"eval_prompt": p} for p in ("a1", "a2", "a3", "v1", "out")]
    )


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("gsm8k", remove("gsm8k/gsm8k_responses.csv"), r"has no gsm8k/gsm8k_responses\.csv; .*git clone"),
        ("mmlu", remove("mmlu/contaminated_prompts.jsonl"), r"contaminated_prompts\.jsonl: is missing"),
        (
            "mmlu",
            remove("mmlu/responses/mmlu_anatomy.csv", "mmlu/responses/mmlu_virology.csv"),
            r"has no mmlu_<subject>\.csv",
        ),
        ("mmlu", list_all, r"lists all 6 prompts, so that none is left"),
        ("gsm8k", write("gsm8k/gsm8k_responses.csv", "prompt,a\n"), "has no prompts"),
        (
            "gsm8k",
            write("gsm8k/gsm8k_responses.csv", "question,a\nq,True\n"),
            r"csv:2: has no 'prompt'; columns: 'question', 'a'",
        ),
        ("gsm8k", write("gsm8k/gsm8k_responses.csv", b"prompt,a\n\xff,True\n"), r"csv:2: is not UTF-8 text"),
        ("gsm8k", write("gsm8k/gsm8k_responses.csv", 'prompt,a\n"q,True\n'), r"csv:2: is not CSV"),
        ("gsm8k", write("gsm8k/contaminated_prompts.jsonl", "{"), r"jsonl:1: is not JSON"),
        ("gsm8k", write("gsm8k/contaminated_prompts.jsonl", "[1]"), "jsonl:1: is not an object"),
        (
            "gsm8k",
            write("gsm8k/contaminated_prompts.jsonl", '{"prompt": "p"}'),
            "jsonl:1: has no 'eval_prompt', only 'prompt'",
        ),
        ("mt-bench", remove("mt_bench/judgements.jsonl"), r"judgements\.jsonl: cannot be read"),
        (
            "mt-bench",
            write("mt_bench/judgements.jsonl", '{"question_id": 1, "model": "m", "score": 5}'),
            r"judgements\.jsonl:1: has no 'turn'",
        ),
        *(("mt-bench", judged(score=s), r"jsonl:1: 'score' is not a number from 0 to 10") for s in WRONG_GRADES),
        ("mt-bench", judged(turn="1"), r"jsonl:1: 'turn' is not a whole number"),
        ("mt-bench", judged(question_id=[1]), r"jsonl:1: 'question_id' is neither a whole number nor a text"),
        ("mt-bench", judged(model=None), r"jsonl:1: 'model' is not a text"),
        (
            "mt-bench",
            write("mt_bench/judgements.jsonl", f"{json.dumps(JUDGEMENT)}\n" * 2),
            r"jsonl:2: 'm' has a grade for turn 1 of question 1 already",
        ),
        *(("mt-bench", asked(turns), r"question\.jsonl:1: 'turns' is not a list of texts") for turns in WRONG_TURNS),
        ("mt-bench", write("mt_bench/question.jsonl", b"\xff"), r"question\.jsonl:1: is not UTF-8 text"),
        (
            "gsm8k",
            write("gsm8k/gsm8k_responses.csv", "prompt,a\nq,True\nwith, commas,True\n"),
            r"csv:3: has more fields than the 2 of the header; put fields that hold commas in quotes",
        ),
        ("gsm8k", write("gsm8k/gsm8k_responses.csv", "prompt,a,a\nq,True,False\n"), r"csv:1: has two columns 'a'"),
    ],
)
def test_what_is_wrong_is_said(evals_folder: Path, name: str, change: Callable[[Path], None], says: str) -> None:
    change(evals_folder)
    with pytest.raises(UsageError, match=says):
        load_benchmark(name, evals_folder)


def test_a_folder_is_needed_and_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--benchmark mt-bench needs --data DIR; .*git clone"):
        load_benchmark("mt-bench", None)
    with pytest.raises(UsageError, match="is not a folder"):
        load_benchmark("mmlu", tmp_path / "nowhere")


def test_a_value_that_is_neither_right_nor_wrong_is_told(evals_folder: Path) -> None:
    write_csv(evals_folder / "gsm8k/gsm8k_responses.csv", ["q1,True,False", "q2,maybe,True", "q3,nan,True"])
    with pytest.raises(UsageError, match=r"2 of 3 prompts lack a score of '.*csv:3 is neither True nor False"):
        for_pair(load_benchmark("gsm8k", evals_folder), STRONG, WEAK)


def test_a_question_without_a_grade_is_told(evals_folder: Path) -> None:
    lines = (evals_folder / "mt_bench/judgements.jsonl").read_text().splitlines(keepends=True)
    write_lines(
        evals_folder / "mt_bench/judgements.jsonl",
        [line for line in lines if '"question_id": 3, "model": "gpt' not in line],
    )
    with pytest.raises(
        UsageError, match=r"1 of 2 prompts lack a score of 'gpt-4-1106-preview'.*no grade for question 3"
    ):
        for_pair(load_benchmark("mt-bench", evals_folder), STRONG, WEAK)


def test_a_question_of_which_one_turn_was_judged_is_told(evals_folder: Path) -> None:
    path = evals_folder / "mt_bench/judgements.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    one_turn = '"question_id": 3, "model": "gpt-4-1106-preview", "turn": 2'
    assert sum(one_turn in line for line in lines) == 1
    write_lines(path, [line for line in lines if one_turn not in line])
    data = load_benchmark("mt-bench", evals_folder)
    with pytest.raises(UsageError, match=r"has grades for 1 of 2 turns of question 3"):
        for_pair(data, STRONG, WEAK)
    assert for_pair(data, "another", WEAK).data.prompts == data.prompts


def test_a_byte_order_mark_is_no_part_of_any_file(evals_folder: Path) -> None:
    names = ("gsm8k/gsm8k_responses.csv", "gsm8k/contaminated_prompts.jsonl")
    before = load_benchmark("gsm8k", evals_folder)
    for name in names:
        (evals_folder / name).write_bytes(b"\xef\xbb\xbf" + (evals_folder / name).read_bytes())
    after = load_benchmark("gsm8k", evals_folder)
    assert (after.prompts, after.left_out) == (before.prompts, before.left_out)
