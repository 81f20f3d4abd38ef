"""Batches: every row once, like lengths together, the same for the same seed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from routing_lab.training.finetune.batches import epoch_batches, micro_batches

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=200)


@given(lengths, st.integers(1, 40), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_has_every_row_once(values: list[int], size: int, seed: int, epoch: int) -> None:
    batches = epoch_batches(values, size, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(values)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(values) // size)
    assert batches == epoch_batches(values, size, seed, epoch)


@given(lengths, st.integers(1, 1000))
def test_parts_hold_every_row_once_within_the_tokens(values: list[int], tokens: int) -> None:
    parts = list(micro_batches(range(len(values)), values, tokens))
    assert sorted(row for part in parts for row in part) == list(range(len(values)))
    for part in parts:
        assert len(part) == 1 or len(part) * max(values[row] for row in part) <= tokens


def test_epochs_and_seeds_differ_and_little_is_padded() -> None:
    values = np.random.default_rng(0).integers(1, 200, 2000).tolist()
    first, second, other = (epoch_batches(values, 16, *place) for place in ((0, 0), (0, 1), (1, 0)))
    assert first != second
    assert first != other
    padded = sum(len(batch) * max(values[row] for row in batch) for batch in first)
    assert padded < 1.1 * sum(values)
    # Short and long batches come in no order.
    means = [np.mean([values[row] for row in batch]) for batch in first]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3
