"""Opening an artifact: every file is hashed before it is read, and the router must reproduce its recorded answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from routing_service.artifacts.manifest import MANIFEST_NAME, Manifest, file_entry, read_manifest
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_ARTIFACT = Path(__file__).parent / "default"


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

    A file that it does not list is refused, because a graph may read weights from any file beside it. Only names
    that begin with a dot are ignored: file systems, version control and Kubernetes volumes make them.

    Raises:
        ArtifactError: the manifest is missing, invalid, edited or of another router type, or a file is missing, outside
            the folder, not listed, or different from the manifest's record.
    """
    manifest = read_manifest(folder)
    if manifest.type != expected_type:
        raise ArtifactError(folder / MANIFEST_NAME, f"is of type {manifest.type!r}, not {expected_type!r}")
    for name, recorded in manifest.files.items():
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or "\0" in name:
            raise ArtifactError(folder / MANIFEST_NAME, f"lists {name!r}, which is outside the artifact's folder")
        path = folder / relative
        try:
            found = file_entry(path)
        except FileNotFoundError as error:
            raise ArtifactError(path, "is missing, though the manifest lists it; restore the artifact") from error
        except OSError as error:
            raise ArtifactError(path, f"cannot be read: {error.strerror}") from error
        if found != recorded:
            raise ArtifactError(
                path,
                f"is not the file that the manifest describes (sha256 {found.sha256[:12]}…, {found.bytes} bytes; "
                f"expected {recorded.sha256[:12]}…, {recorded.bytes} bytes); restore it, or make the artifact again",
            )
    listed = {MANIFEST_NAME, *(str(PurePosixPath(name)) for name in manifest.files)}
    for path in sorted(folder.rglob("*")):
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and not hidden and str(relative) not in listed:
            raise ArtifactError(path, "is not listed in the manifest, so nothing vouches for it; move it elsewhere")
    return Artifact(folder, manifest)


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
