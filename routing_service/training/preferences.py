"""Loads preference data: files and folders to training examples, enforcing what may be trained on.

Two layouts are read. JSON lines (`.jsonl`, `.jsonl.gz`), an object a line: `prompt`, `scores` (model name to number,
higher is better) and optionally `source` and `group`. And RouteLLM's evaluation folders (see `routellm_folders`), of
which only the dev half of MMLU and GSM8K is ever returned; their held-out prompts also bar equal prompts in any other
file.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from routing_service.artifacts.manifest import file_entry
from routing_service.errors import UsageError
from routing_service.training.examples import Example, LeakGuard
from routing_service.training.routellm_folders import (
    BENCHMARKS,
    benchmark_folders,
    dev_rows,
    held_out_prompts,
    response_files,
)
from routing_service.training.sources import OWN_SOURCE, SOURCES, Source, canonical_model, source_of

PREFERENCE_SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(slots=True)
class DataFile:
    """What became of one input file's rows: how many it has, how many are examples, and why the others are not."""

    name: str
    sha256: str
    license: str
    rows: int = 0
    used: int = 0
    held_out: int = 0
    without_pair: int = 0
    unsolved: int = 0


@dataclass(slots=True)
class PreferenceData:
    """Examples in reading order, and the files they come from."""

    examples: list[Example] = field(default_factory=list)
    files: list[DataFile] = field(default_factory=list)


def load_preferences(paths: Sequence[Path], strong: str, weak: str) -> PreferenceData:
    """Read every file and folder of `paths`.

    Raises:
        UsageError: a path is missing or of no known kind, or a line is malformed; it says where, and how to mend it.
    """
    files, folders = _discover(paths)
    guard = LeakGuard(prompt for folder in folders.values() for prompt in held_out_prompts(folder))
    data = PreferenceData()
    for path in files:
        _read_json_lines(path, strong, weak, guard, data)
    for name in BENCHMARKS:
        if name in folders:
            _read_benchmark(name, folders[name], strong, weak, guard, data)
    return data


def _discover(paths: Sequence[Path]) -> tuple[list[Path], dict[str, Path]]:
    files: list[Path] = []
    folders: dict[str, Path] = {}
    for path in paths:
        if path.is_file() and path.name.endswith(PREFERENCE_SUFFIXES):
            files.append(path)
            continue
        if not path.is_dir():
            problem = "is neither .jsonl nor .jsonl.gz" if path.exists() else "does not exist"
            raise UsageError(f"--data {path} {problem}. Name preference files (JSON lines), or folders of them.")
        found = benchmark_folders(path)
        inside = [] if found else sorted(p for p in path.iterdir() if p.name.endswith(PREFERENCE_SUFFIXES))
        if not found and not inside:
            raise UsageError(
                f"--data {path} holds no *.jsonl or *.jsonl.gz file and none of the folders {', '.join(BENCHMARKS)}. "
                "Name a folder that does, or the files themselves."
            )
        files += inside
        folders.update(found)
    return files, folders


def _read_benchmark(name: str, folder: Path, strong: str, weak: str, guard: LeakGuard, data: PreferenceData) -> None:
    source = SOURCES[name]
    for file in response_files(folder):
        record = DataFile(f"{name}/{file.name}", file_entry(file).sha256, source.license)
        data.files.append(record)
        for row in dev_rows(folder, file, strong, weak):
            record.rows += 1
            if guard.leaks(row.prompt):
                record.held_out += 1
                continue
            record.used += 1
            target = 0.5 + (row.strong - row.weak) / 2
            data.examples.append(Example(row.prompt, target, name, row.group, source.weight))


def _read_json_lines(path: Path, strong: str, weak: str, guard: LeakGuard, data: PreferenceData) -> None:
    record = DataFile(path.name, file_entry(path).sha256, OWN_SOURCE.license)
    data.files.append(record)
    rows = list(_json_rows(path))
    # Scores in 0..1 are shares whose difference means something; on any other scale only the sign does.
    shares = all(0 <= score <= 1 for row in rows for score in row["scores"].values())
    for row in rows:
        record.rows += 1
        name = str(row.get("source", path.name))
        source = source_of(name)
        record.license = source.license
        gap = _score_gap(row["scores"], source, strong, weak)
        if gap is None:
            record.without_pair += 1
        elif source.drop_unsolved and not any(row["scores"].values()):
            record.unsolved += 1
        elif guard.leaks(row["prompt"]):
            record.held_out += 1
        elif source.weight > 0:
            record.used += 1
            target = 0.5 + (gap if shares else float((gap > 0) - (gap < 0))) / 2
            data.examples.append(Example(row["prompt"], target, name, str(row.get("group", "")), source.weight))


def _score_gap(scores: dict[str, float], source: Source, strong: str, weak: str) -> float | None:
    by_name = {canonical_model(name): score for name, score in scores.items()}
    sides = []
    for model, stand_ins in ((strong, source.strong), (weak, source.weak)):
        names = [canonical_model(model)]
        if names[0] not in by_name:
            names = [name for name in stand_ins if name in by_name]
        if not names:
            return None
        sides.append(sum(by_name[name] for name in names) / len(names))
    return sides[0] - sides[1]


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):  # noqa: B007 - the error message below names the last line read
                if line.strip():
                    yield _checked(json.loads(line))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}. It must be UTF-8 JSON lines, gzipped if named .gz."
        ) from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{path}, line {number}: {error}. Each line must be an object such as "
            '{"prompt": "…", "scores": {"strong-model": 1, "weak-model": 0}}.'
        ) from error


def _checked(row: object) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise TypeError("not a JSON object")
    if not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
        raise ValueError("'prompt' must be a non-empty string")
    scores = row.get("scores")
    if not isinstance(scores, dict) or not scores:
        raise ValueError("'scores' must be an object of model names and numbers")
    for name, score in scores.items():
        if (
            isinstance(score, bool)
            or not isinstance(score, int | float)
            or score != score
            or abs(score) == float("inf")
        ):
            raise ValueError(f"the score of {name!r} must be a finite number, not {score!r}")
    return row
