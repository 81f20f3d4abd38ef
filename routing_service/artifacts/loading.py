"""Opening an artifact: every file is hashed before it is read, and the router must reproduce its recorded answers."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from routing_service.artifacts.folder import check_folder
from routing_service.artifacts.graphs import MAX_GRAPH_BYTES
from routing_service.artifacts.manifest import MANIFEST_NAME, FileEntry, Manifest, hashed, read_manifest
from routing_service.artifacts.reading import MAX_JSON_BYTES, open_file
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_ARTIFACT = Path(__file__).parent / "default"
# The largest files, by their names' ends. Others are weights, e.g. 30 GB for a language model.
_MAX_BYTES = {".onnx": MAX_GRAPH_BYTES, ".json": MAX_JSON_BYTES}
_MAX_WEIGHTS_BYTES = 512 * 1024**3


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder in which every file has the hash in the manifest."""

    folder: Path
    manifest: Manifest

    @property
    def models(self) -> ModelPair:
        """The pair that a router's artifact was made for.

        Raises:
            ArtifactError: it names none, like an encoder's artifact.
        """
        if self.manifest.models is None:
            raise ArtifactError(self.folder / MANIFEST_NAME, "names no models, which a router needs")
        return self.manifest.models

    def file(self, name: str) -> Path:
        """The path of a file of the artifact.

        Raises:
            ArtifactError: the manifest does not list it, so it cannot be trusted.
        """
        if name not in self.manifest.files:
            raise ArtifactError(self.folder / MANIFEST_NAME, f"lists no {name!r}, which this type of router needs")
        return self.folder / name


class _Scorer(Protocol):
    models: Any

    def score(self, texts: Sequence[str], models: Any) -> Any: ...


def open_artifact(folder: Path, expected_type: str) -> Artifact:
    """Read the manifest of `folder` and check the hash and size of every file that it lists.

    Of a file that is too large, or has another size than the manifest says, nothing is read. For what else the folder
    may hold, see `check_folder`.

    Raises:
        ArtifactError: the manifest is missing, invalid, edited or of another router type, or a file is missing, outside
            the folder, not listed, no file, too large, or different from the manifest's record.
    """
    manifest = read_manifest(folder)
    if manifest.type != expected_type:
        raise ArtifactError(folder / MANIFEST_NAME, f"is of type {manifest.type!r}, not {expected_type!r}")
    check_folder(folder, manifest.files)
    for name, recorded in manifest.files.items():
        _check_file(folder / name, recorded)
    return Artifact(folder, manifest)


def _check_file(path: Path, recorded: FileEntry) -> None:
    try:
        with open_file(path, _MAX_BYTES.get(path.suffix, _MAX_WEIGHTS_BYTES)) as file:
            size = os.fstat(file.fileno()).st_size
            found = hashed(file) if size == recorded.bytes else None
    except FileNotFoundError as error:
        raise ArtifactError(path, "is missing, though the manifest lists it; restore the artifact") from error
    except OSError as error:
        raise ArtifactError(path, f"cannot be read: {error.strerror}; restore the artifact") from error
    if found is None:
        difference = f"{size} bytes; expected {recorded.bytes}"
    elif found != recorded:
        difference = f"sha256 {found.sha256[:12]}…, {found.bytes} bytes; expected {recorded.sha256[:12]}…"
    else:
        return
    problem = f"is not the file that the manifest describes ({difference}); restore it, or make the artifact again"
    raise ArtifactError(path, problem)


def self_test(router: _Scorer, artifact: Artifact) -> None:
    """Score the manifest's self-test prompts, one by one and as a batch, and compare. This also warms the router up.

    Raises:
        ArtifactError: a win rate deviates by more than the manifest's tolerance, or is missing.
    """
    test = artifact.manifest.self_test
    if not test.vectors:
        raise ArtifactError(
            artifact.folder / MANIFEST_NAME, "has no self-test vectors, so nothing proves the artifact works"
        )
    prompts = [vector.prompt for vector in test.vectors]
    batches = [*([prompt] for prompt in prompts), prompts]
    try:
        answers = [list(map(float, router.score(batch, router.models).strong_win_rates)) for batch in batches]
    except Exception as error:  # its message may quote a prompt
        problem = f"cannot be run on its self-test: scoring raises {type(error).__name__}"
        raise ArtifactError(artifact.folder, problem) from error
    for batch, rates in zip(batches, answers, strict=True):
        if len(rates) != len(batch):
            problem = f"fails its self-test: {len(rates)} scores for {len(batch)} prompts"
            raise ArtifactError(artifact.folder, problem)
    *alone, together = answers
    for index, vector in enumerate(test.vectors):
        for got in (alone[index][0], together[index]):
            if not math.isfinite(got) or abs(got - vector.strong_win_rate) > test.tolerance:
                raise ArtifactError(
                    artifact.folder,
                    f"fails its self-test: vector {index} gives {got}, not {vector.strong_win_rate} "
                    f"(tolerance {test.tolerance}); this machine or ONNX Runtime computes it differently",
                )
