"""Precisions of exported weights: float32, float16, and dynamic int8 with a scale a column of a weight.

int8 weights are symmetric (zero point 0), activations unsigned around 128 with a scale a row, computed as they come.
ONNX Runtime runs that on VNNI and AMX instructions, and a prompt gets the same score in any batch.
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import argparse
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

Precision = Literal["fp32", "fp16", "int8"]
QUANTIZED: tuple[str, ...] = ("int8", "fp16")
_MAX_INT8 = 127
_MAX_FLOAT16 = float(np.finfo(np.float16).max)


def add_quantize_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--quantize` to an exporter's options."""
    parser.add_argument(
        "--quantize",
        choices=QUANTIZED,
        help="int8: a quarter of the size and much faster on a CPU; fp16: half the size, for GPUs (default: float32)",
    )


def precision_of(quantize: str | None) -> Precision:
    """The precision that `--quantize` asks for; float32 when it is not given."""
    return cast("Precision", quantize or "fp32")


def quantize_columns(weight: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantize a weight of shape (K, N) column by column.

    Returns:
        int8 of shape (K, N) in -127..127, and float32 scales of shape (N,) with `weight ≈ int8 * scales`.
    """
    scales = np.maximum(np.abs(weight).max(axis=0) / _MAX_INT8, np.finfo(np.float32).tiny).astype(np.float32)
    quantized = np.clip(np.rint(weight / scales), -_MAX_INT8, _MAX_INT8).astype(np.int8)
    return quantized, scales


def quantize_rows(table: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantize a table of shape (N, K) row by row: int8 of the same shape, and scales of shape (N, 1)."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / _MAX_INT8, np.finfo(np.float32).tiny)
    quantized = np.clip(np.rint(table / scales), -_MAX_INT8, _MAX_INT8).astype(np.int8)
    return quantized, scales.astype(np.float32)


def fits_float16(weight: npt.NDArray[Any]) -> bool:
    """Whether no value of a weight would become infinite as float16."""
    return bool(np.abs(weight).max(initial=0.0) <= _MAX_FLOAT16)
