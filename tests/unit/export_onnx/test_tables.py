"""Tables: the files of a split, local or of the hub, and files that are not what their names say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export_onnx.battles import EMBEDDING_COLUMNS
from export_onnx.tables import Columns, TableFile, find_tables, rows_of
from routing_service.errors import UsageError

COLUMNS = Columns("Tests", ("text", "number"), ("extra",))


def read(path: Path, columns: Columns = COLUMNS) -> list[tuple[str, dict[str, Any]]]:
    return list(rows_of(TableFile(path, path.name), columns))


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rows_come_with_their_places(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", '\ufefftext,number\n"a\nb",1\n"c, d",2\n')
    assert read(path) == [
        (f"{path}:3", {"text": "a\nb", "number": "1"}),
        (f"{path}:4", {"text": "c, d", "number": "2"}),
    ]
    path = written(tmp_path / "t.jsonl", '{"text": "a", "number": 1}\n\n{"text": "b", "number": 2, "extra": 3}\n')
    assert [where for where, _ in read(path)] == [f"{path}:1", f"{path}:3"]


def test_parquet_has_lists_of_numbers_as_arrays(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra `export` is not installed")
    from pyarrow import parquet

    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 2)):
        column = pa.array([[1.0, 2.0], None, [None, 4.0]], kind)
        parquet.write_table(pa.table({"embeddings": column}), tmp_path / "t.parquet")
        (_, first), (where, second), (_, third) = read(tmp_path / "t.parquet", EMBEDDING_COLUMNS)
        assert isinstance(first["embeddings"], np.ndarray)
        assert first["embeddings"].tolist() == [1.0, 2.0]
        assert second["embeddings"] is None
        assert where.endswith("t.parquet: row 2")
        assert math.isnan(third["embeddings"][0])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.jsonl", "{", "t.jsonl:1: is not JSON"),
        ("t.jsonl", "[1]", "t.jsonl:1: is not an object"),
        ("t.jsonl", b'{"text": "\xff"}', "is not UTF-8 text"),
        ("t.csv", "text,number\na\n", "t.csv:2: has fewer fields"),
        ("t.csv", "text,number\na,1,2\n", "t.csv:2: has more fields"),
        ("t.csv", 'text,number\n"a,1\n', "is not CSV"),
        ("t.csv", "", "has no column 'text', 'number'"),
        ("t.csv", "text,number,extras\n", "'extras' (is it 'extra'?)"),
        ("t.parquet", "PAR1", "cannot be read as Parquet"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, name: str, content: str | bytes, problem: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="the extra `export` is not installed")
    with pytest.raises(UsageError) as caught:
        read(written(tmp_path / name, content))
    assert problem in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


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


@pytest.mark.parametrize("name", ["vectors.pkl", "vectors.npy"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, b"\x80\x04N.")
    with pytest.raises(UsageError, match=r"must be \.parquet, \.jsonl or \.csv"):
        sources(str(path))
    with pytest.raises(UsageError, match=r"holds no \.parquet, \.jsonl or \.csv file"):
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
