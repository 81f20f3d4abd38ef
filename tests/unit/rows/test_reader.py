from __future__ import annotations

import csv
import gzip
import json
import math
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from routing_service.errors import UsageError
from routing_service.rows import prompts
from routing_service.rows.reader import RowFile

PROMPTS = ["one", "two, with a comma", 'a "quoted" line\nand another', "中文 é 😀", "  spaced  "]
LINES = [p for p in PROMPTS if "\n" not in p]


def read_prompts(path: Path) -> Iterator[str]:
    return prompts.read_prompts(RowFile(path))


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
def test_prompts_without_text_are_left_out_and_told_in_every_format(tmp_path: Path, name: str) -> None:
    file = RowFile(write(tmp_path / name, ["one", "", " ", "two"]))
    assert list(prompts.read_prompts(file)) == ["one", "two"]
    assert file.notes() == [f"2 of 4 rows of {file.name} have no text and are left out"]


def test_null_is_no_text_in_every_format(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"prompt": ["a", None]}), tmp_path / "p.parquet")
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": null}\n')
    (tmp_path / "p.csv").write_text("id,prompt\n1,a\n2\n")
    for name in ("p.parquet", "p.jsonl", "p.csv"):
        file = RowFile(tmp_path / name)
        assert list(prompts.read_prompts(file)) == ["a"], name
        assert (file.rows, file.blank) == (2, 1), name


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


def test_rows_keep_their_other_keys_and_their_places(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": 1, "prompt": "a"}\n\n{"prompt": "b", "x": [1]}\n')
    found = [(row.place, row.values) for row in RowFile(path)]
    assert found == [(f"{path}:1", {"id": 1, "prompt": "a"}), (f"{path}:3", {"prompt": "b", "x": [1]})]
    path = tmp_path / "p.csv"
    path.write_text('\ufeffprompt,n\n"a\nb",1\n\n"c, d",2\n')
    found = [(row.place, row.values) for row in RowFile(path)]
    assert found == [(f"{path}:3", {"prompt": "a\nb", "n": "1"}), (f"{path}:5", {"prompt": "c, d", "n": "2"})]
    path = tmp_path / "p.parquet"
    parquet.write_table(pa.table({"prompt": ["a", "b"], "n": [1, None]}), path)
    found = [(row.place, row.values) for row in RowFile(path)]
    assert found == [(f"{path}:1", {"prompt": "a", "n": 1}), (f"{path}:2", {"prompt": "b", "n": None})]


def test_of_parquet_only_what_is_needed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    parquet.write_table(pa.table({"prompt": ["a"], "response": ["long"]}), path)
    file = RowFile(path, ("prompt", "absent"))
    assert [row.values for row in file] == [{"prompt": "a"}]
    assert file.columns == ("prompt", "response")


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 2)])
def test_parquet_has_lists_of_numbers_as_arrays(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array([[1.0, 2.0], None, [None, 4.0]], kind)
    parquet.write_table(pa.table({"embeddings": column}), tmp_path / "t.parquet")
    first, second, third = (row.values["embeddings"] for row in RowFile(tmp_path / "t.parquet"))
    assert isinstance(first, np.ndarray)
    assert first.tolist() == [1.0, 2.0]
    assert second is None
    assert math.isnan(third[0])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON"),
        ("not json", "is not JSON"),
        ('["a"]', "is not an object"),
        ('"a"', "is not an object"),
        ("{}", "has no 'prompt', only nothing"),
        ('{"prompt": 5}', "'prompt' is not text; write the prompt as a string"),
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
    advice = "Name the prompts 'prompt', or conversations 'messages'."
    assert refusal(path).endswith(f"has no 'prompt', only 'zzz'. {advice}")
    path.write_text('{"promt": "a"}\n')
    assert refusal(path).endswith(f"is 'promt' meant to be it? {advice}")


def test_a_bad_line_does_not_repeat_the_prompt(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    for line in ('{"prompt": "a secret"', '"a secret"', '{"id": 1, "text": "a secret"}'):
        path.write_text(line)
        assert "a secret" not in refusal(path)


def test_a_csv_without_a_header_does_not_repeat_its_first_prompt(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("a secret question that nobody else should read\nanother\n")
    message = refusal(path)
    assert message.endswith("p.csv:1: has no 'prompt', only …. Name the prompts 'prompt', or conversations 'messages'.")


def test_a_csv_without_prompts_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,Prompt\n1,a\n")
    assert "has no 'prompt', only 'id', 'Prompt'; is 'Prompt' meant to be it?" in refusal(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("prompt,n\na,1,2\n", ":2: has more fields than the 2 of the header; put fields that hold commas in quotes"),
        ("prompt,n,n\na,1,2\n", ":1: has two columns 'n'; take one out"),
        ('prompt,n\n"a,1\n', ":2: is not CSV: unexpected end of data"),
        ('prompt\n"a"b\n', ":2: is not CSV: "),
    ],
)
def test_a_broken_csv_is_told_by_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "p.csv").write_text(content)
    assert says in refusal(tmp_path / "p.csv")


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
    assert f"{tmp_path / 'p.parquet'}:1: 'prompt' is not text" in refusal(tmp_path / "p.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet" * 100])
def test_what_is_no_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.parquet").write_bytes(content)
    assert "cannot be read as Parquet" in refusal(tmp_path / "p.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "p.parquet").write_bytes(b"PAR1")
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
