"""RouteLLM's benchmarks, from a folder laid out as its `routellm/evals`, without the prompts it lists as contaminated.

`mmlu/responses/mmlu_<subject>.csv` and `gsm8k/gsm8k_responses.csv` have a column `prompt` and one a model with whether
it answered right; `mt_bench/question.jsonl` has the questions, `mt_bench/judgements.jsonl` a judge's grades of each
model's answers to both turns; each benchmark has a `contaminated_prompts.jsonl`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from routing_service.errors import UsageError
from routing_service.evals.benchmarks import Benchmark, BenchmarkData
from routing_service.evals.metrics import Float64

PROMPT = "prompt"
CONTAMINATED = "contaminated_prompts.jsonl"
MMLU_SUBJECTS = 57
HOW_TO_GET = (
    "name the folder routellm/evals of a copy of RouteLLM: "
    "git clone --depth 1 https://github.com/lm-sys/RouteLLM && … --data RouteLLM/routellm/evals"
)
_RIGHT = {"true": 100.0, "false": 0.0, "1": 100.0, "0": 0.0, "1.0": 100.0, "0.0": 0.0}
# A cell that says neither.
_UNREADABLE = float("nan")
# Responses may be pages long; the csv module's own limit is 128 KiB a field.
_LONGEST_FIELD = 1 << 24


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
        folder = _folder(data, "mt_bench", "question.jsonl")
        contaminated = _contaminated(folder)
        grades: dict[str, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
        judgements = folder / "judgements.jsonl"
        for line, judgement in _json_lines(judgements):
            model, question, score = (
                _field(judgement, key, judgements, line) for key in ("model", "question_id", "score")
            )
            if isinstance(score, bool) or not isinstance(score, int | float) or not np.isfinite(score):
                raise UsageError(f"{judgements}:{line}: 'score' is no finite number; give the judge's grade")
            grades[str(model)][question].append(float(score))
        questions = folder / "question.jsonl"
        asked = [
            (_field(q, "question_id", questions, n), _field(q, "turns", questions, n))
            for n, q in _json_lines(questions)
        ]
        kept = [(number, turns) for number, turns in asked if not contaminated.intersection(turns)]
        _check_any(kept, asked, "MT-Bench", folder)
        scores, missing = {}, {}
        for model, by_question in grades.items():
            scores[model] = np.array([np.mean(by_question[n]) if n in by_question else _UNREADABLE for n, _ in kept])
            if absent := [number for number, _ in kept if number not in by_question]:
                missing[model] = f"{judgements} has no grade for question {absent[0]!r}"
        return BenchmarkData(
            name="mt-bench",
            title="MT-Bench",
            unit="judge's grade (1 to 10)",
            prompts=tuple(str(turns[0]) for _, turns in kept),
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
        raise UsageError(f"--data {data}: is no folder; {HOW_TO_GET}")
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
        for line, record in _csv(file):
            rows += 1
            prompt = record.get(PROMPT)
            if prompt is None:
                raise UsageError(f"{file}:{line}: has no {PROMPT!r}; columns: {_names(record)}")
            if prompt in contaminated:
                continue
            for model, value in record.items():
                if model == PROMPT:
                    continue
                if model not in columns:
                    columns[model] = [_UNREADABLE] * len(prompts)
                    if prompts:
                        missing[model] = f"{files[0]} has no such column"
                right = _RIGHT.get((value or "").strip().lower(), _UNREADABLE)
                columns[model].append(right)
                if np.isnan(right):
                    missing.setdefault(model, f"{file}:{line} is neither True nor False")
            prompts.append(prompt)
            for model, column in columns.items():
                if len(column) < len(prompts):
                    column.append(_UNREADABLE)
                    missing.setdefault(model, f"{file} has no such column")
    _check_any(prompts, [None] * rows, title, folder)
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


def _check_any(kept: list[Any], read: list[Any], title: str, folder: Path) -> None:
    if kept:
        return
    if read:
        raise UsageError(
            f"{title}: {folder / CONTAMINATED} lists all {len(read)} prompts, so that none is left; "
            "is it this benchmark's list?"
        )
    raise UsageError(f"{title}: {folder} has no prompts; {HOW_TO_GET}")


def _contaminated(folder: Path) -> set[str]:
    path = folder / CONTAMINATED
    if not path.is_file():
        raise UsageError(
            f"{path}: is missing; RouteLLM leaves these prompts out. {HOW_TO_GET[0].upper()}{HOW_TO_GET[1:]} "
            "(an empty file leaves none out, for data of your own)"
        )
    return {str(_field(record, "eval_prompt", path, line)) for line, record in _json_lines(path)}


def _csv(file: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restkey="", strict=True)
            for record in reader:
                yield reader.line_num, record
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: is no UTF-8 CSV: {error}; save it again as UTF-8 CSV") from error
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise UsageError(f"{path}:{number}: is no JSON object; each line must be one")
                    yield number, record
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no JSON lines file: {error}; each line must be one JSON object") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; {HOW_TO_GET}") from error


def _field(record: Mapping[str, Any], key: str, path: Path, line: int) -> Any:
    if key not in record:
        raise UsageError(f"{path}:{line}: has no {key!r}, only {_names(record)}")
    return record[key]


def _names(record: Mapping[str, Any]) -> str:
    return ", ".join(repr(name if len(name) <= 20 else name[:20] + "…") for name in record)


def _hashes(name: str, files: list[Path]) -> dict[str, str]:
    return {f"{name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
