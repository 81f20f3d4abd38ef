from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing_service.artifacts.manifest import (
    MANIFEST_NAME,
    CalibrationTable,
    FileEntry,
    Manifest,
    SelfTest,
    SelfTestVector,
    file_entry,
    read_manifest,
)
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair

NAMES = st.text(min_size=1, max_size=12)
RATES = st.floats(0, 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
MANIFESTS = st.builds(
    Manifest,
    type=NAMES,
    models=st.none() | st.lists(NAMES, min_size=2, max_size=2, unique=True).map(lambda names: ModelPair(*names)),
    max_tokens=st.integers(0, 1 << 20),
    files=st.dictionaries(
        NAMES,
        st.builds(
            FileEntry, st.binary(max_size=4).map(lambda b: hashlib.sha256(b).hexdigest()), st.integers(0, 1 << 40)
        ),
        max_size=3,
    ),
    license=NAMES,
    self_test=st.builds(
        SelfTest, RATES, st.lists(st.builds(SelfTestVector, st.text(max_size=20), RATES), max_size=3).map(tuple)
    ),
    calibration=st.none()
    | st.builds(
        CalibrationTable, NAMES, st.integers(0, 1 << 53), st.lists(RATES, min_size=2, max_size=9).map(sorted).map(tuple)
    ),
    provenance=st.dictionaries(st.text(max_size=4), JSON, max_size=3),
    metrics=st.dictionaries(st.text(max_size=4), JSON, max_size=3),
)
EXAMPLE = Manifest(
    "static",
    ModelPair("big", "small"),
    512,
    {"model.onnx": FileEntry("ab" * 32, 12)},
    "Apache-2.0",
    SelfTest(1e-4, (SelfTestVector("Prove it: é", 0.75),)),
    CalibrationTable("a sample", 3, (0.1, 0.5, 0.9)),
    {"data": ["a", 1]},
)


def write(folder: Path, text: str) -> Path:
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return folder


def refusal(folder: Path) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        read_manifest(folder)
    assert caught.value.path == folder / MANIFEST_NAME
    assert str(folder / MANIFEST_NAME) in str(caught.value)
    return caught.value


def signed(folder: Path, change: dict[str, Any]) -> Path:
    """A manifest with other content and the revision that goes with it, as a careless tool might write it."""
    content = json.loads(EXAMPLE.to_json())
    del content["revision"]
    content.update(change)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["revision"] = hashlib.sha256(canonical.encode()).hexdigest()[:16]
    return write(folder, json.dumps(content))


@given(MANIFESTS)
@settings(max_examples=60)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest) -> None:
    text = manifest.to_json()
    again = read_manifest(write(tmp_path_factory.getbasetemp(), text))
    assert again == manifest
    assert again.revision == manifest.revision == json.loads(text)["revision"]
    assert again.to_json() == text


def test_whole_numbers_among_the_quantiles_are_read_back(tmp_path: Path) -> None:
    manifest = replace(EXAMPLE, calibration=CalibrationTable("a sample", 2, (0, 0.5, 1)))
    assert read_manifest(write(tmp_path, manifest.to_json())).calibration == manifest.calibration


def test_a_type_without_models_says_so_with_empty_names(tmp_path: Path) -> None:
    text = replace(EXAMPLE, models=None).to_json()
    assert json.loads(text)["models"] == {"strong": "", "weak": ""}
    assert read_manifest(write(tmp_path, text)).models is None


def test_the_text_is_for_people() -> None:
    text = EXAMPLE.to_json()
    assert text.startswith('{\n  "revision": "')
    assert text.endswith("}\n")
    assert "é" in text


def test_the_revision_is_sixteen_hexadecimal_digits_and_changes_with_the_content() -> None:
    others = [
        replace(EXAMPLE, license="MIT"),
        replace(EXAMPLE, metrics={"apgr": 0.6}),
        replace(EXAMPLE, files={"model.onnx": FileEntry("ac" * 32, 12)}),
        replace(EXAMPLE, self_test=SelfTest(1e-4, (SelfTestVector("Prove it: e", 0.75),))),
        replace(EXAMPLE, calibration=None),
    ]
    revisions = {manifest.revision for manifest in [EXAMPLE, *others]}
    assert len(revisions) == len(others) + 1
    assert all(re.fullmatch("[0-9a-f]{16}", revision) for revision in revisions)


def test_any_changed_byte_of_the_content_is_noticed(tmp_path: Path) -> None:
    raw = EXAMPLE.to_json().encode()
    content = json.loads(raw)
    for position in range(len(raw)):
        edited = bytearray(raw)
        edited[position] ^= 1 << position % 8
        (tmp_path / MANIFEST_NAME).write_bytes(edited)
        try:
            if json.loads(edited.decode()) == content:
                continue  # white space, say: nothing that anyone reads has changed
        except ValueError:
            pass
        with pytest.raises(ArtifactError):
            read_manifest(tmp_path)


@pytest.mark.parametrize("position", range(0, 400, 7))
def test_a_lost_or_doubled_byte_is_noticed_or_changes_nothing(tmp_path: Path, position: int) -> None:
    raw = EXAMPLE.to_json().encode()
    for edited in (
        raw[:position] + raw[position + 1 :],
        raw[:position] + raw[position : position + 1] + raw[position:],
    ):
        (tmp_path / MANIFEST_NAME).write_bytes(edited)
        try:
            manifest = read_manifest(tmp_path)
        except ArtifactError:
            continue
        assert manifest == EXAMPLE


def test_an_edit_is_told_with_both_revisions(tmp_path: Path) -> None:
    edited = replace(EXAMPLE, max_tokens=256)
    error = refusal(write(tmp_path, EXAMPLE.to_json().replace(": 512,", ": 256,")))
    assert "was edited" in error.problem
    assert EXAMPLE.revision in error.problem
    assert edited.revision in error.problem


def test_a_missing_manifest_is_told(tmp_path: Path) -> None:
    assert "is missing" in refusal(tmp_path).problem


def test_a_missing_revision_is_an_edit(tmp_path: Path) -> None:
    content = json.loads(EXAMPLE.to_json())
    del content["revision"]
    assert "was edited" in refusal(write(tmp_path, json.dumps(content))).problem


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "5", '"x"', "{", "{}", '{"revision": 1}', "\ufeff{}", "[" * 100_000]
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    assert "is not a valid manifest" in refusal(write(tmp_path, text)).problem


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(b"\xff{}")
    assert "cannot be read" in refusal(tmp_path).problem


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"type": "a", "type": "b"}', "the key 'type' is there twice"),
        ('{"options": {"x": [{"a": 1, "b": 2, "a": 1}]}}', "the key 'a' is there twice"),
        ('{"options": NaN}', "NaN is no number of JSON"),
        ('{"options": -Infinity}', "-Infinity is no number of JSON"),
        ("[" * 65 + "]" * 65, "it is nested more than 64 deep"),
        ("[" * 100_000, "it is nested more than 64 deep"),
        ('{"a":' * 100_000, "it is nested more than 64 deep"),
        ("9" * 5000, "is not a valid manifest"),
    ],
)
def test_json_that_readers_take_differently_is_refused(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(write(tmp_path, text)).problem


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"max_tokens": 10**18}, "max_tokens must be from 0 to 1,048,576"),
        ({"max_tokens": -1}, "max_tokens must be from 0 to 1,048,576"),
        ({"self_test": {"tolerance": 1.5, "vectors": []}}, "self_test.tolerance must be from 0 to 1"),
        ({"self_test": {"tolerance": -1, "vectors": []}}, "self_test.tolerance must be from 0 to 1"),
        ({"calibration": {"source": "", "sample_size": 10**30, "quantiles": [0.1, 0.2]}}, "sample_size must be from 0"),
        ({"calibration": {"source": "", "sample_size": -1, "quantiles": [0.1, 0.2]}}, "sample_size must be from 0"),
        ({"calibration": {"source": "", "sample_size": 1, "quantiles": [0.5] * 100_002}}, "more than 100,001 scores"),
    ],
)
def test_absurd_numbers_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    assert says in refusal(signed(tmp_path, change)).problem


def test_a_folder_in_the_manifest_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).mkdir()
    assert "is a folder, not a file" in refusal(tmp_path).problem


@pytest.mark.parametrize("key", ["type", "models", "max_tokens", "files", "license", "self_test", "schema_version"])
def test_a_missing_field_is_told_by_its_name(tmp_path: Path, key: str) -> None:
    content = json.loads(EXAMPLE.to_json())
    del content[key]
    error = refusal(write(tmp_path, json.dumps(content)))
    assert key in error.problem
    assert "__init__" not in error.problem, "that is for programmers"


def test_an_unknown_field_is_told_by_its_name(tmp_path: Path) -> None:
    assert "unknown field 'maxtokens'" in refusal(signed(tmp_path, {"maxtokens": 5})).problem


def test_a_newer_schema_is_told(tmp_path: Path) -> None:
    assert "schema_version is 2, this release reads 1" in refusal(signed(tmp_path, {"schema_version": 2})).problem


NOT_FINITE = float("nan")


@pytest.mark.parametrize(
    "change",
    [
        {"models": {"strong": "a"}},
        {"models": {"strong": "a", "weak": "a"}},
        {"models": {"strong": "a", "weak": ""}},
        {"models": {"strong": "a", "weak": "b", "third": "c"}},
        {"models": ["strong", "weak"]},
        {"models": None},
        {"models": {"strong": 1, "weak": 2}},
        {"type": 5},
        {"max_tokens": -1},
        {"max_tokens": "512"},
        {"max_tokens": True},
        {"license": None},
        {"options": []},
        {"files": []},
        {"files": {"model.onnx": {"sha256": "ab"}}},
        {"files": {"model.onnx": None}},
        {"self_test": None},
        {"self_test": {"tolerance": "big", "vectors": []}},
        {"self_test": {"tolerance": NOT_FINITE, "vectors": []}},
        {"self_test": {"tolerance": 0.1, "vectors": [{"prompt": 5, "strong_win_rate": 0.5}]}},
        {"self_test": {"tolerance": 0.1, "vectors": [{"prompt": "x", "strong_win_rate": "high"}]}},
        {"self_test": {"tolerance": 0.1, "vectors": [{"prompt": "x"}]}},
        {"calibration": {"source": "s", "sample_size": 1, "quantiles": [0.5]}},
        {"calibration": {"source": "s", "sample_size": 1, "quantiles": [0.5, 0.4]}},
        {"calibration": {"source": "s", "sample_size": 1, "quantiles": [0.5, NOT_FINITE]}},
        {"calibration": {"source": "s", "sample_size": 1, "quantiles": [-1.0, 2.0]}},
        {"calibration": {"source": "s", "quantiles": [0.1, 0.2]}},
        {"calibration": {"source": "s", "sample_size": 1, "quantiles": "01"}},
        {"calibration": []},
        {"calibration": {"source": "s", "sample_size": "many", "quantiles": [0.1, 0.2]}},
        {"metrics": {"apgr": NOT_FINITE}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_field_of_another_kind_is_refused_though_the_revision_fits(tmp_path: Path, change: dict[str, Any]) -> None:
    assert "is not a valid manifest" in refusal(signed(tmp_path, change)).problem


def test_a_field_of_another_kind_is_told_by_its_place_and_not_by_its_value(tmp_path: Path) -> None:
    change = {"self_test": {"tolerance": 0.1, "vectors": [{"prompt": ["a secret"], "strong_win_rate": 0.5}]}}
    problem = refusal(signed(tmp_path, change)).problem
    assert "self_test.vectors[0].prompt must be str, not list" in problem
    assert "secret" not in problem


@pytest.mark.parametrize("quantiles", [(), (0.5,), (0.5, 0.4), (0.0, 1.5), (-0.1, 0.5), (0.5, NOT_FINITE)])
def test_a_table_that_is_none_cannot_be_made(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="at least two ascending numbers from 0 to 1"):
        CalibrationTable("a sample", 3, quantiles)


@given(st.binary(max_size=3000))
@settings(max_examples=30)
def test_a_file_s_entry_is_its_hash_and_size(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "file"
    path.write_bytes(content)
    assert file_entry(path) == FileEntry(hashlib.sha256(content).hexdigest(), len(content))


def test_a_file_larger_than_the_read_buffer_is_hashed_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * (2 * 4096 + 1)
    (tmp_path / "file").write_bytes(content)
    assert file_entry(tmp_path / "file") == FileEntry(hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "pytorch_model.bin"])
def test_a_checkpoint_in_place_of_an_artifact_is_told_how_to_become_one(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("{}")
    with pytest.raises(ArtifactError, match=r"looks like a checkpoint; run: export-onnx mf\|bert"):
        read_manifest(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(ArtifactError) as caught:
        read_manifest(tmp_path)
    assert "looks like a checkpoint" not in str(caught.value)
