"""Finding files of rows: local ones, folders, or a data set of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing_service.artifacts.manifest import file_entry
from routing_service.errors import UsageError
from routing_service.extras import pip_install
from routing_service.rows.formats import GZIP, SUFFIXES, check_name, row_files, suffix_of
from routing_service.rows.reader import RowFile

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SPLIT = "train"
_BY_PREFERENCE = (".parquet", *(suffix for suffix in SUFFIXES if suffix != ".parquet"))


@dataclass(frozen=True, slots=True)
class TableFile:
    """One file of rows.

    `source` names where it comes from for people: its own name, or the hub's id and the path inside; `revision` is the
    hub's commit, None for a local file.
    """

    path: Path
    source: str
    revision: str | None = None

    def rows(self, needed: Sequence[str]) -> RowFile:
        """Its rows; of Parquet only the columns that are needed."""
        return RowFile(self.path, needed)

    def provenance(self) -> dict[str, Any]:
        """For the manifest: source, revision where there is one, SHA-256."""
        revision = {} if self.revision is None else {"revision": self.revision}
        return {"source": self.source, **revision, "sha256": file_entry(self.path).sha256}


def find_tables(option: str, sources: Sequence[str]) -> list[TableFile]:
    """The files that a command's option names: a file each, or the `train` split of a folder or a data set of the hub.

    Raises:
        UsageError: one does not exist, is of no known kind or cannot be fetched.
    """
    return [file for source in sources for file in _find(option, source)]


def _find(option: str, source: str) -> list[TableFile]:
    path = Path(source)
    if path.is_file():
        check_name(path)
        return [TableFile(path, path.name)]
    if path.is_dir():
        return [TableFile(file, f"{path.resolve().name}/{inside}") for file, inside in _split(option, source, path)]
    identifier, _, revision = source.partition("@")
    if suffix_of(path) in SUFFIXES or not _HUB_ID.fullmatch(identifier):
        raise UsageError(
            f"{option} {source}: there is no such file or folder; name one, or a data set of the Hugging Face hub as "
            "OWNER/NAME or OWNER/NAME@REVISION"
        )
    folder = _fetch(option, identifier, revision or None)
    # The hub's client keeps a data set in a folder named by its commit.
    return [
        TableFile(file, f"{identifier}/{inside}", folder.name) for file, inside in _split(option, identifier, folder)
    ]


def _fetch(option: str, identifier: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UsageError(
            f"{option} {identifier}: there is no such file, and fetching a data set needs huggingface_hub; run: "
            f"{pip_install('routing-service', 'export')}"
        ) from error
    patterns = [f"*{suffix}{packed}" for suffix in SUFFIXES for packed in ("", GZIP)]
    try:
        return Path(snapshot_download(identifier, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises its own kinds, and those of its HTTP library
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{option} {identifier}: there is no such file, and it cannot be fetched from the Hugging Face hub: {first}"
        ) from error


def _split(option: str, source: str, folder: Path) -> list[tuple[Path, str]]:
    """The files of a data set's `train` split, in order, with their paths inside; all files when none is named so.

    A data set that is there in several formats is read in one of them.
    """
    inside = {path: path.relative_to(folder) for path in row_files(folder.rglob("*"))}
    for suffix in _BY_PREFERENCE:
        found = [(path, part) for path, part in inside.items() if suffix_of(path) == suffix]
        named = [(path, part) for path, part in found if _SPLIT in "/".join(part.parts).lower()]
        if found:
            return [(path, part.as_posix()) for path, part in named or found]
    raise UsageError(f"{option} {source}: holds no file of rows, named {', '.join(SUFFIXES)} or these with {GZIP}")
