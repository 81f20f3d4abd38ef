"""Keeps training data apart from the benchmarks that a router will be reported on, and from what it is validated on.

A benchmark is a folder in RouteLLM's layout, or a file of prompts. No row that asks what one of its
prompts asks may be learnt from: a training stops there, unless it is told to leave such rows out, or to learn from them
all the same. What was done is kept in the manifest's `provenance.benchmarks`, for whoever reads a figure later.

Validation rows are a share of the prompts, with all that are nearly the same on one side.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from routing_lab.data.duplicates import near_duplicate_groups
from routing_lab.data.files import DataFile, discover
from routing_lab.data.overlap import NO_MATCH, OverlapIndex
from routing_lab.data.routellm_folders import MT_BENCH, evaluation_prompts
from routing_service.asks.reader import AskReader
from routing_service.errors import UsageError
from routing_service.rows.formats import stem_of
from routing_service.rows.prompts import PROMPT_COLUMNS, read_asked
from routing_service.rows.reader import RowFile

# How many overlapping rows an error names.
EXAMPLES = 3
# What `evaluate --benchmark` calls the folders of RouteLLM's layout, where it is not the folder's name.
_NAMES = {MT_BENCH: "mt-bench"}


class Overlap(StrEnum):
    """What becomes of training rows that ask what a benchmark asks."""

    REFUSE = "refuse"
    DROP = "drop"
    ALLOW = "allow"


_DONE = {Overlap.REFUSE: "refused", Overlap.DROP: "dropped", Overlap.ALLOW: "allowed"}


class _Row(Protocol):
    @property
    def prompt(self) -> str: ...
    @property
    def where(self) -> str: ...


RowT = TypeVar("RowT", bound=_Row)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark's texts, each with its FILE:LINE. `prompts` counts its items, of which each has one or more texts."""

    name: str
    texts: tuple[str, ...]
    places: tuple[str, ...]
    prompts: int

    @property
    def sha256(self) -> str:
        """Of the texts in sorted order: equal for the same prompts in any order and from any file."""
        digest = hashlib.sha256()
        for text in sorted(self.texts):
            digest.update(hashlib.sha256(text.encode("utf-8", "replace")).digest())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Split(Generic[RowT]):
    """The rows that may be trained on, and the manifest's record of the benchmarks, by name; empty without any.

    A record says what was done about overlapping rows (`overlap`: none, dropped, allowed), how many of the benchmark's
    prompts they ask (`prompts`, of `benchmark_prompts`), and how many rows they are.
    """

    rows: list[RowT]
    benchmarks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """For the manifest's provenance: nothing where no benchmark was named."""
        return {"benchmarks": self.benchmarks} if self.benchmarks else {}


def keep_apart(
    rows: Sequence[RowT],
    report_on: Sequence[Path],
    overlap: Overlap = Overlap.REFUSE,
    files: Sequence[DataFile] = (),
) -> Split[RowT]:
    """Check training rows against the benchmarks that `report_on` names.

    Args:
        rows: what would be trained on.
        report_on: benchmarks: folders in RouteLLM's layout, and files.
        overlap: what to do about rows that ask what a benchmark asks.
        files: where the rows come from; rows that are left out are counted there as such.

    Raises:
        UsageError: a benchmark cannot be read, or rows overlap and `overlap` is REFUSE; it names rows, never prompts.
    """
    if not report_on:
        return Split(list(rows))
    texts = list(dict.fromkeys(row.prompt for row in rows))
    position = {text: number for number, text in enumerate(texts)}
    of_row = np.array([position[row.prompt] for row in rows], np.int64)
    taken = np.zeros(len(rows), bool)
    records: dict[str, dict[str, Any]] = {}
    problems = []
    for benchmark in load_benchmarks(report_on):
        matches = OverlapIndex(benchmark.texts).matches(texts)[of_row] if rows else np.empty(0, np.int64)
        found = np.flatnonzero(matches != NO_MATCH)
        taken[found] = True
        items = {benchmark.places[number] for number in set(matches[found].tolist())}
        records[benchmark.name] = {
            "overlap": _DONE[overlap] if found.size else "none",
            "prompts": len(items),
            "overlapping_rows": int(found.size),
            "benchmark_prompts": benchmark.prompts,
            "benchmark_sha256": benchmark.sha256,
        }
        if found.size:
            pairs = {rows[row].where: benchmark.places[matches[row]] for row in found.tolist()}
            listed = ", ".join(f"{where} (as {place})" for where, place in list(pairs.items())[:EXAMPLES])
            problems.append(f"{found.size:,} rows ask what {benchmark.name} asks, e.g. {listed}")
    if problems and overlap is Overlap.REFUSE:
        raise UsageError(
            f"--data holds prompts of the benchmarks of --report-on: {'; '.join(problems)}. A router that learnt them "
            "would look better there than it is. Leave such rows out with --drop-overlap, or learn from them all the "
            f"same, which the manifest will say, with --allow-overlap."
        )
    if overlap is Overlap.ALLOW:
        return Split(list(rows), records)
    dropped = {rows[row].where for row in np.flatnonzero(taken).tolist()}
    by_file = Counter(where.rpartition(":")[0] for where in dropped)
    for file in files:
        file.overlap = by_file[file.name]
        file.used -= file.overlap
    return Split([row for row, drop in zip(rows, taken.tolist(), strict=True) if not drop], records)


def held_out(prompts: Sequence[str], share: float, seed: int) -> list[bool]:
    """Which rows only validate: about `share` of the groups of near-duplicates, the same ones for the same seed."""
    distinct = list(dict.fromkeys(prompts))
    chosen = {}
    for prompt, group in zip(distinct, near_duplicate_groups(distinct), strict=True):
        digest = hashlib.sha256(f"{seed}|validation|{group}".encode()).digest()
        chosen[prompt] = int.from_bytes(digest[:8], "big") < share * 2**64
    return [chosen[prompt] for prompt in prompts]


def load_benchmarks(paths: Sequence[Path]) -> list[Benchmark]:
    """Read benchmarks: of folders in RouteLLM's layout all prompts but contaminated ones, of files all rows.

    Raises:
        UsageError: one cannot be read, has no prompts, or two have one name.
    """
    files, folders = discover(paths, "--report-on")
    found = []
    for name, folder in folders.items():
        items = list(evaluation_prompts(folder))
        texts = [(text, f"{folder.name}/{place}") for place, item in items for text in item]
        found.append(_benchmark(_NAMES.get(name, name), folder, texts, len(items)))
    for path in files:
        rows = _file_prompts(path)
        found.append(_benchmark(stem_of(path), path, rows, len(rows)))
    names = [benchmark.name for benchmark in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"--report-on names two benchmarks {twice[0]!r}; rename a file, or name it once")
    return found


def _benchmark(name: str, path: Path, texts: Sequence[tuple[str, str]], prompts: int) -> Benchmark:
    if not texts:
        raise UsageError(f"--report-on {path} has no prompts; name a benchmark that does")
    return Benchmark(name, tuple(text for text, _ in texts), tuple(place for _, place in texts), prompts)


def _file_prompts(path: Path) -> list[tuple[str, str]]:
    file = RowFile(path, PROMPT_COLUMNS, asks=AskReader())
    found = [(text, f"{path.name}:{row.number}") for row, text in read_asked(file)]
    if not found:
        raise file.no_use("they have no text")
    file.tell()
    return found
