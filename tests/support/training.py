"""What tests of trainings share: words that are easy or hard, a bar that shows nothing, and a small mf request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from routing_lab.training.mf.request import MatrixFactorizationRequest

EASY, HARD = "hello weather colour greeting", "prove theorem integral polynomial"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PIECES = ["[PAD]", "[UNK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *EASY.split(), *HARD.split(), ".", "?"]

WritePreferences = Callable[..., Path]
WriteBattles = Callable[..., Path]

EPOCHS = 6
RECIPE = {"hidden": 8, "epochs": EPOCHS, "patience": EPOCHS, "batch_size": 32, "learning_rate": 0.02}


def request(data: Path, output: Path, embeddings: Path, **options: Any) -> MatrixFactorizationRequest:
    """A training of a second on battles of big, small and tiny."""
    plain: dict[str, Any] = {"strong_model": "big", "weak_model": "small", "validation_share": 0.2, **RECIPE}
    return MatrixFactorizationRequest(data=[data], output=output, embeddings=embeddings, **{**plain, **options})
