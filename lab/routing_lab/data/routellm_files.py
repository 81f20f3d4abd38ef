"""The files of RouteLLM's `routellm/evals` as they are: CSV of responses, JSON lines, lists of contaminated prompts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from routing_service.errors import UsageError

PROMPT = "prompt"
CONTAMINATED = "contaminated_prompts.jsonl"
QUESTIONS = "question.jsonl"
JUDGEMENTS = "judgements.jsonl"
# How a response's cell says whether the model answered right.
RIGHT = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
# Responses may be pages long; the csv module's own limit is 128 KiB a field.
MAX_FIELD_LENGTH = 1 << 24
# A longer name of a column in an error is cut: it may be a prompt, where a file lacks its header.
MAX_NAME_LENGTH = 20


def csv_rows(file: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """The rows of a CSV file with a header, by column, with the line where each ends; None where a row is too short.

    Raises:
        UsageError: it cannot be read, names a column twice, or has a row longer than its header; says where.
    """
    csv.field_size_limit(MAX_FIELD_LENGTH)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)  # an open quote must not swallow the rest
            columns = list(reader.fieldnames or ())
            if twice := [name for name in dict.fromkeys(columns) if name and columns.count(name) > 1]:
                raise UsageError(f"{file}:1: has two columns {short(twice[0])}; take one out")
            for row in reader:
                if None in row:
                    raise UsageError(
                        f"{file}:{reader.line_num}: has more fields than the header's {len(columns)}; "
                        "put fields that hold commas in quotes"
                    )
                yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: is no UTF-8 CSV: {error}; save it again as UTF-8 CSV") from error
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}; name a folder with a copy of it") from error


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON lines file with their line numbers, from 1; blank lines are skipped.

    Raises:
        UsageError: it cannot be read, or a line is no JSON object; says which.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise UsageError(f"{path}:{number}: is no JSON object; each line must be one")
                    yield number, record
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no UTF-8 text: {error}; save it again as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}:{number}: is not JSON: {error}; each line must be one JSON object") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; name a folder with a copy of it") from error


def contaminated_prompts(folder: Path) -> set[str]:
    """The prompts that RouteLLM leaves out of a benchmark as contaminated; empty where its folder has no list."""
    path = folder / CONTAMINATED
    if not path.is_file():
        return set()
    return {text_field(record, "eval_prompt", path, line) for line, record in json_lines(path)}


def question_turns(question: Mapping[str, Any], path: Path, line: int) -> tuple[str, ...]:
    """What a question of MT-Bench asks, turn by turn.

    Raises:
        UsageError: its `turns` are missing, none, or no texts.
    """
    turns = field(question, "turns", path, line)
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
        raise UsageError(f"{path}:{line}: 'turns' is no list of texts; write the texts of the user's turns")
    return tuple(turns)


def field(record: Mapping[str, Any], key: str, path: Path, line: int) -> Any:
    """`record[key]`.

    Raises:
        UsageError: there is none.
    """
    if key not in record:
        raise UsageError(f"{path}:{line}: has no {key!r}, only {names(record)}")
    return record[key]


def text_field(record: Mapping[str, Any], key: str, path: Path, line: int) -> str:
    """`record[key]`, a text.

    Raises:
        UsageError: there is none, or it is something else.
    """
    value = field(record, key, path, line)
    if not isinstance(value, str):
        raise UsageError(f"{path}:{line}: {key!r} is no text; write a JSON string")
    return value


def names(record: Mapping[str, Any]) -> str:
    """The names of a record's fields, for an error."""
    return ", ".join(map(short, record)) or "nothing"


def short(name: str) -> str:
    """A name in quotes, cut where it is so long that it may be a prompt."""
    return repr(name if len(name) <= MAX_NAME_LENGTH else name[:MAX_NAME_LENGTH] + "…")
