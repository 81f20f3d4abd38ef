"""Files of calibration tables: `calibrate --output` writes them, and a router's `calibration:` names one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from routing_service.artifacts.manifest import CalibrationTable
from routing_service.artifacts.reading import read_file, read_json
from routing_service.errors import ArtifactError
from routing_service.files import writing
from routing_service.models import ModelPair

SCHEMA_VERSION = 1
# As many levels as in artifacts: a share is exact to 0.1 %.
TABLE_LEVELS = 1001
_MAX_LEVELS = 100_001
_MAX_BYTES = 16 * 1024 * 1024
_FIELDS = ("schema_version", "router_type", "router_revision", "models", "source", "sample_size", "quantiles")


@dataclass(frozen=True, slots=True)
class SavedTable:
    """A table, and the type and revision of its router. It means nothing for other routers.

    `models` is the scored pair; it matters for routers that score several pairs.
    """

    router_type: str
    router_revision: str
    models: ModelPair
    calibration: CalibrationTable


def write_table(path: Path, table: SavedTable) -> None:
    """Write a table as JSON. After a failure the old file is unchanged.

    Raises:
        UsageError: it cannot be written.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "router_type": table.router_type,
        "router_revision": table.router_revision,
        "models": asdict(table.models),
        "source": table.calibration.source,
        "sample_size": table.calibration.sample_size,
        "quantiles": list(table.calibration.quantiles),
    }
    text = json.dumps(document, ensure_ascii=False)
    with writing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def read_table(path: Path) -> SavedTable:
    """Read a table.

    Raises:
        ArtifactError: it is missing, or was not written by `calibrate --output`.
    """
    try:
        return _checked(read_json(read_file(path, _MAX_BYTES)))
    except FileNotFoundError as error:
        raise ArtifactError(path, "is missing; make it with `routing-service calibrate --output`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(path, f"cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            path, f"is not a calibration table: {error}; make a new one with `routing-service calibrate --output`"
        ) from error


def table_for(
    path: Path, name: str, router_type: str, revision: str, scores_pair: Callable[[ModelPair], bool]
) -> CalibrationTable:
    """The table in a file, if it was made from the scores of this router.

    Args:
        path: the file.
        name: the router's name in the configuration, for the error's advice.
        router_type: the router's type.
        revision: the router's revision.
        scores_pair: tells whether the router gives the same scores for a pair.

    Raises:
        ArtifactError: it cannot be read, or is of another router's, revision's or pair's scores.
    """
    table = read_table(path)
    advice = (
        f"whose thresholds give other shares; make a new one: `routing-service calibrate --config … --router {name} "
        f"--input PROMPTS --output {path.name}`"
    )
    if (table.router_type, table.router_revision) != (router_type, revision):
        raise ArtifactError(
            path,
            f"was made for revision {table.router_revision!r} of a {table.router_type} router, and {name!r} is "
            f"revision {revision!r} of a {router_type} router, {advice}",
        )
    if not scores_pair(table.models):
        pair = f"{table.models.strong!r} and {table.models.weak!r}"
        raise ArtifactError(path, f"was made for the models {pair}, and {name!r} chooses between others, {advice}")
    return table.calibration


def _checked(raw: Any) -> SavedTable:
    _require(isinstance(raw, dict), "it must be an object")
    for name in _FIELDS:
        _require(name in raw, f"it lacks {name!r}")
    version, size, quantiles = raw["schema_version"], raw["sample_size"], raw["quantiles"]
    _require(version == SCHEMA_VERSION, f"its schema_version is {version!r}, and this release reads {SCHEMA_VERSION}")
    for name in ("router_type", "router_revision", "source"):
        _require(isinstance(raw[name], str), f"{name!r} must be text")
    _require(type(size) is int and size >= 0, "'sample_size' must be a whole number of prompts")
    _require(
        isinstance(quantiles, list) and all(type(value) in (int, float) for value in quantiles),
        "'quantiles' must be a list of numbers",
    )
    _require(len(quantiles) <= _MAX_LEVELS, f"'quantiles' has more than {_MAX_LEVELS:,} scores")
    calibration = CalibrationTable(raw["source"], size, tuple(quantiles))
    return SavedTable(raw["router_type"], raw["router_revision"], _models(raw["models"]), calibration)


def _models(raw: Any) -> ModelPair:
    names = {"strong", "weak"}
    _require(
        isinstance(raw, dict) and raw.keys() == names and all(isinstance(raw[name], str) for name in names),
        "'models' must be an object of the names of the strong and the weak model",
    )
    return ModelPair(raw["strong"], raw["weak"])


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
