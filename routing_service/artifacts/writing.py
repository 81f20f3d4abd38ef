"""Writing an artifact: into a new folder that replaces the old one only when it is complete and passes its checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.manifest import MANIFEST_NAME, Manifest
from routing_service.errors import UsageError
from routing_service.files import refuse_stdio
from routing_service.scratch import abandoned, leftovers, put_folder, scratch_folder

_NEW, _OLD = "new", "old"


@dataclass(slots=True)
class Draft:
    """An artifact in the making. Its files go into `folder`; `write_manifest` is called last."""

    folder: Path
    manifest: Manifest | None = None

    def write_manifest(self, manifest: Manifest) -> Manifest:
        """Add the files' hashes to the manifest, write it, and return it."""
        (self.folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
        self.manifest = manifest
        return manifest


def check_output(output: Path) -> None:
    """Check before long work that an artifact may be written to `output`: a new or empty folder, or an artifact's.

    Raises:
        UsageError: `output` has something else in it, or is `-`.
    """
    refuse_stdio(output)
    if output.exists() and not (output / MANIFEST_NAME).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists and is not an artifact; name an empty or new folder")


@contextmanager
def new_artifact(output: Path, check: Callable[[Artifact], object] | None = None) -> Iterator[Draft]:
    """Make an artifact in `output`. At the end it replaces an existing one.

        with new_artifact(output, StaticRouter) as draft:
            (draft.folder / "model.onnx").write_bytes(graph)
            draft.write_manifest(Manifest(…))

    After an exception, in the context or from the checks, the old artifact stays and nothing of the new one is left.

    Args:
        output: the artifact's folder. It may exist if it is empty or an artifact. If it is a link, its target is
            replaced.
        check: called with the finished artifact before it replaces the old one, e.g. to load it as the server would.

    Raises:
        UsageError: `output` has something else in it, or cannot be written.
        ArtifactError: the new artifact does not match its manifest.
    """
    place = output.resolve()
    try:
        _recover(place)
        check_output(output)
        place.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(place.parent, place.name) as scratch:
            draft = Draft(scratch / _NEW)
            draft.folder.mkdir()
            yield draft
            if draft.manifest is None:
                raise RuntimeError(f"{output}: no manifest was written")
            artifact = open_artifact(draft.folder, draft.manifest.type)
            if check is not None:
                check(artifact)
            put_folder(draft.folder, place, scratch / _OLD)
    except OSError as error:
        raise UsageError(
            f"{output}: cannot be written: {error.strerror or error}; the old content is unchanged. Choose another "
            "place, or make room"
        ) from error


def _recover(place: Path) -> None:
    """Put back the old artifact that a killed process had moved aside to replace it."""
    for scratch in leftovers(place.parent, place.name):
        with abandoned(scratch) as dead:
            if dead and (scratch / _OLD).is_dir() and not place.exists():
                (scratch / _OLD).rename(place)
