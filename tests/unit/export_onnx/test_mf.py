"""`export-onnx mf`: what it accepts, what it refuses, and that its win rates are the checkpoint's."""

from __future__ import annotations

import argparse
import json
import math
import pickle
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("safetensors", reason="the extra `export` is not installed")

from safetensors.numpy import load_file, save_file

from export_onnx import mf
from export_onnx.checkpoint import open_checkpoint
from export_onnx.mf_checkpoint import ROUTELLM_MODEL_IDS, read_weights
from routing_service.artifacts.loading import open_artifact
from routing_service.errors import UsageError
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.routers.mf import MatrixFactorizationRouter
from tests.support.mf import IDS, export, export_tiny, write_checkpoint

PAIR = {"strong_model": "big", "weak_model": "small"}


def served(folder: Path) -> MatrixFactorizationRouter:
    return MatrixFactorizationRouter(open_artifact(folder, "mf"), mf._NoEmbedder(dimension=None))


def by_hand(checkpoint: Path, vector: np.ndarray[Any, Any], strong: str, weak: str) -> float:
    """The formula of RouteLLM's `MFModel`, number by number."""
    tensors = {
        name: value.astype(np.float64) for name, value in load_file(str(checkpoint / "model.safetensors")).items()
    }
    projection = tensors.get("text_proj.0.weight")
    text = vector.astype(np.float64) if projection is None else projection @ vector.astype(np.float64)
    logits = []
    for name in (strong, weak):
        model = tensors["P.weight"][IDS.index(name)]
        model = model / math.sqrt(sum(x * x for x in model))
        logits.append(sum(m * t * c for m, t, c in zip(model, text, tensors["classifier.0.weight"][0], strict=True)))
    return 1 / (1 + math.exp(logits[1] - logits[0]))


@pytest.mark.parametrize(("quantize", "tolerance"), [(None, 1e-6), ("fp16", 5e-3), ("int8", 5e-2)])
@pytest.mark.parametrize("projected", [True, False])
def test_every_pair_gives_the_formula_s_win_rate(
    tmp_path: Path, quantize: str | None, tolerance: float, projected: bool
) -> None:
    config: dict[str, Any] = {} if projected else {"use_proj": False, "text_dim": 6}
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **config)
    report = export(checkpoint, tmp_path / "artifact", quantize=quantize, **PAIR)
    assert (quantize or "fp32") in report
    assert "parity over" in report
    router = served(tmp_path / "artifact")
    vectors = np.random.default_rng(1).standard_normal((5, 8 if projected else 6)).astype(np.float32)
    for pair in (ModelPair(*ids) for ids in permutations(IDS, 2)):
        wanted = [by_hand(checkpoint, vector, *pair) for vector in vectors]
        assert router.win_rates(vectors, pair) == pytest.approx(wanted, abs=tolerance)


def test_the_manifest_says_where_it_comes_from(tmp_path: Path) -> None:
    folder = export_tiny(tmp_path / "artifact", embedding_model="some-embedder")
    manifest = open_artifact(folder, "mf").manifest
    assert manifest.models == ModelPair("big", "small")
    assert manifest.options == {"model_ids": list(IDS), "dimension": 8, "embedding_model": "some-embedder"}
    assert manifest.provenance["checkpoint"] == "artifact-checkpoint"
    assert manifest.provenance["precision"] == "fp32"
    assert manifest.provenance["parity"]["max_difference"] < 1e-5
    assert set(manifest.provenance["checkpoint_sha256"]) == {"config.json", "model.safetensors"}
    assert manifest.calibration is None
    assert str(tmp_path) not in (folder / "manifest.json").read_text()


def test_the_same_checkpoint_gives_the_same_artifact(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    for name in ("one", "two"):
        export(checkpoint, tmp_path / name, **PAIR)
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()
    }


def test_embeddings_of_one_s_own_give_a_calibration_table(tmp_path: Path) -> None:
    sample = np.random.default_rng(3).standard_normal((500, 8)).astype(np.float32)
    np.save(tmp_path / "sample.npy", sample)
    folder = export_tiny(tmp_path / "artifact", embeddings=tmp_path / "sample.npy")
    table = open_artifact(folder, "mf").manifest.calibration
    assert table is not None
    rates = served(folder).win_rates(sample, ModelPair("big", "small"))
    assert table.sample_size == 500
    assert table.quantiles[50] == pytest.approx(np.median(rates), abs=1e-4)


def test_routellm_s_64_names_are_the_default(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", ids=None, num_models=64)
    export(checkpoint, tmp_path / "artifact")
    manifest = open_artifact(tmp_path / "artifact", "mf").manifest
    assert tuple(manifest.options["model_ids"]) == ROUTELLM_MODEL_IDS
    assert manifest.models == ROUTELLM_PAIR
    assert manifest.options["embedding_model"] == "text-embedding-3-small"


def test_names_can_come_from_a_file(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", ids=None)
    (tmp_path / "ids.json").write_text(json.dumps(["a", "b", "c", "d"]))
    export(checkpoint, tmp_path / "artifact", models=tmp_path / "ids.json", strong_model="d", weak_model="a")
    assert open_artifact(tmp_path / "artifact", "mf").manifest.options["model_ids"] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"strong_model": "bigg"}, "did you mean 'big'?"),
        ({"weak_model": "smal"}, "--weak-model: no model of this checkpoint is named 'smal'; did you mean 'small'?"),
        ({"weak_model": "big"}, "both 'big'"),
        ({"strong_model": None}, "'gpt-4-1106-preview'"),
    ],
)
def test_a_wrong_pair_is_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        export_tiny(tmp_path / "artifact", **options)
    assert says in str(caught.value)
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize("content", ["[", '["a", "b"]', '["a", "b", "c", "c"]', '{"a": 0}', '["a", "b", "c", 4]'])
def test_a_wrong_list_of_names_is_refused(tmp_path: Path, content: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "ids.json").write_text(content)
    with pytest.raises(UsageError, match=r"ids\.json"):
        export(checkpoint, tmp_path / "artifact", models=tmp_path / "ids.json", **PAIR)


def test_a_table_of_another_size_than_routellm_s_needs_names(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", ids=None)
    with pytest.raises(UsageError, match="--models"):
        export(checkpoint, tmp_path / "artifact", **PAIR)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"dim": None}, "'dim'"),
        ({"num_models": True}, "'num_models'"),
        ({"text_dim": "8"}, "'text_dim'"),
        ({"num_classes": 2}, "num_classes 2"),
        ({"use_proj": False}, "use_proj False"),
        ({"use_proj": "yes"}, "use_proj 'yes'"),
        ({"text_dim": 9}, "text_proj.0.weight [6, 8] instead of [6, 9]"),
        ({"num_models": 5}, "P.weight [4, 6] instead of [5, 6]"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, config: dict[str, Any], says: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    known = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**known, **config}))
    with pytest.raises(UsageError) as caught:
        export(checkpoint, tmp_path / "artifact", **PAIR)
    assert says in str(caught.value)


@pytest.mark.parametrize("change", ["missing", "extra", "nan"])
def test_wrong_tensors_are_refused(tmp_path: Path, change: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    tensors = load_file(str(checkpoint / "model.safetensors"))
    if change == "missing":
        del tensors["P.weight"]
    elif change == "extra":
        tensors["P.bias"] = np.zeros(4, np.float32)
    else:
        tensors["P.weight"][1, 2] = np.nan
    save_file(tensors, str(checkpoint / "model.safetensors"))
    with pytest.raises(UsageError, match=r"P\.bias" if change == "extra" else r"P\.weight"):
        export(checkpoint, tmp_path / "artifact", **PAIR)
    assert not (tmp_path / "artifact").exists()


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.safetensors"])
def test_a_pickle_is_refused_and_never_loaded(tmp_path: Path, name: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UsageError, match=name):
        export(checkpoint, tmp_path / "artifact", **PAIR)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 7), np.float32),
        np.zeros(8, np.float32),
        np.zeros((0, 8), np.float32),
        np.full((2, 8), np.nan, np.float32),
        np.zeros((2, 8), np.int64),
    ],
)
def test_a_wrong_sample_of_embeddings_is_refused(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    np.save(tmp_path / "sample.npy", array)
    with pytest.raises(UsageError, match="--embeddings"):
        export_tiny(tmp_path / "artifact", embeddings=tmp_path / "sample.npy")


def test_a_pickled_sample_of_embeddings_is_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "sample.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UsageError, match="--embeddings"):
        export_tiny(tmp_path / "artifact", embeddings=tmp_path / "sample.npy")


def test_an_export_that_deviates_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = mf.write_graph

    def wrong(path: Path, directions: Any, precision: Any) -> list[str]:
        return right(path, directions * np.float32(1.01), precision)

    monkeypatch.setattr(mf, "write_graph", wrong)
    with pytest.raises(UsageError, match="differs from the source model"):
        export_tiny(tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


def test_a_model_vector_of_zeros_scores_as_torch_normalises_it(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    tensors = load_file(str(checkpoint / "model.safetensors"))
    tensors["P.weight"][0] = 0.0
    save_file(tensors, str(checkpoint / "model.safetensors"))
    assert np.isfinite(read_weights(open_checkpoint(str(checkpoint))).models).all()


def test_the_command_s_options_are_those_that_run_reads() -> None:
    parser = argparse.ArgumentParser()
    mf.add_arguments(parser)
    options = vars(parser.parse_args(["--models", "m", "--embedding-model", "e", "--embeddings", "v"]))
    assert options == {"models": Path("m"), "embedding_model": "e", "embeddings": Path("v")}
