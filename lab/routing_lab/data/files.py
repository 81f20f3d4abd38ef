"""Finds files of preference data, and keeps count of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from routing_lab.data.routellm_folders import BENCHMARKS, benchmark_folders
from routing_service.errors import UsageError
from routing_service.models import ModelPair
from routing_service.rows.formats import GZIP, SUFFIXES, check_name, row_files
from routing_service.rows.labels import BattleRow, ScoreRow
from routing_service.rows.reader import RowFile

# How many models an error names.
SHOWN_MODELS = 20


@dataclass(slots=True)
class DataFile:
    """What became of one input file's rows: how many it has, how many are used, and why the others are not.

    `held_out` rows ask a prompt that must not be trained on, `without_pair` ones do not score the wanted models,
    `unsolved` ones were failed by every model that stands in for a pair, `blank` battles have no text to learn from,
    `overlap` ones ask what a benchmark asks that the router will be reported on.
    """

    name: str
    sha256: str
    license: str
    rows: int = 0
    used: int = 0
    held_out: int = 0
    without_pair: int = 0
    unsolved: int = 0
    blank: int = 0
    overlap: int = 0

    def record(self) -> dict[str, Any]:
        """For the manifest's provenance; the last two counts only where they are not 0."""
        values = asdict(self)
        return {name: value for name, value in values.items() if value or name not in ("blank", "overlap")}


def discover(paths: Sequence[Path], option: str = "--data") -> tuple[list[Path], dict[str, Path]]:
    """The data files that `paths` name or hold, in order, and the benchmark folders in RouteLLM's layout by name.

    A file that is named is read whatever it is called; of a folder, those are whose names say that they hold rows.

    Raises:
        UsageError: a path is missing, of a kind that is not read, or a folder without data.
    """
    files: list[Path] = []
    folders: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{option} {path} does not exist. Name preference files, or folders of them.")
        if not path.is_dir():
            check_name(path)
            files.append(path)
            continue
        found = benchmark_folders(path)
        inside = [] if found else row_files(path.iterdir())
        if not found and not inside:
            raise UsageError(
                f"{option} {path} holds no file named {', '.join(SUFFIXES)} (or these with {GZIP}) and none of the "
                f"folders {', '.join(BENCHMARKS)}. Name a folder that does, or the files themselves."
            )
        files += inside
        folders.update(found)
    return files, folders


def labels(files: Sequence[Path]) -> dict[Path, str]:
    """What tells files apart in messages and manifests: their names, with folders before them where names are equal.

    Raises:
        UsageError: a file is there twice.
    """
    found: dict[Path, str] = {}
    resolved = [file.resolve() for file in files]
    for file, whole in zip(files, resolved, strict=True):
        if resolved.count(whole) > 1:
            raise UsageError(f"--data names {file} twice, so that its rows would count twice; name it once")
        parts = 1
        while sum(other.parts[-parts:] == whole.parts[-parts:] for other in resolved) > 1:
            parts += 1
        found[file] = file.name if parts == 1 else "/".join(whole.parts[-parts:])
    return found


def check_use(
    file: RowFile, record: DataFile, rows: Sequence[ScoreRow | BattleRow], pair: ModelPair | None = None
) -> None:
    """Say what was made of a file's rows, and refuse it where none could be used.

    Rows that must not be trained on are no fault of the file.

    Args:
        file: the file, read.
        record: what became of its rows.
        rows: all of them.
        pair: the models that rows must score; None for any two.

    Raises:
        UsageError: no row is of use; says why, and which columns the file has.
    """
    if not (record.used or record.held_out):
        models = list(dict.fromkeys(name for row in rows for name in row.scores))
        shown = ", ".join(map(repr, models[:SHOWN_MODELS])) + (", …" if len(models) > SHOWN_MODELS else "")
        wanted = "two models" if pair is None else f"{pair.strong!r} and {pair.weak!r}"
        others = f"do not score {wanted}, only {shown} (name models as the rows do)"
        counts = {
            f"{record.without_pair:,} {others}": record.without_pair,
            f"{record.blank:,} have no text": record.blank,
            f"{record.unsolved:,} were failed by every model": record.unsolved,
        }
        raise file.no_use(", ".join(text for text, count in counts.items() if count))
    file.tell()
