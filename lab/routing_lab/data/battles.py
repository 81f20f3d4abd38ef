"""Loads preference data as battles between any two models, from files of battles and of per-model scores alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from routing_lab.data.files import DataFile, check_use, discover, labels
from routing_lab.data.leaks import LeakGuard
from routing_lab.data.preferences import Names, are_shares
from routing_lab.data.routellm_folders import BENCHMARKS, dev_score_rows, held_out_prompts, response_files
from routing_lab.data.sources import OWN_SOURCE, SOURCES, source_of
from routing_service.artifacts.manifest import file_entry
from routing_service.asks.reader import AskReader
from routing_service.rows.labels import COLUMNS, BattleRow, ScoreRow, read_labels
from routing_service.rows.model_names import Spelling
from routing_service.rows.reader import RowFile


@dataclass(frozen=True, slots=True)
class Battle:
    """Two models on one prompt.

    `outcome` is 1 where `model_a` won, 0 where `model_b` did, 0.5 for a tie, or a share between them; `source` is where
    the row comes from, `weight` its relative weight in training, `where` its FILE:LINE.
    """

    prompt: str
    model_a: str
    model_b: str
    outcome: float
    source: str
    weight: float
    where: str = ""


@dataclass(slots=True)
class BattleData:
    """Battles in reading order, and the files they come from."""

    battles: list[Battle] = field(default_factory=list)
    files: list[DataFile] = field(default_factory=list)

    @property
    def models(self) -> list[str]:
        """Every model that fights, sorted."""
        return sorted({name for battle in self.battles for name in (battle.model_a, battle.model_b)})


def load_battles(paths: Sequence[Path], names: Sequence[Names] = ()) -> BattleData:
    """Read every file and folder of `paths`.

    A row of n models' scores becomes its n (n - 1) / 2 pairs, which together weigh what n - 1 battles do: so many
    independent comparisons it holds. Of folders in RouteLLM's layout only the dev half is read, as in `preferences`.

    Args:
        paths: files and folders (see `rows` and `routellm_folders`).
        names: models by the names to use, each a name or several that are to be one model, under the first. Others are
            spelt as where they are first met. Spellings that differ in organisation or case are one model.

    Raises:
        UsageError: a path is missing or of no known kind, or a row is malformed; it says where, and how to mend it.
    """
    files, folders = discover(paths)
    guard = LeakGuard(prompt for folder in folders.values() for prompt in held_out_prompts(folder))
    spelling = Spelling(names)
    data = BattleData()
    for path, label in labels(files).items():
        _read_file(path, label, guard, spelling, data)
    for name in BENCHMARKS:
        if name in folders:
            _read_benchmark(name, folders[name], guard, spelling, data)
    return data


def _read_file(path: Path, label: str, guard: LeakGuard, spelling: Spelling, data: BattleData) -> None:
    record = DataFile(label, file_entry(path).sha256, OWN_SOURCE.license)
    data.files.append(record)
    file = RowFile(path, COLUMNS, asks=AskReader())
    rows = list(read_labels(file, label))
    shares = are_shares(rows)
    for row in rows:
        record.rows += 1
        source = source_of(row.source)
        record.license = source.license
        if isinstance(row, BattleRow):
            a, b = spelling(row.model_a), spelling(row.model_b)
            pairs = [] if a == b else [(a, b, row.outcome)]
        else:
            pairs = list(_pairs(_merged(row.scores, spelling), shares))
        if not pairs:
            record.without_pair += 1
        elif not row.prompt.strip():
            record.blank += 1
        elif source.drop_unsolved and isinstance(row, ScoreRow) and not any(row.scores.values()):
            record.unsolved += 1
        elif guard.leaks(row.prompt):
            record.held_out += 1
        elif source.weight > 0:
            record.used += 1
            data.battles += _battles(row.prompt, pairs, row.source, source.weight, row.where)
    check_use(file, record, rows)


def _read_benchmark(name: str, folder: Path, guard: LeakGuard, spelling: Spelling, data: BattleData) -> None:
    source = SOURCES[name]
    for file in response_files(folder):
        record = DataFile(f"{name}/{file.name}", file_entry(file).sha256, source.license)
        data.files.append(record)
        for row in dev_score_rows(folder, file):
            record.rows += 1
            pairs = list(_pairs(_merged(row.scores, spelling), shares=True))
            if guard.leaks(row.prompt):
                record.held_out += 1
            elif not pairs:
                record.without_pair += 1
            else:
                record.used += 1
                data.battles += _battles(row.prompt, pairs, name, source.weight, f"{record.name}:{row.line}")


def _merged(scores: Mapping[str, float], spelling: Spelling) -> dict[str, float]:
    """Scores by the names to use, the mean where several of a row's models are one."""
    found: dict[str, list[float]] = {}
    for name, score in scores.items():
        found.setdefault(spelling(name), []).append(score)
    return {name: sum(values) / len(values) for name, values in found.items()}


def _pairs(scores: Mapping[str, float], shares: bool) -> Iterator[tuple[str, str, float]]:
    for a, b in combinations(scores, 2):
        gap = scores[a] - scores[b]
        yield a, b, 0.5 + (gap if shares else float((gap > 0) - (gap < 0))) / 2


def _battles(
    prompt: str, pairs: Sequence[tuple[str, str, float]], source: str, weight: float, where: str
) -> Iterator[Battle]:
    # n models make p = n (n - 1) / 2 pairs, so n = (1 + sqrt(1 + 8 p)) / 2, and (n - 1) / p is 2 / n.
    models = (1 + (1 + 8 * len(pairs)) ** 0.5) / 2
    return (Battle(prompt, a, b, outcome, source, weight * 2 / models, where) for a, b, outcome in pairs)
