"""Reads benchmark responses laid out as in RouteLLM's `routellm/evals`.

A folder holds `mmlu/responses/*.csv` and `gsm8k/*_responses.csv` (a `prompt` column and one column a model, True where
it answered right), `mt_bench/question.jsonl`, and in each a `contaminated_prompts.jsonl` whose `eval_prompt`s are left
out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from routing_lab.data.halves import in_dev_half
from routing_lab.data.routellm_files import QUESTIONS, contaminated_prompts, question_turns
from routing_service.errors import UsageError
from routing_service.rows.labels import is_true
from routing_service.rows.model_names import find_model
from routing_service.rows.reader import PROMPT, Row, RowFile, shown_names

BENCHMARKS = ("mmlu", "gsm8k")
MT_BENCH = "mt_bench"


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
        if (name in BENCHMARKS and response_files(folder)) or (folder / QUESTIONS).is_file()
    }


def response_files(folder: Path) -> list[Path]:
    """The CSV files of one benchmark's folder, sorted."""
    return sorted([*(folder / "responses").glob("*.csv"), *folder.glob("*_responses.csv")])


def dev_rows(folder: Path, file: Path, strong: str, weak: str) -> Iterator[BenchmarkRow]:
    """The rows of one file that may be trained on: the dev half, without contaminated prompts.

    Raises:
        UsageError: the file cannot be read, or lacks a prompt or one of the pair; says which line.
    """
    contaminated = contaminated_prompts(folder)
    group = file.stem.removeprefix("mmlu_").removesuffix("_responses")
    for row in RowFile(file):
        prompt, on_strong, on_weak = row.values.get(PROMPT), _right_of(row, strong), _right_of(row, weak)
        if prompt is None or on_strong is None or on_weak is None:
            lacking = PROMPT if prompt is None else strong if on_strong is None else weak
            raise row.error(
                f"no usable value for {lacking!r}. The file needs the columns {PROMPT!r}, {strong!r} "
                f"and {weak!r}, with True or False for the models; name the pair with --strong-model and --weak-model."
            )
        if in_dev_half(prompt) and prompt not in contaminated:
            yield BenchmarkRow(prompt, group, float(on_strong), float(on_weak), row.number)


def dev_score_rows(folder: Path, file: Path) -> Iterator[BenchmarkScores]:
    """As `dev_rows`, with the scores of every model: the columns that hold nothing but True and False."""
    contaminated = contaminated_prompts(folder)
    rows = list(_prompt_rows(file))
    models = [
        name
        for name in (rows[0][0].values if rows else ())
        if name != PROMPT and all(is_true(row.values[name]) is not None for row, _ in rows)
    ]
    for row, prompt in rows:
        if in_dev_half(prompt) and prompt not in contaminated:
            yield BenchmarkScores(prompt, {name: float(is_true(row.values[name]) or 0) for name in models}, row.number)


def held_out_prompts(folder: Path) -> Iterator[str]:
    """Texts that training data must not contain: the audit half of MMLU or GSM8K, and every turn of MT-Bench."""
    for file in response_files(folder):
        yield from (prompt for _, prompt in _prompt_rows(file) if not in_dev_half(prompt))
    yield from (turn for _, turns in _questions(folder) for turn in turns)


def evaluation_prompts(folder: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a benchmark asks, without contaminated prompts: FILE:LINE and the text, or the turns, of each item."""
    contaminated = contaminated_prompts(folder)
    for file in response_files(folder):
        for row, prompt in _prompt_rows(file):
            if prompt not in contaminated:
                yield f"{file.name}:{row.number}", (prompt,)
    for line, turns in _questions(folder):
        if not contaminated.intersection(turns):
            yield f"{QUESTIONS}:{line}", turns


def _prompt_rows(file: Path) -> Iterator[tuple[Row, str]]:
    for row in RowFile(file):
        prompt = row.values.get(PROMPT)
        if prompt is None:
            raise row.error(f"has no {PROMPT!r}; columns: {shown_names(row.values)}")
        yield row, prompt


def _questions(folder: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    path = folder / QUESTIONS
    if path.is_file():
        yield from ((row.number, question_turns(row)) for row in RowFile(path))


def _right_of(row: Row, model: str) -> bool | None:
    """Whether a model answered right; None where it has no such column, or another value."""
    try:
        column = find_model(model, (name for name in row.values if name != PROMPT))
    except UsageError as error:
        raise row.error(f"{error}, with --strong-model and --weak-model") from error
    return None if column is None else is_true(row.values[column])
