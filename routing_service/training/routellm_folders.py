"""Reads benchmark responses laid out as in RouteLLM's `routellm/evals`.

A folder holds `mmlu/responses/*.csv` and `gsm8k/*_responses.csv` (a `prompt` column and one column a model, True where
it answered right), `mt_bench/question.jsonl`, and in each a `contaminated_prompts.jsonl` whose `eval_prompt`s are left
out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing_service.errors import UsageError
from routing_service.training.examples import in_dev_half
from routing_service.training.sources import canonical_model

BENCHMARKS = ("mmlu", "gsm8k")
MT_BENCH = "mt_bench"
_TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
# Responses may be pages long; the csv module's own limit is 128 KiB a field.
LONGEST_FIELD = 1 << 24


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A benchmark's prompt and, for the strong and the weak model, 1 where it answered right and 0 where wrong.

    `line` is the file's line where the row ends, from 1.
    """

    prompt: str
    group: str
    strong: float
    weak: float
    line: int = 0


@dataclass(frozen=True, slots=True)
class BenchmarkScores:
    """A benchmark's prompt and, for every model that the file has, 1 where it answered right and 0 where wrong."""

    prompt: str
    scores: dict[str, float]
    line: int


def benchmark_folders(path: Path) -> dict[str, Path]:
    """The benchmarks that `path` holds, or is itself, by name."""
    candidates = {name: path / name for name in (*BENCHMARKS, MT_BENCH)} | {path.name: path}
    return {
        name: folder
        for name, folder in candidates.items()
        if (name in BENCHMARKS and response_files(folder)) or (folder / "question.jsonl").is_file()
    }


def response_files(folder: Path) -> list[Path]:
    """The CSV files of one benchmark's folder, sorted."""
    return sorted([*(folder / "responses").glob("*.csv"), *folder.glob("*_responses.csv")])


def dev_rows(folder: Path, file: Path, strong: str, weak: str) -> Iterator[BenchmarkRow]:
    """The rows of one file that may be trained on: the dev half, without contaminated prompts."""
    return (row for row in _rows(folder, file, strong, weak) if in_dev_half(row.prompt))


def dev_score_rows(folder: Path, file: Path) -> Iterator[BenchmarkScores]:
    """As `dev_rows`, with the scores of every model: the columns that hold nothing but True and False."""
    contaminated = contaminated_prompts(folder)
    records = list(_records(file))
    models = [
        name
        for name in (records[0][1] if records else ())
        if name != "prompt" and all(str(record[name]).strip().lower() in _TRUTH for _, record in records)
    ]
    for line, record in records:
        if in_dev_half(record["prompt"]) and record["prompt"] not in contaminated:
            scores = {name: _TRUTH[record[name].strip().lower()] for name in models}
            yield BenchmarkScores(record["prompt"], scores, line)


def audit_rows(folder: Path, file: Path, strong: str, weak: str) -> Iterator[BenchmarkRow]:
    """The rows of one file that are reported on, never trained or tuned on. For `benchmarks/quality.py` only."""
    return (row for row in _rows(folder, file, strong, weak) if not in_dev_half(row.prompt))


def held_out_prompts(folder: Path) -> Iterator[str]:
    """Texts that training data must not contain: the audit half of MMLU or GSM8K, and every turn of MT-Bench."""
    for file in response_files(folder):
        for _, record in _records(file):
            prompt = record.get("prompt")
            if prompt is not None and not in_dev_half(prompt):
                yield prompt
    questions = folder / "question.jsonl"
    if questions.is_file():
        for record in _json_lines(questions):
            yield from record["turns"]


def evaluation_prompts(folder: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a benchmark asks, without contaminated prompts: FILE:LINE and the text, or the turns, of each item."""
    contaminated = contaminated_prompts(folder)
    for file in response_files(folder):
        for line, record in _records(file):
            if record["prompt"] not in contaminated:
                yield f"{file.name}:{line}", (record["prompt"],)
    questions = folder / "question.jsonl"
    if questions.is_file():
        for line, record in enumerate(_json_lines(questions), 1):
            if not contaminated.intersection(record["turns"]):
                yield f"{questions.name}:{line}", tuple(record["turns"])


def contaminated_prompts(folder: Path) -> set[str]:
    """Prompts that RouteLLM leaves out as contaminated; empty where the folder has no such list."""
    path = folder / "contaminated_prompts.jsonl"
    return {record["eval_prompt"] for record in _json_lines(path)} if path.is_file() else set()


def _rows(folder: Path, file: Path, strong: str, weak: str) -> Iterator[BenchmarkRow]:
    contaminated = contaminated_prompts(folder)
    group = file.stem.removeprefix("mmlu_").removesuffix("_responses")
    for line, record in _records(file):
        columns = {canonical_model(name): value for name, value in record.items() if isinstance(name, str)}
        try:
            on_strong, on_weak = (
                _TRUTH[str(columns[canonical_model(model)]).strip().lower()] for model in (strong, weak)
            )
            prompt = record["prompt"]
        except KeyError as error:
            raise UsageError(
                f"{file}, line {line}: no usable value for {error}. The file needs the columns 'prompt', {strong!r} "
                f"and {weak!r}, with True or False for the models; name the pair with --strong-model and --weak-model."
            ) from error
        if prompt not in contaminated:
            yield BenchmarkRow(prompt, group, on_strong, on_weak, line)


def _records(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    csv.field_size_limit(LONGEST_FIELD)
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            for record in reader:
                yield reader.line_num, record
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{file} cannot be read as UTF-8 CSV: {error}. Save it again as UTF-8 CSV.") from error


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise UsageError(
                f"{path}, line {number}: not JSON ({error}). Each line must be one JSON object."
            ) from error
