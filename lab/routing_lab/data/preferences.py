"""Loads preference data for one pair of models: files and folders to training examples.

Files hold per-model scores or battles (see `rows`) as JSON lines, CSV or Parquet. Folders in RouteLLM's layout (see
`routellm_folders`) give only the dev half of MMLU and GSM8K; their held-out prompts also bar equal prompts in any other
file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from routing_lab.data.examples import Example
from routing_lab.data.files import DataFile, check_use, discover, labels
from routing_lab.data.leaks import LeakGuard
from routing_lab.data.routellm_folders import BENCHMARKS, dev_rows, held_out_prompts, response_files
from routing_lab.data.sources import (
    OWN_SOURCE,
    SOURCES,
    Source,
    source_of,
)
from routing_service.artifacts.manifest import file_entry
from routing_service.asks.reader import AskReader
from routing_service.errors import UsageError
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.rows.labels import COLUMNS, BattleRow, ScoreRow, read_labels
from routing_service.rows.model_names import canonical_model, find_model
from routing_service.rows.reader import RowFile

# With fewer prompts, held-out ones could not tell a router from a coin.
MIN_PROMPTS = 200

Names = str | Sequence[str]
"""A model, or several that stand for one side of the pair; the first is what decisions will name."""


class Sides(NamedTuple):
    """The names of the strong and of the weak model, at least one each; decisions name the first."""

    strong: tuple[str, ...]
    weak: tuple[str, ...]

    @property
    def pair(self) -> ModelPair:
        """The names that decisions will give."""
        return ModelPair(self.strong[0], self.weak[0])


@dataclass(slots=True)
class PreferenceData:
    """Examples in reading order, and the files they come from."""

    examples: list[Example] = field(default_factory=list)
    files: list[DataFile] = field(default_factory=list)


def sides(strong: Names | None, weak: Names | None) -> Sides:
    """The two sides by the names given, the default pair's where none is.

    Raises:
        UsageError: a model is on both sides.
    """
    found = Sides(as_names(strong or ROUTELLM_PAIR.strong), as_names(weak or ROUTELLM_PAIR.weak))
    weak_models = {canonical_model(name) for name in found.weak}
    if both := [name for name in found.strong if canonical_model(name) in weak_models]:
        raise UsageError(
            f"the strong and the weak model are both {both[0]!r}; name two different ones with --strong-model, "
            "--weak-model"
        )
    return found


def load_preferences(paths: Sequence[Path], strong: Names, weak: Names) -> PreferenceData:
    """Read every file and folder of `paths`.

    Where a side is several models, a row of scores counts the mean over those that it scores, and a battle counts when
    it is between any of the strong and any of the weak ones. Models are compared without organisation and case.

    Raises:
        UsageError: a path is missing or of no known kind, or a row is malformed; it says where, and how to mend it.
    """
    files, folders = discover(paths)
    pair = Sides(as_names(strong), as_names(weak))
    guard = LeakGuard(prompt for folder in folders.values() for prompt in held_out_prompts(folder))
    data = PreferenceData()
    for path, label in labels(files).items():
        _read_file(path, label, pair, guard, data)
    for name in BENCHMARKS:
        if name in folders:
            _read_benchmark(name, folders[name], pair, guard, data)
    return data


def check_examples(examples: Sequence[Example], files: Sequence[DataFile], pair: ModelPair) -> None:
    """Refuse what nothing can be learnt from.

    Raises:
        UsageError: there are too few prompts, or they all ended alike.
    """
    prompts = len({example.prompt for example in examples})
    if prompts < MIN_PROMPTS:
        distinct = f" over {prompts} different prompts" if prompts < len(examples) else ""
        without = sum(file.without_pair for file in files)
        others = f"; {without} more rows have no outcome for {pair.strong!r} and {pair.weak!r}" if without else ""
        raise UsageError(
            f"--data has {len(examples)} usable rows{distinct}{others}. At least {MIN_PROMPTS} different prompts "
            "are needed: add rows, or name the models that the rows score with --strong-model and --weak-model."
        )
    if len({example.target for example in examples}) == 1:
        raise UsageError(
            f"--data has the same outcome in all {len(examples)} rows, so there is nothing to learn. "
            "Add rows in which the other model did better, or swap --strong-model and --weak-model."
        )


def as_names(names: Names) -> tuple[str, ...]:
    """One name or several as several."""
    return (names,) if isinstance(names, str) else tuple(names)


def _read_benchmark(name: str, folder: Path, pair: Sides, guard: LeakGuard, data: PreferenceData) -> None:
    source = SOURCES[name]
    for file in response_files(folder):
        record = DataFile(f"{name}/{file.name}", file_entry(file).sha256, source.license)
        data.files.append(record)
        for row in dev_rows(folder, file, pair.strong[0], pair.weak[0]):
            record.rows += 1
            if guard.leaks(row.prompt):
                record.held_out += 1
                continue
            record.used += 1
            target = 0.5 + (row.strong - row.weak) / 2
            where = f"{record.name}:{row.line}"
            data.examples.append(Example(row.prompt, target, name, row.group, source.weight, where))


def _read_file(path: Path, label: str, pair: Sides, guard: LeakGuard, data: PreferenceData) -> None:
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
            target = _battle_target(row, pair)
        else:
            gap = _score_gap(row, source, pair)
            target = None if gap is None else 0.5 + (gap if shares else float((gap > 0) - (gap < 0))) / 2
        if target is None:
            record.without_pair += 1
        elif not row.prompt.strip():
            record.blank += 1
        elif source.drop_unsolved and isinstance(row, ScoreRow) and not any(row.scores.values()):
            record.unsolved += 1
        elif guard.leaks(row.prompt):
            record.held_out += 1
        elif source.weight > 0:
            record.used += 1
            data.examples.append(Example(row.prompt, target, row.source, row.group, source.weight, row.where))
    check_use(file, record, rows, pair.pair)


def are_shares(rows: Sequence[ScoreRow | BattleRow]) -> bool:
    """Whether a file's scores are all in 0..1: shares, whose difference means something.

    On any other scale only the sign of a difference does.
    """
    return all(0 <= score <= 1 for row in rows if isinstance(row, ScoreRow) for score in row.scores.values())


def _battle_target(row: BattleRow, pair: Sides) -> float | None:
    sides = [{canonical_model(name) for name in names} for names in (pair.strong, pair.weak)]
    a, b = canonical_model(row.model_a), canonical_model(row.model_b)
    if a in sides[0] and b in sides[1]:
        return row.outcome
    if b in sides[0] and a in sides[1]:
        return 1 - row.outcome
    return None


def _score_gap(row: ScoreRow, source: Source, pair: Sides) -> float | None:
    sides = []
    for models, stand_ins in ((pair.strong, source.strong), (pair.weak, source.weak)):
        names = _scored(row, models) or _scored(row, stand_ins)
        if not names:
            return None
        sides.append(sum(row.scores[name] for name in names) / len(names))
    return sides[0] - sides[1]


def _scored(row: ScoreRow, models: Sequence[str]) -> list[str]:
    try:
        found = dict.fromkeys(find_model(model, row.scores) for model in models)
        return [name for name in found if name is not None]
    except UsageError as error:
        raise UsageError(f"{row.where}: {error}") from error
