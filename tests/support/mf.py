"""Small matrix factorization checkpoints, as RouteLLM's `MFModel.save_pretrained` writes them, and their export."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from export_onnx import mf

IDS = ("big", "middle", "small", "tiny")


def write_checkpoint(folder: Path, *, ids: tuple[str, ...] | None = IDS, seed: int = 5, **config: Any) -> Path:
    """Chance weights for 4 models of 6 numbers and embeddings of 8; `config` replaces keys of config.json."""
    folder.mkdir(parents=True)
    sizes: dict[str, Any] = {"dim": 6, "num_classes": 1, "num_models": 4, "text_dim": 8, "use_proj": True, **config}
    rng = np.random.default_rng(seed)
    tensors = {
        "P.weight": rng.standard_normal((sizes["num_models"], sizes["dim"])),
        "classifier.0.weight": rng.standard_normal((sizes["num_classes"], sizes["dim"])),
    }
    if sizes["use_proj"]:
        tensors["text_proj.0.weight"] = rng.standard_normal((sizes["dim"], sizes["text_dim"]))
    save_file({name: value.astype(np.float32) for name, value in tensors.items()}, str(folder / "model.safetensors"))
    if ids is not None:
        sizes["model_ids"] = list(ids)
    (folder / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    return folder


def export(checkpoint: Path, output: Path, **options: Any) -> str:
    """What `export-onnx mf` does, with options by their names in Python."""
    given: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "output": output,
        "strong_model": None,
        "weak_model": None,
        "quantize": None,
        "models": None,
        "embedding_model": None,
        "embeddings": None,
    }
    return mf.run(argparse.Namespace(**{**given, **options}))


def export_tiny(output: Path, **options: Any) -> Path:
    """An artifact of a tiny checkpoint, `big` against `small`; gives its folder."""
    checkpoint = write_checkpoint(output.with_name(output.name + "-checkpoint"))
    export(checkpoint, output, **{"strong_model": "big", "weak_model": "small", **options})
    return output
