"""The table of a `static` router: one row of small integers for each word piece.

A row is made from a multilingual encoder's vector of that piece alone, weighted by how rare the piece is, and projected
on the directions in which prompts differ most and translations differ least. So sums over a text's rows are about the
same in every language.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_lab.training.static.features import piece_classes
from routing_service.artifacts.manifest import read_manifest
from routing_service.errors import UsageError
from routing_service.routers.static import PIECES_NAME
from routing_service.routers.static_pieces import WORD_START, StaticPieceEncoder, Vocabulary, read_vocabulary

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Pool = Callable[[Iterable[str]], Float64]

COMPONENTS = 64
MAX_PIECES = 512
SCALE = 127
# A piece of this probability has half the weight of a rare one (https://openreview.net/forum?id=SyK00v5xx).
HALF_WEIGHT = 3e-4
# What is said to be polite and where sentences end hardly counts: it must not change a decision.
LIGHT = 0.05
LIGHT_WORDS = frozenset(
    (
        *("please", "hi", "hello", "hey", "thanks", "thank", "kindly", "dear", "hola", "gracias"),
        *("can", "could", "would", "you", "help", "me", "question"),
    )
)
LIGHT_MARKS = frozenset(".?!,;:\u3002\uff1f\uff01\uff0c\u3001\u061f\u2026")
# Is added to the sum of weights that a sum of rows is divided by.
DAMPING = 0.25
PAIRS_A_LANGUAGE, FEWEST_PAIRS = 400, 200
# How much of the translations' mean variance every direction has at least, so that none looks free of noise.
NOISE_FLOOR = 2.0
# The share of a column's values that the integers reach to; the few beyond are cut.
REACH = 0.9995
MODEL_NAME = "model.onnx"


@dataclass(frozen=True, slots=True)
class StaticTable:
    """Rows of the table.

    `rows` is int8 (pieces, components + 1), the last column the weight from 0 to 127; `kinds` int32 (pieces,) says
    which row of `classes`, float32 of 0 and 1 (kinds, 1 + classes), a piece has; the first class is that of all pieces.
    """

    vocabulary: Vocabulary
    rows: npt.NDArray[np.int8]
    kinds: npt.NDArray[np.int32]
    classes: Float32

    @property
    def components(self) -> int:
        """How many columns are components."""
        return int(self.rows.shape[1]) - 1

    def sums(self, ids: Sequence[Sequence[int]]) -> Int64:
        """Sums over each prompt's pieces, (prompts, components + 1 + classes). One without pieces has one unknown."""
        sums = np.empty((len(ids), self.rows.shape[1] + self.classes.shape[1]), np.int64)
        for number, row in enumerate(ids):
            at = list(row) or [0]
            sums[number, : self.rows.shape[1]] = self.rows[at].sum(0, dtype=np.int64)
            sums[number, self.rows.shape[1] :] = self.classes[self.kinds[at]].sum(0)
        return sums

    def pieces_file(self) -> bytes:
        """The artifact's `pieces.json`."""
        scores = [round(score * 10) for score in self.vocabulary.scores]
        content = {"pieces": list(self.vocabulary.pieces), "scores": scores}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def read_table(folder: Path) -> tuple[StaticTable, dict[str, Any]]:
    """The table of a `static` artifact, and what its manifest says of the table's origin.

    Raises:
        UsageError: the folder holds none of the second edition.
    """
    import onnx

    if not (folder / PIECES_NAME).is_file() or not (folder / MODEL_NAME).is_file():
        raise UsageError(f"{folder} holds no table of word pieces ({PIECES_NAME} and {MODEL_NAME}).")
    model = onnx.load(folder / MODEL_NAME)
    found = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
    origin: dict[str, Any] = read_manifest(folder).provenance.get("table", {})
    table = StaticTable(
        read_vocabulary(folder / PIECES_NAME), found["piece_rows"], found["piece_kinds"], found["kind_classes"]
    )
    return table, origin


def piece_weights(vocabulary: Vocabulary) -> Float64:
    """How much each piece counts, from 0 to 1; 0 for what is unknown."""
    probabilities = np.exp(np.array(vocabulary.scores))
    weights: Float64 = HALF_WEIGHT / (HALF_WEIGHT + probabilities)
    for number, piece in enumerate(vocabulary.pieces):
        if piece in LIGHT_MARKS or piece.removeprefix(WORD_START) in LIGHT_WORDS:
            weights[number] *= LIGHT
    weights[0] = 0
    return weights


def build_table(
    vocabulary: Vocabulary,
    vectors: Float32,
    prompts: Sequence[str],
    catalogues: Mapping[str, Mapping[str, str]],
    seed: int,
) -> StaticTable:
    """Weigh, project and round the vectors.

    Args:
        vocabulary: the pieces.
        vectors: the encoder's vector of each piece, (pieces, dimensions); the first, of what is unknown, is not read.
        prompts: what the table is for; they say which directions matter.
        catalogues: translations from English, by language.
        seed: of the choice of translations.
    """
    weights = piece_weights(vocabulary)
    probabilities = np.exp(np.array(vocabulary.scores))[1:, None]
    centred = vectors.astype(np.float64)
    centred[1:] -= (probabilities * centred[1:]).sum(0) / probabilities.sum()
    weighted = (weights[:, None] * centred).astype(np.float32)
    weighted[0] = 0
    encoder = StaticPieceEncoder(vocabulary, MAX_PIECES)

    def pooled(texts: Iterable[str]) -> Float64:
        ids = [encoder.encode(text).ids for text in texts]
        return np.stack([weighted[i].sum(0, dtype=np.float64) / (weights[i].sum() + DAMPING) for i in ids])

    here = pooled(prompts)
    directions = _directions(np.cov(here.T), _translation_noise(catalogues, pooled, seed))
    projected = weighted @ (directions / (here @ directions).std(0)).astype(np.float32)
    reach = np.quantile(np.abs(projected[1:]), REACH, axis=0)
    rows = np.clip(np.rint(projected / reach * SCALE), -SCALE, SCALE)
    columns = [rows, np.rint(weights * SCALE)[:, None]]
    classes = piece_classes(vocabulary.pieces, vocabulary.scores)
    kinds, kind = np.unique(classes, axis=0, return_inverse=True)
    every = np.ones((len(kinds), 1), np.float32)
    return StaticTable(
        vocabulary,
        np.concatenate(columns, axis=1).astype(np.int8),
        kind.reshape(-1).astype(np.int32),
        np.concatenate([every, kinds.astype(np.float32)], axis=1),
    )


def _translation_noise(catalogues: Mapping[str, Mapping[str, str]], pooled: Pool, seed: int) -> Float64:
    """The mean over languages of the second moment of a text's difference from its translation."""
    moments = []
    by_language: dict[str, dict[str, str]] = {}
    for name, pairs in sorted(catalogues.items()):
        language = name if name.startswith("zh") else name.partition("_")[0]
        by_language.setdefault(language, {}).update(pairs)
    rng = np.random.default_rng(seed)
    for _, pairs in sorted(by_language.items()):
        if len(pairs) < FEWEST_PAIRS:
            continue
        chosen = sorted(pairs.items())
        chosen = [chosen[i] for i in rng.permutation(len(chosen))[:PAIRS_A_LANGUAGE]]
        differences = pooled(english for english, _ in chosen) - pooled(other for _, other in chosen)
        moments.append(differences.T @ differences / len(differences))
    return np.asarray(np.mean(moments, axis=0), np.float64)


def _directions(wanted: Float64, noise: Float64) -> Float64:
    """The generalised eigenvectors with the largest ratio of wanted to unwanted variance, (dimensions, components)."""
    floor = NOISE_FLOOR * np.trace(noise) / len(noise)
    lower = np.linalg.cholesky(noise + floor * np.eye(len(noise)))
    whitened = np.linalg.solve(lower, np.linalg.solve(lower, wanted).T)
    _, vectors = np.linalg.eigh((whitened + whitened.T) / 2)
    directions: Float64 = np.linalg.solve(lower.T, vectors[:, ::-1][:, :COMPONENTS])
    # The sign of an eigenvector is arbitrary; fix it so that runs agree.
    directions *= np.sign(directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])])
    return directions
