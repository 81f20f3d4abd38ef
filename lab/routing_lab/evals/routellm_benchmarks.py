"""RouteLLM's benchmarks, from a folder laid out as its `routellm/evals`, without the prompts it lists as contaminated.

`mmlu/responses/mmlu_<subject>.csv` and `gsm8k/gsm8k_responses.csv` have a column `prompt` and one a model with whether
it answered right; `mt_bench/question.jsonl` has the questions, `mt_bench/judgements.jsonl` a judge's grades of each
model's answers to both turns; each benchmark has a `contaminated_prompts.jsonl`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from routing_lab.data.routellm_files import (
    CONTAMINATED,
    JUDGEMENTS,
    QUESTIONS,
    contaminated_prompts,
    field,
    question_turns,
    text_field,
)
from routing_lab.evals.benchmarks import Benchmark, BenchmarkData
from routing_lab.evals.metrics import Float64
from routing_service.errors import UsageError
from routing_service.rows.labels import is_true
from routing_service.rows.reader import PROMPT, Row, RowFile, shown_names

MMLU_SUBJECTS = 57
FULL_MARKS = 100.0
# A judge's grades. FastChat, whose format it is, writes -1 where it could not read one.
MIN_GRADE, MAX_GRADE = 0, 10
HOW_TO_GET = (
    "name the folder routellm/evals of a copy of RouteLLM: "
    "git clone --depth 1 https://github.com/lm-sys/RouteLLM && … --data RouteLLM/routellm/evals"
)
# A cell that says neither right nor wrong, or a question without grades.
_UNREADABLE = float("nan")


class Mmlu(Benchmark):
    """MMLU: 57 subjects of four-way multiple choice, five examples in each prompt; 100 for a right answer."""

    def load(self, data: Path | None) -> BenchmarkData:
        """Read every subject's responses."""
        folder = _folder(data, "mmlu", "responses")
        files = sorted((folder / "responses").glob("mmlu_*.csv"))
        if not files:
            raise UsageError(f"{folder / 'responses'}: has no mmlu_<subject>.csv; {HOW_TO_GET}")
        notes: tuple[str, ...] = ()
        if len(files) != MMLU_SUBJECTS:
            notes = (f"{len(files)} of {MMLU_SUBJECTS} subjects: not comparable with results on all of MMLU",)
        return _right_or_wrong("mmlu", "MMLU", folder, files, notes)


class Gsm8k(Benchmark):
    """GSM8K: grade-school word problems; 100 for a right answer."""

    def load(self, data: Path | None) -> BenchmarkData:
        """Read the responses."""
        folder = _folder(data, "gsm8k", "gsm8k_responses.csv")
        return _right_or_wrong("gsm8k", "GSM8K", folder, [folder / "gsm8k_responses.csv"], ())


class MtBench(Benchmark):
    """MT-Bench: routed on the first turn; a judge's grades, 1 to 10, averaged over both turns."""

    def load(self, data: Path | None) -> BenchmarkData:
        """Read the questions and the judgements."""
        folder = _folder(data, "mt_bench", QUESTIONS)
        contaminated = _contaminated(folder)
        questions, judgements = folder / QUESTIONS, folder / JUDGEMENTS
        asked = [(_question_id(row), question_turns(row)) for row in RowFile(questions)]
        kept = [(number, turns) for number, turns in asked if not contaminated.intersection(turns)]
        _check_any(len(kept), len(asked), "MT-Bench", folder)
        scores: dict[str, Float64] = {}
        missing: dict[str, str] = {}
        for model, by_question in _grades(judgements).items():
            means = np.full(len(kept), _UNREADABLE)
            for row, (number, turns) in enumerate(kept):
                grades = by_question.get(number, {})
                if len(grades) >= len(turns):
                    means[row] = np.mean(list(grades.values()))
                else:
                    found = f"grades for {len(grades)} of {len(turns)} turns of" if grades else "no grade for"
                    missing.setdefault(model, f"{judgements} has {found} question {number!r}")
            scores[model] = means
        return BenchmarkData(
            name="mt-bench",
            title="MT-Bench",
            unit="judge's grade (1 to 10)",
            prompts=tuple(turns[0] for _, turns in kept),
            scores=scores,
            missing=missing,
            left_out=len(asked) - len(kept),
            held_out=True,
            files=_hashes("mt_bench", [questions, judgements]),
        )


def _folder(data: Path | None, name: str, needs: str) -> Path:
    """The benchmark's folder: in `data`, or `data` itself."""
    if data is None:
        raise UsageError(f"--benchmark {name.replace('_', '-')} needs --data DIR; {HOW_TO_GET}")
    if not data.is_dir():
        raise UsageError(f"--data {data}: is not a folder; {HOW_TO_GET}")
    for folder in (data / name, data):
        if (folder / needs).exists():
            return folder
    raise UsageError(f"--data {data}: has no {name}/{needs}; {HOW_TO_GET}")


def _right_or_wrong(name: str, title: str, folder: Path, files: list[Path], notes: tuple[str, ...]) -> BenchmarkData:
    contaminated = _contaminated(folder)
    prompts: list[str] = []
    columns: dict[str, list[float]] = {}
    missing: dict[str, str] = {}
    rows = 0
    for file in files:
        for row in RowFile(file):
            rows += 1
            prompt = row.values.get(PROMPT)
            if prompt is None:
                raise row.error(f"has no {PROMPT!r}; columns: {shown_names(row.values)}")
            if prompt in contaminated:
                continue
            for model, value in row.values.items():
                if model == PROMPT:
                    continue
                if model not in columns:
                    columns[model] = [_UNREADABLE] * len(prompts)
                    if prompts:
                        missing[model] = f"{files[0]} has no such column"
                right = is_true(value)
                columns[model].append(_UNREADABLE if right is None else FULL_MARKS * right)
                if right is None:
                    missing.setdefault(model, f"{row.place} is neither True nor False")
            prompts.append(prompt)
            for model, column in columns.items():
                if len(column) < len(prompts):
                    column.append(_UNREADABLE)
                    missing.setdefault(model, f"{file} has no such column")
    _check_any(len(prompts), rows, title, folder)
    scores: dict[str, Float64] = {model: np.array(column) for model, column in columns.items()}
    return BenchmarkData(
        name=name,
        title=title,
        unit="right answers (%)",
        prompts=tuple(prompts),
        # A column without a single True or False, such as the responses' texts, is no model.
        scores={model: values for model, values in scores.items() if not np.isnan(values).all()},
        missing=missing,
        left_out=rows - len(prompts),
        halves=True,
        files=_hashes(name, files),
        notes=notes,
    )


def _grades(judgements: Path) -> dict[str, dict[int | str, dict[Any, float]]]:
    """By model and question, the judge's grade of each turn."""
    grades: dict[str, dict[int | str, dict[Any, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in RowFile(judgements):
        model, question = text_field(row, "model"), _question_id(row)
        score, turn = field(row, "score"), field(row, "turn")
        if isinstance(score, bool) or not isinstance(score, int | float) or not MIN_GRADE <= score <= MAX_GRADE:
            raise row.error(f"'score' is not a number from {MIN_GRADE} to {MAX_GRADE}; give the judge's grade")
        if not isinstance(turn, int):
            raise row.error("'turn' is not a whole number; number a question's turns from 1")
        if turn in grades[model][question]:
            raise row.error(
                f"{model!r} has a grade for turn {turn} of question {question!r} already; keep one judge's grade"
            )
        grades[model][question][turn] = float(score)
    return grades


def _question_id(row: Row) -> int | str:
    number = field(row, "question_id")
    if not isinstance(number, int | str):
        raise row.error("'question_id' is neither a whole number nor a text")
    return number


def _check_any(kept: int, read: int, title: str, folder: Path) -> None:
    if kept:
        return
    if read:
        raise UsageError(
            f"{title}: {folder / CONTAMINATED} lists all {read} prompts, so that none is left; "
            "is it this benchmark's list?"
        )
    raise UsageError(f"{title}: {folder} has no prompts; {HOW_TO_GET}")


def _contaminated(folder: Path) -> set[str]:
    """The list of contaminated prompts, which must be there: figures with and without it do not compare."""
    path = folder / CONTAMINATED
    if not path.is_file():
        raise UsageError(
            f"{path}: is missing; RouteLLM leaves these prompts out. {HOW_TO_GET[0].upper()}{HOW_TO_GET[1:]} "
            "(an empty file leaves none out, for data of your own)"
        )
    return contaminated_prompts(folder)


def _hashes(name: str, files: list[Path]) -> dict[str, str]:
    return {f"{name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
