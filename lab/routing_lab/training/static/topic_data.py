"""Reads a folder of prompts with topics: what the topic, gate and triviality networks learn from."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing_lab.training.static.seeds import own_seeds
from routing_lab.training.static.topics import TOPICS
from routing_service.errors import UsageError

SEEDS_NAME = "seeds.jsonl"


@dataclass(frozen=True, slots=True)
class TopicRow:
    """A prompt without an outcome; `source` and `group` say where it comes from."""

    source: str
    group: str
    prompt: str


@dataclass(frozen=True, slots=True)
class TopicData:
    """`seeds` are pairs of a short ask and its topic, `rows` other prompts, `files` what was read and its SHA-256."""

    seeds: tuple[tuple[str, str], ...]
    rows: tuple[TopicRow, ...]
    files: tuple[dict[str, str], ...]


def load_topics(folder: Path) -> TopicData:
    """Read every `*.jsonl` and `*.jsonl.gz` of a folder; `seeds.jsonl` has a topic a row, the others source and group.

    Raises:
        UsageError: there is no such file, or a row lacks what it needs.
    """
    seeds = dict.fromkeys(own_seeds())
    rows: dict[str, TopicRow] = {}
    files = []
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        files.append({"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
        for number, row in enumerate(_lines(path), 1):
            try:
                if path.name == SEEDS_NAME:
                    seeds[row["prompt"], row["topic"]] = None
                else:
                    rows.setdefault(row["prompt"], TopicRow(row["source"], row["group"], row["prompt"]))
            except (KeyError, TypeError) as error:
                raise UsageError(f"--topics {path}:{number}: a row lacks {error}") from error
    if not files:
        raise UsageError(f"--topics {folder} holds no *.jsonl or *.jsonl.gz file.")
    if unknown := sorted({topic for _, topic in seeds} - set(TOPICS)):
        raise UsageError(f"--topics {folder}: no topic is named {unknown[0]!r}; there are {', '.join(TOPICS)}.")
    return TopicData(tuple(seeds), tuple(rows.values()), tuple(files))


def _lines(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)
