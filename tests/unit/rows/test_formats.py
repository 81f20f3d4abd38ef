"""What a file holds is told by its name, or else by its first line; what is not read is refused by name."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

from routing_service.errors import UsageError
from routing_service.rows.formats import Format, sniffed_format, stem_of
from routing_service.rows.prompts import read_prompts
from routing_service.rows.reader import RowFile
from tests.support.rows import write_rows

PROMPTS = ["a b", 'Prove it, in "two" lines']
ROWS = [{"id": str(number), "prompt": prompt} for number, prompt in enumerate(PROMPTS)]
JSON_LINES = "".join(f'{{"prompt": "{number}"}}\n' for number in range(2))


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        list(read_prompts(RowFile(path)))
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize("content", ["p.jsonl", "p.csv", "p.tsv", "p.parquet", "p.jsonl.gz"])
@pytest.mark.parametrize("name", ["p.log", "p", "p.log.1", "p.ndjson", "p.tsv", "p.txt", "p.data"])
def test_the_same_rows_under_other_names_are_the_same(tmp_path: Path, content: str, name: str) -> None:
    path = write_rows(tmp_path / content, ROWS).rename(tmp_path / name)
    file = RowFile(path)
    assert list(read_prompts(file)) == PROMPTS
    kind = {"p.csv": "CSV", "p.tsv": "tab-separated values", "p.parquet": "Parquet"}.get(content, "JSON lines")
    assert file.notes() == [f"{path} is read as {kind}"]


@pytest.mark.parametrize(
    ("name", "line", "wanted"),
    [
        ("p", "What is 2 + 2?", Format.LINES),
        ("p", "Write a prompt, and its answer, as a list", Format.LINES),
        ("p", "[1, 2, 3] sorted?", Format.LINES),
        ("p", '{"prompt": "a"}', Format.JSON_LINES),
        ("p", '  {"promt": "a"}', Format.JSON_LINES),
        ("p", "{% if x %}", Format.JSON_LINES),
        ("p.txt", "{% if x %}", Format.LINES),
        ("p.txt", '{"note": "no row of ours"}', Format.LINES),
        ("p.txt", '{"messages": []}', Format.JSON_LINES),
        ("p.txt", "prompt", Format.LINES),
        ("p.txt", "id,prompt", Format.TABLE),
        ("p", "prompt", Format.TABLE),
        ("p", "id\tprompt", Format.TABLE),
        ("p", "id;prompt", Format.TABLE),
        ("p", '"model_a","model_b","winner"', Format.TABLE),
        ("p.log", "2,strong_win_rate", Format.TABLE),
        ("p", f"prompt,{'a long sentence ' * 9}", Format.LINES),
        ("p.tsv", "no header that is known", Format.TABLE),
        ("p.ndjson", "no object", Format.JSON_LINES),
        ("p.json", '{"prompt": "a"}', Format.JSON_LINES),
    ],
)
def test_a_first_line_says_what_a_file_is(name: str, line: str, wanted: Format) -> None:
    assert sniffed_format(Path(name), line + "\n") is wanted


@pytest.mark.parametrize("name", ["p", "p.log", "p.json"])
@pytest.mark.parametrize("content", ['[{"prompt": "a"}]', '[\n  {"prompt": "a"}\n]'])
def test_a_json_document_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert "a JSON document is not read; write one object a line and name the file .jsonl" in refusal(tmp_path / name)


def test_an_object_over_several_lines_is_refused(tmp_path: Path) -> None:
    for name in ("p", "p.jsonl", "p.json"):
        (tmp_path / name).write_text('{\n  "prompt": "a"\n}\n')
        assert "write one object a line" in refusal(tmp_path / name)


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_csv_is_separated_as_its_header_is(tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "p.csv").write_text(f'id{delimiter}prompt\n1{delimiter}"a, b"\n')
    assert list(read_prompts(RowFile(tmp_path / "p.csv"))) == ["a, b"]


def test_what_the_name_leaves_no_doubt_about_is_not_told(tmp_path: Path) -> None:
    for name in ("p.jsonl", "p.csv", "p.parquet", "p.jsonl.gz", "p.CSV"):
        path = write_rows(tmp_path / name.lower(), ROWS).rename(tmp_path / name)
        file = RowFile(path)
        assert list(read_prompts(file)) == PROMPTS
        assert file.notes() == [], name
    (tmp_path / "p.txt").write_text("a b\n")
    file = RowFile(tmp_path / "p.txt")
    assert list(read_prompts(file)) == ["a b"]
    assert file.notes() == []


def test_a_gzip_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    for name in ("p.jsonl", "p", "p.jsonl.GZ"):
        (tmp_path / name).write_bytes(gzip.compress(JSON_LINES.encode()) + gzip.compress(JSON_LINES.encode()))
        assert list(read_prompts(RowFile(tmp_path / name))) == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("p.jsonl.zst", "is compressed with zstd, which is not read; unpack it or gzip it"),
        ("p.csv.bz2", "is compressed with bzip2"),
        ("p.jsonl.xz", "is compressed with xz"),
        ("p.zip", "is compressed with zip"),
        ("p.tar.gz", "is a tar archive; write JSON lines, CSV or Parquet"),
        ("p.xlsx", "is a spreadsheet"),
        ("p.pkl", "is a pickle, which is never opened"),
        ("p.npy", "is a NumPy array"),
        ("p.parquet.gz", "is gzipped Parquet"),
    ],
)
def test_what_is_not_read_is_refused_by_its_name(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).write_text(JSON_LINES)
    assert says in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"\x28\xb5\x2f\xfd\x24", "is compressed with zstd"),
        (b"BZh91AY&SY", "is compressed with bzip2"),
        (b"\xfd7zXZ\x00", "is compressed with xz"),
        (b"PK\x03\x04", "is compressed with zip"),
        (b"\x80\x04\x95", "is a pickle, which is never opened"),
        (b"\x93NUMPY\x01", "is a NumPy array"),
        ("\ufeff{}".encode("utf-16-le"), "is UTF-16 text; convert the file to UTF-8"),
        ("\ufeff{}".encode("utf-16-be"), "is UTF-16 text"),
    ],
)
def test_what_is_not_read_is_refused_by_its_bytes(tmp_path: Path, head: bytes, says: str) -> None:
    for name, content in {"p.jsonl": head, "p": head, "p.csv": head, "p.jsonl.gz": gzip.compress(head)}.items():
        (tmp_path / name).write_bytes(content + b"more")
        assert says in refusal(tmp_path / name)


def test_a_benchmark_s_name_is_without_suffixes() -> None:
    names = {"a.jsonl": "a", "a.v2.csv.gz": "a.v2", "a.ndjson": "a", "a.log": "a.log", "a": "a", "A.JSONL": "A"}
    assert {name: stem_of(Path("x") / name) for name in names} == names


def test_parquet_from_a_pipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "p.parquet", ROWS)
    with path.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(UsageError, match="Parquet cannot be read from standard input; name the file"):
            list(read_prompts(RowFile(Path("-"))))
