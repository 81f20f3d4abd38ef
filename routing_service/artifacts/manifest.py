"""The manifest of an artifact: the files in a router's folder, their origin, and how to check them.

A folder is served only if every file has the recorded hash and the revision matches the manifest's content. So an
edit anywhere, also in the manifest, is noticed. See `routing_service.artifacts.loading` for the checks.
"""

from __future__ import annotations

import hashlib
import json
import types
import typing
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from routing_service.artifacts.reading import read_file, read_json
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
REVISION_LENGTH = 16
# Ours have 50 kB; one that quotes long self-test prompts has a few megabytes.
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
# No model reads more tokens, and no sample has more prompts or table more levels.
MAX_TOKENS = 2**20
MAX_SAMPLE = 2**53
MAX_LEVELS = 100_001
# In the manifest of a type that knows no models, such as an encoder's.
_NO_MODELS = {"strong": "", "weak": ""}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the artifact: its lower-case hexadecimal SHA-256 and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class SelfTestVector:
    """A prompt and the strong win rate, in 0..1, that the router must return for it."""

    prompt: str
    strong_win_rate: float


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The test at every load. `tolerance` is the largest allowed absolute difference."""

    tolerance: float
    vectors: tuple[SelfTestVector, ...]


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """How the router's scores are distributed over a sample of prompts.

    `quantiles` are the scores at evenly spaced levels from 0 to 1, ascending, at least two; `source` describes the
    sample for people; `sample_size` is its number of prompts.
    """

    source: str
    sample_size: int
    quantiles: tuple[float, ...]

    def __post_init__(self) -> None:
        # JSON distinguishes 0 and 0.0, and so does the revision: writing and reading must give the same.
        object.__setattr__(self, "quantiles", tuple(map(float, self.quantiles)))
        if len(self.quantiles) < 2 or not all(0.0 <= low <= high <= 1.0 for low, high in pairwise(self.quantiles)):
            raise ValueError("calibration.quantiles must be at least two ascending numbers from 0 to 1")
        if len(self.quantiles) > MAX_LEVELS:
            raise ValueError(f"calibration.quantiles has more than {MAX_LEVELS:,} scores")
        if not 0 <= self.sample_size <= MAX_SAMPLE:
            raise ValueError(f"calibration.sample_size must be from 0 to {MAX_SAMPLE:,}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `manifest.json`.

    `type` is the router's type; `models` is the pair that it was made for, None for a type without models, such
    as an encoder; `max_tokens` is how many tokens of a prompt are read, 0 if the router does not tokenize; `files`
    maps names inside the folder to their entries; `license` is an SPDX expression; `options` is JSON that the router's
    type reads; `provenance` and `metrics` are free-form JSON for people.
    """

    type: str
    models: ModelPair | None
    max_tokens: int
    files: dict[str, FileEntry]
    license: str
    self_test: SelfTest
    calibration: CalibrationTable | None = None
    options: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not 0 <= self.max_tokens <= MAX_TOKENS:
            raise ValueError(f"max_tokens must be from 0 to {MAX_TOKENS:,}")

    @property
    def revision(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the manifest's content, which has every file's hash."""
        content = self._content()
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:REVISION_LENGTH]

    def to_json(self) -> str:
        """The manifest as text: two-space JSON with the revision, ending in a newline."""
        return json.dumps({"revision": self.revision, **self._content()}, indent=2, ensure_ascii=False) + "\n"

    def _content(self) -> dict[str, Any]:
        content = asdict(self)
        return content if self.models is not None else content | {"models": _NO_MODELS}


def file_entry(path: Path) -> FileEntry:
    """Hash and measure a file, without reading all of it into memory."""
    with path.open("rb") as file:
        return hashed(file)


def hashed(file: BinaryIO) -> FileEntry:
    """Hash and measure an open file, without reading all of it into memory."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        size += len(chunk)
    return FileEntry(digest.hexdigest(), size)


def read_manifest(folder: Path) -> Manifest:
    """Read and validate `folder/manifest.json`.

    Raises:
        ArtifactError: it is missing, too large, not JSON, lacks or misnames a field, has a number that makes no sense,
            or was edited (the revision does not match).
    """
    path = folder / MANIFEST_NAME
    try:
        raw = read_json(read_file(path, MAX_MANIFEST_BYTES))
        manifest = _from_json(raw)
        revision = manifest.revision
    except FileNotFoundError as error:
        raise ArtifactError(
            path, f"is missing; an artifact is a folder with a manifest.json{_advice(folder)}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(path, f"cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(path, f"is not a valid manifest: {error}; export or train the artifact again") from error
    if raw.get("revision") != revision:
        raise ArtifactError(
            path,
            f"was edited: it says revision {raw.get('revision')!r} but its content is {revision!r}; "
            "restore it, or export or train the artifact again",
        )
    return manifest


def _advice(folder: Path) -> str:
    """How to make an artifact from a folder that is a checkpoint of RouteLLM or Hugging Face."""
    weights = ("*.safetensors", "pytorch_model*.bin", "*.pt")
    if not (folder / "config.json").exists() and not any(any(folder.glob(pattern)) for pattern in weights):
        return ""
    return (
        f", and {folder} looks like a checkpoint; run: "
        f"export-onnx mf|bert|causal_llm --checkpoint {folder} --output DIR, and name DIR here"
    )


def _from_json(raw: Any) -> Manifest:
    content: dict[str, Any] = _typed(dict[str, Any], raw, "")
    if (version := content.get("schema_version")) != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {version!r}, this release reads {SCHEMA_VERSION}")
    values = {key: value for key, value in content.items() if key != "revision"}
    if "models" in values:
        models = values["models"]
        values["models"] = None if models == _NO_MODELS else _typed(ModelPair, models, "models")
    manifest: Manifest = _typed(Manifest, values, "")
    if not 0.0 <= manifest.self_test.tolerance <= 1.0:  # NaN fails every comparison
        raise ValueError("self_test.tolerance must be from 0 to 1, or nothing would be tested")
    return manifest


def _typed(annotation: Any, raw: Any, where: str) -> Any:
    """A value from JSON, as a dataclass's annotation asks. Messages quote no value: it may be a prompt."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return raw
    if origin is types.UnionType:
        return None if raw is None else _typed(arguments[0], raw, where)
    if is_dataclass(annotation) and isinstance(raw, dict):
        return _dataclass(typing.cast("type[Any]", annotation), raw, where)
    if origin is dict and isinstance(raw, dict):
        return {name: _typed(arguments[1], value, _join(where, name)) for name, value in raw.items()}
    if origin is tuple and isinstance(raw, list):
        return tuple(_typed(arguments[0], value, f"{where}[{index}]") for index, value in enumerate(raw))
    if type(raw) is annotation or (annotation is float and type(raw) is int):
        return raw
    raise ValueError(f"{where or 'it'} must be {(origin or annotation).__name__}, not {type(raw).__name__}")


def _dataclass(kind: type[Any], raw: dict[str, Any], where: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted(raw.keys() - known):
        raise ValueError(f"{where or 'it'} has the unknown field {unknown[0]!r}")
    if missing := [name for name, f in known.items() if name not in raw and f.default is f.default_factory is MISSING]:
        raise ValueError(f"{where or 'it'} lacks the field {missing[0]!r}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _typed(hints[name], value, _join(where, name)) for name, value in raw.items()})


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
