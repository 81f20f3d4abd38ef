"""Reading scores that are there already: what `score` writes, or a log of decisions."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from routing_service.calibration.prompts import json_rows, lines_of, open_text, suffix_of
from routing_service.errors import UsageError

SCORE_KEY = "strong_win_rate"


def holds_scores(path: Path) -> bool:
    """Whether the first row of a `.jsonl` or `.csv` file has `strong_win_rate`.

    Raises:
        UsageError: the file cannot be read.
    """
    kind = suffix_of(path)
    if kind not in (".jsonl", ".ndjson", ".csv"):
        return False
    with open_text(path) as file:
        lines = lines_of(file, path)
        if kind == ".csv":
            return SCORE_KEY in next(csv.reader(lines), [])
        _, first = next(json_rows(lines, path), (0, {}))
        return SCORE_KEY in first


def read_scores(path: Path) -> Iterator[float]:
    """The scores of a file that `holds_scores`, in order.

    Raises:
        UsageError: the file cannot be read, or a row has no number from 0 to 1; says which.
    """
    with open_text(path) as file:
        lines = lines_of(file, path)
        if suffix_of(path) == ".csv":
            reader = csv.DictReader(lines)
            try:
                for row in reader:
                    yield _score(row.get(SCORE_KEY), f"{path}:{reader.line_num}")
            except csv.Error as error:
                raise UsageError(f"{path}:{reader.line_num}: is not CSV: {error}") from error
        else:
            for number, row in json_rows(lines, path):
                yield _score(row.get(SCORE_KEY), f"{path}:{number}")


def _score(value: object, where: str) -> float:
    try:
        score = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except ValueError:
        score = None
    if score is None or not 0.0 <= score <= 1.0:  # NaN fails every comparison
        raise UsageError(f"{where}: {SCORE_KEY!r} is no number from 0 to 1; take the row out (a fallback has no score)")
    return score
