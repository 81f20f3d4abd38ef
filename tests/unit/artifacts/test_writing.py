"""An artifact replaces another only when it is whole, whatever happens to the process on the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from routing_service import scratch
from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.manifest import Manifest, read_manifest
from routing_service.artifacts.writing import Draft, check_output, new_artifact
from routing_service.errors import ArtifactError, UsageError
from routing_service.routers.static import StaticRouter
from tests.support.disks import FullDisk, contents, run_until_killed

# Makes an artifact of the files of argv[1] in argv[2], and is killed at the place that argv[3] names.
SCRIPT = """
import shutil
from routing_service import scratch
from routing_service.artifacts.manifest import read_manifest
from routing_service.artifacts.writing import new_artifact
source, output, at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if at == "sync":
    scratch.sync = die
elif at != "body":
    if at.endswith("without exchange"):
        scratch._exchange = lambda one, other: False
    rename, left = Path.rename, [int(at[0])]
    def renaming(path, target):
        left[0] -= 1
        if left[0] < 0:
            die()
        return rename(path, target)
    Path.rename = renaming
    scratch.sync_folder = lambda folder: die() if folder == output.parent else None
with new_artifact(output) as draft:
    for path in source.iterdir():
        shutil.copy(path, draft.folder)
    if at == "body":
        die()
    draft.write_manifest(read_manifest(source))
"""


@pytest.fixture
def old(tmp_path: Path, static_artifact: Path) -> Path:
    """A folder with an artifact, alone in its parent."""
    (tmp_path / "artifacts").mkdir()
    return Path(shutil.copytree(static_artifact, tmp_path / "artifacts" / "mine"))


@pytest.fixture
def newer(tmp_path: Path, static_artifact: Path) -> Path:
    """Another artifact, elsewhere."""
    folder = Path(shutil.copytree(static_artifact, tmp_path / "newer"))
    manifest = read_manifest(folder)
    newer = Manifest(**{**{name: getattr(manifest, name) for name in manifest.__slots__}, "license": "MIT"})
    (folder / "manifest.json").write_text(newer.to_json(), encoding="utf-8")
    return folder


def write(source: Path, draft: Draft) -> Manifest:
    for path in source.iterdir():
        if path.name != "manifest.json":
            shutil.copy(path, draft.folder)
    return draft.write_manifest(read_manifest(source))


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "an artifact"])
def test_it_is_made_in_a_new_folder_and_in_place_of_another(
    tmp_path: Path, static_artifact: Path, old: Path, there: str
) -> None:
    output = {"nothing": tmp_path / "deep" / "out", "an empty folder": tmp_path / "out", "an artifact": old}[there]
    if there == "an empty folder":
        output.mkdir()
    with new_artifact(output, StaticRouter) as draft:
        manifest = write(static_artifact, draft)
        assert not (output / "manifest.json").exists() or there == "an artifact"
    assert open_artifact(output, "static").manifest == manifest
    assert contents(output) == contents(static_artifact)
    assert [path.name for path in output.parent.iterdir() if path.name.startswith(".")] == []


def test_of_a_link_the_target_is_replaced(tmp_path: Path, old: Path, newer: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(old)
    with new_artifact(link) as draft:
        write(newer, draft)
    assert link.is_symlink()
    assert contents(old) == contents(newer)


@pytest.mark.parametrize("error", [UsageError("no"), KeyboardInterrupt(), ValueError("no")])
def test_a_failure_keeps_the_old_one_and_leaves_nothing(old: Path, newer: Path, error: BaseException) -> None:
    before = contents(old.parent)
    with pytest.raises(type(error)), new_artifact(old) as draft:  # noqa: PT012 - the draft is begun before it fails
        write(newer, draft)
        raise error
    assert contents(old.parent) == before
    assert list(old.parent.iterdir()) == [old]


def test_what_its_checks_refuse_does_not_take_its_place(old: Path, newer: Path) -> None:
    def refuse(_: object) -> None:
        raise ArtifactError(newer, "is not good enough")

    before = contents(old)
    with pytest.raises(ArtifactError, match="not good enough"), new_artifact(old, refuse) as draft:
        write(newer, draft)
    with pytest.raises(ArtifactError, match="not listed in the manifest"), new_artifact(old) as draft:  # noqa: PT012
        write(newer, draft)
        (draft.folder / "more").touch()
    with pytest.raises(RuntimeError, match="no manifest was written"), new_artifact(old):
        pass
    assert contents(old) == before
    assert list(old.parent.iterdir()) == [old]


def test_a_full_disk_keeps_the_old_one(old: Path, newer: Path, full_disk: FullDisk) -> None:
    before = contents(old)
    said = r"mine: cannot be written: No space left on device; the old content is unchanged"
    with full_disk(after=1), pytest.raises(UsageError, match=said), new_artifact(old) as draft:
        write(newer, draft)
    assert contents(old) == before
    assert list(old.parent.iterdir()) == [old]


def test_other_people_s_folders_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path, tmp_path / "file"):
        with pytest.raises(UsageError, match="is not an artifact; name an empty or new folder"):
            check_output(output)
        with pytest.raises(UsageError, match="is not an artifact"), new_artifact(output):
            pytest.fail("it is not to be begun")
    with (
        pytest.raises(UsageError, match=r"file/out: cannot be written: File exists"),
        new_artifact(tmp_path / "file" / "out"),
    ):
        pytest.fail("there is nowhere to write to")


@pytest.mark.parametrize(
    ("at", "there"),
    [
        ("body", "old"),
        ("sync", "old"),
        # Once the names are exchanged, and before anything is cleaned up.
        ("0 renames", "newer"),
        ("0 renames, without exchange", "old"),
        ("1 renames, without exchange", "nothing"),
        ("2 renames, without exchange", "newer"),
    ],
)
def test_a_killed_process_leaves_a_whole_artifact_and_the_next_one_clears_up(
    old: Path, newer: Path, at: str, there: str
) -> None:
    wanted = {"old": contents(old), "newer": contents(newer), "nothing": {}}[there]
    kept = contents(old)
    run_until_killed(SCRIPT, newer, old, at)
    assert (contents(old) if old.exists() else {}) == wanted
    if there == "nothing":
        # The next one puts the old artifact back before it makes its own, which fails here.
        with pytest.raises(RuntimeError), new_artifact(old):
            raise RuntimeError("no")
        assert contents(old) == kept
    with new_artifact(old) as draft:
        write(newer, draft)
    assert contents(old) == contents(newer)
    assert list(old.parent.iterdir()) == [old]


def test_an_artifact_aside_of_a_living_process_is_not_taken(old: Path) -> None:
    with scratch.scratch_folder(old.parent, old.name) as living:
        old.rename(living / "old")
        with pytest.raises(RuntimeError), new_artifact(old):
            raise RuntimeError("no")
        assert not old.exists()
        (living / "old").rename(old)
