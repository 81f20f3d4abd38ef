"""Files of preference data are found, and the record of their rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from routing_lab.data.files import DataFile, discover

from routing_service.errors import UsageError


def test_a_folder_gives_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl", "c.tsv", "d.ndjson.gz", "note.txt", "README"):
        (tmp_path / name).write_text("")
    files, folders = discover([tmp_path])
    assert [path.name for path in files] == ["a.jsonl", "b.csv", "c.tsv", "d.ndjson.gz"]
    assert not folders


def test_a_record_has_new_counts_only_where_there_are_any() -> None:
    assert "blank" not in DataFile("a", "s", "l").record()
    assert DataFile("a", "s", "l", blank=2).record()["blank"] == 2


def test_a_file_that_is_named_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    for name in ("answers.log", "answers"):
        (tmp_path / name).write_text("")
        assert discover([tmp_path / name])[0] == [tmp_path / name]


def test_a_folder_with_a_file_that_would_be_missing_is_refused(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl.zst"):
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=r"b\.jsonl\.zst: is compressed with zstd"):
        discover([tmp_path])
