"""What may be trained on, and what is said of data that cannot be."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from routing_lab.data.battles import load_battles
from routing_lab.data.duplicates import near_duplicate_groups
from routing_lab.data.halves import in_dev_half
from routing_lab.data.leaks import LeakGuard
from routing_lab.data.preferences import load_preferences
from routing_lab.data.routellm_folders import dev_rows, held_out_prompts
from routing_lab.data.splits import Overlap, keep_apart

from routing_service.errors import UsageError

STRONG, WEAK = "org/Big", "small"


def write_lines(path: Path, rows: Iterable[object]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_mmlu(root: Path, prompts: Sequence[str], contaminated: Sequence[str] = ()) -> Path:
    folder = root / "mmlu"
    (folder / "responses").mkdir(parents=True)
    with (folder / "responses" / "mmlu_law.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["prompt", "other/SMALL", "big"])
        writer.writerows([prompt, "False", "True"] for prompt in prompts)
    write_lines(folder / "contaminated_prompts.jsonl", [{"eval_prompt": prompt} for prompt in contaminated])
    return root


def halves(count: int) -> tuple[list[str], list[str]]:
    prompts = [
        f"Which of the nine numbered statutes governs case {i} today?\nA. x\nB. y\nAnswer:" for i in range(count)
    ]
    return [p for p in prompts if in_dev_half(p)], [p for p in prompts if not in_dev_half(p)]


def test_the_dev_half_is_the_odd_hashes() -> None:
    for prompt in ("", "What is 2 + 2?", "Ünïcode"):
        digest = hashlib.sha256(b"audit-v1|" + prompt.encode()).hexdigest()
        assert in_dev_half(prompt) == (digest[-1] in "13579bdf")


def test_only_the_dev_half_is_loaded_and_contaminated_prompts_are_not(tmp_path: Path) -> None:
    dev, audit = halves(40)
    assert len(dev) > 3
    assert len(audit) > 3
    data = load_preferences([write_mmlu(tmp_path, dev + audit, contaminated=dev[:1])], STRONG, WEAK)
    assert {example.prompt for example in data.examples} == set(dev[1:])
    assert {example.target for example in data.examples} == {1.0}
    assert data.files[0].used == len(dev) - 1


def test_a_benchmark_folder_can_be_named_itself(tmp_path: Path) -> None:
    dev, audit = halves(10)
    root = write_mmlu(tmp_path, dev + audit)
    assert len(load_preferences([root / "mmlu"], STRONG, WEAK).examples) == len(dev)


def test_the_halves_are_complements(tmp_path: Path) -> None:
    dev, audit = halves(20)
    folder = write_mmlu(tmp_path, dev + audit) / "mmlu"
    rows = dev_rows(folder, folder / "responses" / "mmlu_law.csv", STRONG, WEAK)
    assert [row.prompt for row in rows] == dev
    assert list(held_out_prompts(folder)) == audit


def test_preference_rows_that_hold_an_audit_prompt_are_dropped(tmp_path: Path) -> None:
    dev, audit = halves(20)
    root = write_mmlu(tmp_path / "evals", dev + audit)
    turns = ["Describe a vivid and unique character, using strong imagery and creative language.", "Now rhyme."]
    (root / "mt_bench").mkdir()
    write_lines(root / "mt_bench" / "question.jsonl", [{"question_id": 1, "turns": turns}])
    wrapped = "Answer the question.\n" + audit[0].upper().replace("\nA. ", "\n(1) ")
    prompts = [audit[1], wrapped, turns[0].lower(), "Please, " + turns[0] + " Thanks!", "now rhyme", "Something else."]
    scores = {"big": 1, "small": 0}
    file = write_lines(tmp_path / "own.jsonl", [{"prompt": prompt, "scores": scores} for prompt in prompts])
    data = load_preferences([file, root], STRONG, WEAK)
    assert [e.prompt for e in data.examples if e.source == "own.jsonl"] == ["Something else."]
    assert data.files[0].held_out == 5


def test_rows_after_one_that_is_held_out_are_read(tmp_path: Path) -> None:
    dev, audit = halves(20)
    question = audit[0].partition("\n")[0]
    wrapped = (f"{question}\nA. another {number}\nB. y\nAnswer:" for number in range(100))
    leaking = next(prompt for prompt in wrapped if in_dev_half(prompt))
    prompts = [dev[0], leaking, *dev[1:], *audit]
    data = load_preferences([write_mmlu(tmp_path, prompts)], STRONG, WEAK)
    assert [example.prompt for example in data.examples] == dev
    (file,) = data.files
    assert (file.rows, file.used, file.held_out) == (len(dev) + 1, len(dev), 1)
    battles = load_battles([tmp_path])
    assert [battle.prompt for battle in battles.battles] == dev
    assert (battles.files[0].used, battles.files[0].held_out) == (len(dev), 1)


def test_the_guard_lets_other_questions_pass() -> None:
    guard = LeakGuard(["Which planet of the solar system has the most moons in total?\nA. Mars\nB. Saturn\nAnswer:"])
    assert guard.leaks("Q: which planet of the solar system has the most moons in total")
    assert not guard.leaks("Which planet of the solar system has the most craters?")
    assert not guard.leaks("")


def test_near_duplicates_share_a_group() -> None:
    passage = " ".join(f"word{i}" for i in range(80))
    question = "What would the author of the statement above most likely conclude about it?"
    keys = near_duplicate_groups(
        [
            f"{passage} {question}\nA. x\nB. y\nAnswer:",
            f"{passage} Who wrote the statement, and for whom was it meant to be read?",
            "Which is true?\nA. x\nB. y\nAnswer:",
            "Which is true?\nA. z\nB. y\nAnswer:",
            "How far does a train go in three hours at sixty miles an hour?",
            "Question: how far does a train go in three hours, at sixty miles an hour?",
        ]
    )
    assert keys[0] == keys[1]
    assert keys[2] != keys[3]
    assert len(set(keys[2:])) == 4


@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.gz"])
def test_shares_keep_their_difference_and_grades_their_sign(tmp_path: Path, name: str) -> None:
    rows = [{"prompt": f"p{i}", "scores": {"big": big, "small": 0.25}} for i, big in enumerate((0.75, 0.25, 0.0))]
    data = load_preferences([write_lines(tmp_path / name, rows)], STRONG, WEAK)
    assert [example.target for example in data.examples] == [0.75, 0.5, 0.375]
    rows.append({"prompt": "graded", "scores": {"big": 9, "small": 2}})
    data = load_preferences([write_lines(tmp_path / name, rows)], STRONG, WEAK)
    assert [example.target for example in data.examples] == [1.0, 0.5, 0.0, 1.0]


def test_rows_without_the_pair_are_counted(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "scores": {"big": 1}}, {"prompt": "q", "scores": {"big": 1, "small": 0}}]
    data = load_preferences([write_lines(tmp_path / "a.jsonl", rows)], STRONG, WEAK)
    assert [example.prompt for example in data.examples] == ["q"]
    assert data.files[0].without_pair == 1


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            [{"prompt": "p", "scores": {"huge": 1, "small": 0}}],
            "1 do not score 'org/Big' and 'small', only 'huge', 'small' (name models as the rows do)",
        ),
        ([{"prompt": " ", "scores": {"big": 1, "small": 0}}], "1 have no text"),
        (
            [{"source": "routellm-distl", "prompt": "p", "scores": {"big": 0, "small": 0}}],
            "1 were failed by every model",
        ),
    ],
)
def test_a_file_without_a_usable_row_is_refused_beside_good_ones(
    tmp_path: Path, rows: list[dict[str, object]], why: str
) -> None:
    good = write_lines(tmp_path / "good.jsonl", [{"prompt": "q", "scores": {"big": 1, "small": 0}}])
    with pytest.raises(
        UsageError, match=r"none of its 1 rows can be used: .* Its columns: .*'prompt', 'scores'"
    ) as caught:
        load_preferences([good, write_lines(tmp_path / "other.jsonl", rows)], STRONG, WEAK)
    assert f"{tmp_path / 'other.jsonl'}: none of its 1 rows can be used: {why}." in str(caught.value)
    (tmp_path / "other.jsonl").write_text("")
    with pytest.raises(UsageError, match=r"other\.jsonl: has no rows"):
        load_preferences([good, tmp_path / "other.jsonl"], STRONG, WEAK)


def test_a_row_of_which_two_models_may_be_meant_is_refused(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "scores": {"a/big": 1, "b/big": 0, "small": 0}}]
    with pytest.raises(UsageError, match=r"a\.jsonl:1: 'org/Big' may be any of 'a/big', 'b/big'"):
        load_preferences([write_lines(tmp_path / "a.jsonl", rows)], STRONG, WEAK)
    data = load_preferences([tmp_path / "a.jsonl"], "b/big", WEAK)
    assert [example.target for example in data.examples] == [0.5]


def test_what_every_small_model_failed_at_is_no_tie(tmp_path: Path) -> None:
    small = {"llama3.1-8b": 0, "gemma3-4b": 0, "llama3.2-1b": 0, "gemma3-1b": 0}
    rows = [
        {"source": "routellm-distl", "prompt": "unsolved", "scores": small},
        {"source": "routellm-distl", "prompt": "solved by one of two", "scores": small | {"gemma3-4b": 1}},
        {"source": "own", "prompt": "a tie", "scores": {"big": 0, "small": 0}},
    ]
    data = load_preferences([write_lines(tmp_path / "a.jsonl", rows)], STRONG, WEAK)
    assert [(e.prompt, e.target) for e in data.examples] == [("solved by one of two", 0.75), ("a tie", 0.5)]
    assert data.files[0].unsolved == 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not an object"),
        ('{"scores": {"a": 1}}', "has no 'prompt'"),
        ('{"prompt": "p"}', "has no 'scores'"),
        ('{"prompt": "p", "scores": {"a": "1"}}', "the score of 'a'"),
        ('{"prompt": "p", "scores": {"a": NaN}}', "the score of 'a'"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "fine", "scores": {"big": 1, "small": 0}}\n' + line + "\n")
    with pytest.raises(UsageError, match=f"a.jsonl:2: .*{problem}"):
        load_preferences([path], STRONG, WEAK)


def test_paths_of_no_use_are_named(tmp_path: Path) -> None:
    (tmp_path / "table.xlsx").write_text("")
    (tmp_path / "broken.jsonl.gz").write_text("not gzip")
    (tmp_path / "empty").mkdir()
    for name, problem in (
        ("missing", "does not exist"),
        ("table.xlsx", "is a spreadsheet"),
        ("broken.jsonl.gz", "cannot be read"),
        ("empty", "holds no"),
    ):
        with pytest.raises(UsageError, match=f"{name}.*{problem}"):
            load_preferences([tmp_path / name], STRONG, WEAK)


def test_a_benchmark_that_lacks_the_pair_says_which_column(tmp_path: Path) -> None:
    dev, audit = halves(10)
    with pytest.raises(UsageError, match=r"mmlu_law\.csv:\d+: .*'huge'"):
        load_preferences([write_mmlu(tmp_path, dev + audit)], "huge", WEAK)


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("may", "june"):
        (tmp_path / folder).mkdir()
        row = {"prompt": f"the question of {folder}", "scores": {"big": 1, "small": 0}}
        (tmp_path / folder / "part.jsonl").write_text(json.dumps(row) + "\n")
    paths = [tmp_path / folder / "part.jsonl" for folder in ("may", "june")]
    data = load_preferences(paths, "big", "small")
    assert [file.name for file in data.files] == ["may/part.jsonl", "june/part.jsonl"]
    assert [example.where for example in data.examples] == ["may/part.jsonl:1", "june/part.jsonl:1"]
    (tmp_path / "exam.jsonl").write_text(json.dumps({"prompt": "The question of June?"}) + "\n")
    keep_apart(data.examples, [tmp_path / "exam.jsonl"], Overlap.DROP, data.files)
    assert [file.used for file in data.files] == [1, 0]
    with pytest.raises(UsageError, match="twice"):
        load_preferences([paths[0], tmp_path / "may"], "big", "small")


def test_what_a_program_put_around_a_prompt_is_not_learnt(tmp_path: Path) -> None:
    row = {"prompt": "<state>\nopen: a.py\n</state>\nWhat is it?", "scores": {"big": 1, "small": 0}}
    path = write_lines(tmp_path / "rows.jsonl", [row])
    assert [example.prompt for example in load_preferences([path], STRONG, WEAK).examples] == ["What is it?"]
    assert [battle.prompt for battle in load_battles([path]).battles] == ["What is it?"]
