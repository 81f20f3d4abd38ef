"""Tables: the files of a split, local or of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from export_onnx.tables import find_tables
from routing_service.errors import UsageError


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def sources(source: str) -> list[str]:
    return [file.source for file in find_tables("--battles", [source])]


def test_a_folder_is_its_train_split(tmp_path: Path) -> None:
    folder = tmp_path / "arena"
    for name in ("data/test-00000-of-00001.parquet", "data/train-00001-of-00002.parquet", "README.md"):
        written(folder / name, "")
    written(folder / "data/train-00000-of-00002.parquet", "")
    written(folder / "other.csv", "")
    parts = [f"arena/data/train-0000{number}-of-00002.parquet" for number in (0, 1)]
    assert sources(str(folder)) == parts
    assert sources(str(written(tmp_path / "plain" / "rows.jsonl", "").parent)) == ["plain/rows.jsonl"]


def test_a_folder_may_hold_gzipped_files_and_is_read_in_one_format(tmp_path: Path) -> None:
    for name in ("train.jsonl.gz", "train.csv", "notes.txt"):
        written(tmp_path / "arena" / name, "")
    assert sources(str(tmp_path / "arena")) == ["arena/train.jsonl.gz"]


def test_a_file_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    assert sources(str(written(tmp_path / "battles.log", ""))) == ["battles.log"]


@pytest.mark.parametrize(
    ("name", "says"), [("vectors.pkl", "is a pickle, which is never opened"), ("vectors.npy", "is a NumPy array")]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, says: str) -> None:
    path = written(tmp_path / name, b"\x80\x04N.")
    with pytest.raises(UsageError, match=says):
        sources(str(path))
    with pytest.raises(UsageError, match=r"holds no file of rows, named \.jsonl, \.csv, \.parquet"):
        sources(str(tmp_path))


def test_a_data_set_of_the_hub_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra `export` is not installed")
    fetched: list[Any] = []

    def snapshot_download(name: str, **options: Any) -> str:
        fetched.append((name, options))
        written(tmp_path / "0123abc" / "train.csv", "text,number\n")
        return str(tmp_path / "0123abc")

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    (file,) = find_tables("--battles", ["lmsys/arena@main"])
    assert (file.source, file.revision) == ("lmsys/arena/train.csv", "0123abc")
    assert file.provenance().keys() == {"source", "revision", "sha256"}
    ((name, options),) = fetched
    assert (name, options["repo_type"], options["revision"]) == ("lmsys/arena", "dataset", "main")
    assert not any(pattern.endswith((".py", ".pkl", "*")) for pattern in options["allow_patterns"])


def test_an_unreachable_hub_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra `export` is not installed")

    def snapshot_download(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route\nand a long story")

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    with pytest.raises(UsageError) as caught:
        find_tables("--battles", ["lmsys/arena"])
    assert str(caught.value) == (
        "--battles lmsys/arena: there is no such file, and it cannot be fetched from the Hugging Face hub: no route"
    )
