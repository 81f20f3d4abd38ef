"""Writing an artifact: into a new folder that takes the old one's place only when it is whole and passes its checks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.artifacts.manifest import MANIFEST_NAME, Manifest
from routing_service.errors import UsageError


def check_output(output: Path) -> None:
    """See before long work whether an artifact may be put into `output`: a new or empty folder, or an artifact's.

    Raises:
        UsageError: `output` holds something else.
    """
    if output.exists() and not (output / MANIFEST_NAME).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists and is no artifact; name an empty or new folder")


def write_artifact(
    output: Path, build: Callable[[Path], Manifest], check: Callable[[Artifact], object] | None = None
) -> Manifest:
    """Make an artifact in `output`, replacing the artifact that is there.

    Args:
        output: the artifact's folder. It may exist if it is empty or holds an artifact.
        build: writes the files into the folder that it is given and returns the manifest that describes them.
        check: given the finished artifact before it takes its place, e.g. to load it as the server would; an exception
            keeps the old one.

    Raises:
        UsageError: `output` holds something else, or cannot be written.
    """
    check_output(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    except OSError as error:
        raise UsageError(f"{output}: cannot be written: {error.strerror}; choose another place") from error
    try:
        fresh = scratch / "new"
        fresh.mkdir()
        manifest = build(fresh)
        (fresh / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
        artifact = open_artifact(fresh, manifest.type)
        if check is not None:
            check(artifact)
        if output.exists():
            output.rename(scratch / "old")
        fresh.rename(output)
    except OSError as error:
        if (scratch / "old").exists() and not output.exists():
            (scratch / "old").rename(output)
        raise UsageError(f"{output}: cannot be written: {error.strerror}; the old artifact is untouched") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest
