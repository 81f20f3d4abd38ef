"""The manifest of an artifact: what a router's folder holds, where it comes from, and how to check it.

A folder is served only if every file has the recorded hash and the revision matches the manifest's own content, so an
edit anywhere, the manifest included, is noticed. See `routing_service.artifacts.loading` for the checks.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from routing_service.errors import ArtifactError

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
REVISION_LENGTH = 16


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
    """What is run at every load. `tolerance` is the largest absolute difference allowed."""

    tolerance: float
    vectors: tuple[SelfTestVector, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the router's scores are distributed over a sample of prompts.

    `quantiles` are the scores at evenly spaced levels from 0 to 1, ascending, at least two; `source` says for people
    what the sample was; `sample_size` is its number of prompts.
    """

    source: str
    sample_size: int
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `manifest.json`.

    `type` is the router's type; `models` has the keys `strong` and `weak`; `files` maps names inside the folder to
    their entries; `license` is an SPDX expression; `options` is JSON that the router's type reads; `provenance` and
    `metrics` are free-form JSON for people.
    """

    type: str
    models: dict[str, str]
    max_tokens: int
    files: dict[str, FileEntry]
    license: str
    self_test: SelfTest
    calibration: Calibration | None = None
    options: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def revision(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the manifest's content, which holds every file's hash."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:REVISION_LENGTH]

    def to_json(self) -> str:
        """The manifest as text: two-space JSON with the revision, ending in a newline."""
        return json.dumps({"revision": self.revision, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"


def file_entry(path: Path) -> FileEntry:
    """Hash and measure a file, without reading it into memory whole."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(digest.hexdigest(), size)


def read_manifest(folder: Path) -> Manifest:
    """Read and validate `folder/manifest.json`.

    Raises:
        ArtifactError: it is missing, no JSON, lacks or misnames a field, or was edited (the revision does not match).
    """
    path = folder / MANIFEST_NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        manifest = _from_dict({key: value for key, value in raw.items() if key != "revision"})
    except FileNotFoundError as error:
        raise ArtifactError(path, "is missing; an artifact is a folder with a manifest.json") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(path, f"cannot be read: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(path, f"is not a valid manifest: {error}; export or train the artifact again") from error
    if raw.get("revision") != manifest.revision:
        raise ArtifactError(
            path,
            f"was edited: it says revision {raw.get('revision')!r} but its content is {manifest.revision!r}; "
            "restore it, or export or train the artifact again",
        )
    return manifest


def _from_dict(raw: dict[str, Any]) -> Manifest:
    known = {f.name for f in fields(Manifest)}
    if unknown := sorted(set(raw) - known):
        raise ValueError(f"unknown field {unknown[0]!r}")
    if raw.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {raw.get('schema_version')!r}, this release reads {SCHEMA_VERSION}")
    if set(raw["models"]) != {"strong", "weak"}:
        raise ValueError("models must have the keys 'strong' and 'weak'")
    self_test, calibration = raw["self_test"], raw.get("calibration")
    values = dict(raw)
    values["files"] = {name: FileEntry(**entry) for name, entry in raw["files"].items()}
    values["self_test"] = SelfTest(
        self_test["tolerance"], tuple(SelfTestVector(**vector) for vector in self_test["vectors"])
    )
    if calibration is not None:
        quantiles = tuple(float(q) for q in calibration["quantiles"])
        if len(quantiles) < 2 or any(b < a for a, b in pairwise(quantiles)):
            raise ValueError("calibration.quantiles must be at least two ascending numbers")
        values["calibration"] = Calibration(calibration["source"], calibration["sample_size"], quantiles)
    return Manifest(**values)
