"""Benchmarks that a router will be reported on, and the training rows that ask what they ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from routing_lab.data.examples import Example
from routing_lab.data.files import DataFile
from routing_lab.data.splits import Overlap, held_out, keep_apart, load_benchmarks

from routing_service.errors import UsageError

from .test_preferences import halves, write_mmlu

ASKED = "Which of the nine numbered statutes governs the sale of a used car to a minor today?"
OTHER = "Write a short poem about the first snow of the year in the mountains, with rhymes."


def write_benchmark(path: Path, *prompts: str) -> Path:
    path.write_text("".join(json.dumps({"prompt": prompt, "scores": {"a": 1}}) + "\n" for prompt in prompts))
    return path


def rows(*prompts: str) -> list[Example]:
    return [Example(prompt, 1.0, "own", "", 1.0, f"own.jsonl:{line}") for line, prompt in enumerate(prompts, 1)]


def test_overlap_is_refused_with_places_and_without_prompts(tmp_path: Path) -> None:
    benchmark = write_benchmark(tmp_path / "house.jsonl", OTHER, ASKED)
    with pytest.raises(UsageError) as caught:
        keep_apart(rows("Something else.", "PLEASE: " + ASKED.upper()), [benchmark])
    message = str(caught.value)
    assert "1 rows ask what house asks, e.g. own.jsonl:2 (as house.jsonl:2)" in message
    assert "--drop-overlap" in message
    assert "--allow-overlap" in message
    assert "statutes" not in message.lower()


def test_overlap_can_be_dropped_and_is_recorded(tmp_path: Path) -> None:
    benchmark = write_benchmark(tmp_path / "house.jsonl", ASKED, OTHER)
    file = DataFile("own.jsonl", "sha", "MIT", rows=3, used=3)
    split = keep_apart(rows(ASKED, "Something else.", ASKED + "\nA. x\nB. y"), [benchmark], Overlap.DROP, [file])
    assert [row.prompt for row in split.rows] == ["Something else."]
    assert (file.used, file.record()["overlap"]) == (1, 2)
    record = split.provenance()["benchmarks"]["house"]
    assert record.pop("benchmark_sha256")
    assert record == {"overlap": "dropped", "prompts": 1, "overlapping_rows": 2, "benchmark_prompts": 2}


def test_overlap_can_be_allowed_and_is_recorded(tmp_path: Path) -> None:
    split = keep_apart(rows(ASKED, OTHER), [write_benchmark(tmp_path / "house.jsonl", ASKED)], Overlap.ALLOW)
    assert len(split.rows) == 2
    assert split.benchmarks["house"]["overlap"] == "allowed"
    assert split.benchmarks["house"]["overlapping_rows"] == 1


@pytest.mark.parametrize("overlap", list(Overlap))
def test_without_overlap_nothing_changes(tmp_path: Path, overlap: Overlap) -> None:
    asked = rows("Something else.", "And another.")
    split = keep_apart(asked, [write_benchmark(tmp_path / "house.jsonl", ASKED)], overlap)
    assert split.rows == asked
    assert split.benchmarks["house"]["overlap"] == "none"


def test_without_a_benchmark_there_is_no_record() -> None:
    assert keep_apart(rows(ASKED), []).provenance() == {}


def test_a_folder_in_routellm_s_layout_is_its_benchmarks(tmp_path: Path) -> None:
    dev, audit = halves(12)
    root = write_mmlu(tmp_path / "evals", dev + audit, contaminated=dev[:1])
    (root / "mt_bench").mkdir()
    questions = [{"question_id": 1, "turns": [ASKED, "And for a lorry?"]}, {"question_id": 2, "turns": [OTHER, "Why?"]}]
    text = "".join(json.dumps(question) + "\n" for question in questions)
    (root / "mt_bench" / "question.jsonl").write_text(text)
    found = {benchmark.name: benchmark for benchmark in load_benchmarks([root])}
    assert {name: benchmark.prompts for name, benchmark in found.items()} == {"mmlu": 11, "mt-bench": 2}
    assert set(found["mmlu"].texts) == {*dev[1:], *audit}
    assert found["mt-bench"].texts == (ASKED, "And for a lorry?", OTHER, "Why?")
    split = keep_apart(rows(*dev[1:], "and for a lorry"), [root], Overlap.DROP)
    assert split.rows == []
    assert {name: record["prompts"] for name, record in split.benchmarks.items()} == {
        "mmlu": len(dev) - 1,
        "mt-bench": 1,
    }


def test_a_benchmark_s_hash_is_of_what_it_asks(tmp_path: Path) -> None:
    one, two, three = (
        load_benchmarks([write_benchmark(tmp_path / f"{name}.jsonl", *prompts)])[0].sha256
        for name, prompts in (("a", (ASKED, OTHER)), ("b", (OTHER, ASKED)), ("c", (OTHER, ASKED + "!")))
    )
    assert one == two != three


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", ": has no rows"),
        ("{", ":1: is not JSON"),
        ('{"prompt": " "}\n', ": none of its 1 rows can be used: they have no text"),
        ('{"prompt": "p"}\n{"question": "p"}\n', ":2: has no 'prompt', only 'question'"),
    ],
)
def test_a_benchmark_that_cannot_be_read_is_named(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "house.jsonl").write_text(content)
    with pytest.raises(UsageError, match=f"house.jsonl.*{problem}"):
        load_benchmarks([tmp_path / "house.jsonl"])


def test_benchmarks_must_exist_and_differ_in_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--report-on .*none\.jsonl does not exist"):
        load_benchmarks([tmp_path / "none.jsonl"])
    benchmark = write_benchmark(tmp_path / "house.jsonl", ASKED)
    with pytest.raises(UsageError, match="two benchmarks 'house'"):
        load_benchmarks([benchmark, benchmark])


def test_near_duplicates_stay_on_one_side() -> None:
    endings = [
        f"tell me how many of the {i} apples in basket {i} are left in the end when {i} children take two of them each "
        "and one child comes back"
        for i in range(60)
    ]
    prompts = [f"{opening} {ending}" for ending in endings for opening in ("Please", "Now", "Hello there")]
    sides = held_out(prompts, 0.3, 0)
    assert any(sides)
    assert not all(sides)
    for first in range(0, len(prompts), 3):
        assert len(set(sides[first : first + 3])) == 1
