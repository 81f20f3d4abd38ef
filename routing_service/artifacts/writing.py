"""Writing an artifact: into a new folder that takes the old one's place only when it is whole and passes its checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.manifest import MANIFEST_NAME, Manifest
from routing_service.errors import UsageError
from routing_service.scratch import abandoned, leftovers, put_folder, scratch_folder

_NEW, _OLD = "new", "old"


@dataclass(slots=True)
class Draft:
    """An artifact that is being made: its files go into `folder`, and `write_manifest` is called last."""

    folder: Path
    manifest: Manifest | None = None

    def write_manifest(self, manifest: Manifest) -> Manifest:
        """Write what describes the files of the folder, and give it back."""
        (self.folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
        self.manifest = manifest
        return manifest


def check_output(output: Path) -> None:
    """See before long work whether an artifact may be put into `output`: a new or empty folder, or an artifact's.

    Raises:
        UsageError: `output` holds something else.
    """
    if output.exists() and not (output / MANIFEST_NAME).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists and is no artifact; name an empty or new folder")


@contextmanager
def new_artifact(output: Path, check: Callable[[Artifact], object] | None = None) -> Iterator[Draft]:
    """Make an artifact in `output`; in the end it replaces the one that is there.

        with new_artifact(output, StaticRouter) as draft:
            (draft.folder / "model.onnx").write_bytes(graph)
            draft.write_manifest(Manifest(…))

    An exception, in the context or of the checks, keeps the old artifact and leaves nothing of the new one.

    Args:
        output: the artifact's folder. It may exist if it is empty or holds an artifact; of a link the target is
            replaced.
        check: given the finished artifact before it takes its place, e.g. to load it as the server would.

    Raises:
        UsageError: `output` holds something else, or cannot be written.
        ArtifactError: the new artifact is not what its manifest says.
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
            f"{output}: cannot be written: {error.strerror or error}; what was there is untouched. Choose another "
            "place, or make room"
        ) from error


def _recover(place: Path) -> None:
    """Put back the artifact that a process left aside which was killed as it replaced it."""
    for scratch in leftovers(place.parent, place.name):
        with abandoned(scratch) as dead:
            if dead and (scratch / _OLD).is_dir() and not place.exists():
                (scratch / _OLD).rename(place)
