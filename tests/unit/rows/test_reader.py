from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Generator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from routing_service.calibration.prompts import read_prompts, read_rows

from routing_service.errors import UsageError

PROMPTS = ["one", "two, with a comma", 'a "quoted" line\nand another', "中文 é 😀", "  spaced  "]
LINES = [p for p in PROMPTS if "\n" not in p]


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        list(read_prompts(path))
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def write(path: Path, prompts: list[str]) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pa.table({"id": list(range(len(prompts))), "prompt": prompts}), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "prompt"), *enumerate(prompts)])
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps({"prompt": p}, ensure_ascii=False) + "\n" for p in prompts), "utf-8")
    else:
        path.write_text("".join(p + "\n" for p in prompts), "utf-8")
    return path


@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson", "p.csv", "p.parquet", "p.txt", "p", "p.JSONL", "p.CSV"])
def test_every_format_gives_its_prompts_in_order(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name.lower(), PROMPTS if "." in name and "txt" not in name else LINES)
    path = path.rename(tmp_path / name)
    assert list(read_prompts(path)) == (PROMPTS if "." in name and "txt" not in name else LINES)


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.txt"])
def test_gzipped_files_are_read(tmp_path: Path, name: str) -> None:
    plain = write(tmp_path / name, LINES)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_prompts(packed)) == LINES


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda text: text.strip())


@given(st.lists(TEXTS, max_size=5))
@settings(max_examples=30)
@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.parquet"])
def test_any_text_comes_through(tmp_path_factory: pytest.TempPathFactory, name: str, prompts: list[str]) -> None:
    path = write(tmp_path_factory.getbasetemp() / name, prompts)
    assert list(read_prompts(path)) == prompts


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_no_matter(tmp_path: Path, end: str) -> None:
    for name, lines in {
        "p.txt": ["one", "", "  ", "two"],
        "p.csv": ["prompt", "one", "", "  ", "two"],
        "p.jsonl": ['{"prompt": "one"}', "", "  ", '{"prompt": "two"}'],
    }.items():
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + end.join(lines).encode())
        assert list(read_prompts(tmp_path / name)) == ["one", "two"], name


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.parquet"])
def test_prompts_without_text_are_skipped_in_every_format(tmp_path: Path, name: str) -> None:
    assert list(read_prompts(write(tmp_path / name, ["one", "", " ", "two"]))) == ["one", "two"]


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.txt", "p.parquet"])
def test_reading_is_lazy(tmp_path: Path, name: str) -> None:
    rows = read_prompts(write(tmp_path / name, ["one"]))
    assert isinstance(rows, Generator)
    assert next(rows) == "one"
    rows.close()


def test_an_empty_file_has_no_prompts(tmp_path: Path) -> None:
    for name in ("p.jsonl", "p.txt"):
        (tmp_path / name).touch()
        assert list(read_prompts(tmp_path / name)) == []


def test_rows_keep_their_other_keys_and_their_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": 1, "prompt": "a"}\n\n{"prompt": "b", "x": [1]}\n')
    assert list(read_rows(path)) == [(1, {"id": 1, "prompt": "a"}), (3, {"prompt": "b", "x": [1]})]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON"),
        ("not json", "is not JSON"),
        ('["a"]', "is not an object"),
        ('"a"', "is not an object"),
        ("{}", "has no 'prompt', only nothing"),
        ('{"prompt": 5}', "'prompt' is not text; write the prompt as a string"),
        ('{"prompt": null}', "'prompt' is not text"),
        ('{"promt": "a", "id": 1}', "has no 'prompt', only 'promt', 'id'; is 'promt' meant to be it?"),
        ("[" * 100_000, "is not JSON"),
        ("1" * 5000, "is not JSON"),
    ],
)
def test_a_bad_line_is_told_with_its_number(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prompt": "a"}}\n\n{line}\n')
    message = refusal(path)
    assert message.startswith(f"{path}:3: ")
    assert problem in message


def test_messages_are_sentences_whether_or_not_there_is_a_guess(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"zzz": "a"}\n')
    assert refusal(path).endswith("has no 'prompt', only 'zzz'. Name the prompts 'prompt'.")
    path.write_text('{"promt": "a"}\n')
    assert refusal(path).endswith("is 'promt' meant to be it? Name the prompts 'prompt'.")


def test_a_bad_line_does_not_repeat_the_prompt(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    for line in ('{"prompt": "a secret"', '"a secret"', '{"id": 1, "text": "a secret"}'):
        path.write_text(line)
        assert "a secret" not in refusal(path)


def test_a_csv_without_a_header_does_not_repeat_its_first_prompt(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("a secret question that nobody else should read\nanother\n")
    message = refusal(path)
    assert message.endswith("p.csv:1: has no 'prompt', only …. Name the prompts 'prompt'.")


def test_a_csv_without_prompts_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,Prompt\n1,a\n")
    assert "has no 'prompt', only 'id', 'Prompt'; is 'Prompt' meant to be it?" in refusal(path)


def test_a_csv_row_with_too_few_columns_has_no_prompt(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,prompt\n1\n2,b\n")
    assert list(read_prompts(path)) == ["b"]


def test_a_csv_cell_may_be_long(tmp_path: Path) -> None:
    old = csv.field_size_limit()
    try:
        path = write(tmp_path / "p.csv", ["x" * 300_000])
        assert list(read_prompts(path)) == ["x" * 300_000]
    finally:
        csv.field_size_limit(old)


def test_a_parquet_file_without_prompts_is_told(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"prompts": ["a"]}), tmp_path / "p.parquet")
    assert "has no 'prompt', only 'prompts'; is 'prompts' meant to be it?" in refusal(tmp_path / "p.parquet")


@pytest.mark.parametrize("values", [[1, 2], [b"a"], [["a"]], [{"text": "a"}]])
def test_a_parquet_column_that_is_no_text_is_told(tmp_path: Path, values: list[object]) -> None:
    parquet.write_table(pa.table({"prompt": values}), tmp_path / "p.parquet")
    assert "the column 'prompt' is not text" in refusal(tmp_path / "p.parquet")


def test_nulls_in_a_parquet_column_are_skipped(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"prompt": ["a", None]}), tmp_path / "p.parquet")
    assert list(read_prompts(tmp_path / "p.parquet")) == ["a"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet" * 100])
def test_what_is_no_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.parquet").write_bytes(content)
    assert "cannot be read as Parquet" in refusal(tmp_path / "p.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'routing-service[parquet]'" in refusal(tmp_path / "p.parquet")


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.txt", "p.parquet", "p.jsonl.gz"])
def test_a_missing_file_and_a_folder_are_told(tmp_path: Path, name: str) -> None:
    assert "cannot be read" in refusal(tmp_path / name)
    (tmp_path / name).mkdir()
    assert "cannot be read" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.txt"])
def test_what_is_not_utf_8_is_told(tmp_path: Path, name: str) -> None:
    line = '{"prompt": "é"}' if name == "p.jsonl" else "é"
    head = '{"prompt": "a"}' if name == "p.jsonl" else "prompt"
    (tmp_path / name).write_bytes(f"{head}\n\n{line}\n".encode("latin-1"))
    assert f"{tmp_path / name}:3: is not UTF-8 text; convert the file to UTF-8" in refusal(tmp_path / name)


@pytest.mark.parametrize("damage", ["plain", "cut", "flipped", "checksum"])
def test_a_damaged_gzip_file_is_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "p.txt.gz"
    packed = bytearray(gzip.compress("".join(f"prompt {n}\n" for n in range(1000)).encode()))
    if damage == "plain":
        packed = bytearray(b"one\n")
    elif damage == "cut":
        del packed[-20:]
    elif damage == "flipped":
        packed[12] ^= 0xFF  # inside the first compressed block, so that inflating fails, not the checksum
    else:
        packed[-6] ^= 0xFF
    path.write_bytes(packed)
    assert "cannot be read" in refusal(path)
