"""Tokenized rows in batches: prompts of like length together, in an order that only seed and epoch decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
# Batches are cut from pools of so many, each sorted by length: enough to pad little, few enough to stay random.
POOL_BATCHES = 32


@dataclass(frozen=True, slots=True)
class Rows:
    """What is trained or evaluated on.

    `ids` are the token ids of each prompt; `soft_labels`, (rows, classes), the probabilities that the model is to give;
    `weights`, (rows,), how much the row counts.
    """

    ids: Sequence[Sequence[int]]
    soft_labels: Float32
    weights: Float32

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        """The tokens of each row."""
        return [len(ids) for ids in self.ids]


def epoch_batches(lengths: Sequence[int], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Every row once, in batches of `size` (the last may be smaller) of like length, in random order."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths)).tolist()
    pool = size * POOL_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches += [rows[at : at + size] for at in range(0, len(rows), size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def micro_batches(rows: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Split rows into parts of at most `tokens` tokens each, padding included, or of a single row; longest first.

    What fits into memory is a matter of tokens; what is learnt from at once, of rows.
    """
    part: list[int] = []
    for row in sorted(rows, key=lambda row: -lengths[row]):
        if part and lengths[part[0]] * (len(part) + 1) > tokens:
            yield part
            part = []
        part.append(row)
    if part:
        yield part
