"""The proof that ends every export: the source model and the artifact give the same win rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_service.errors import UsageError

# The largest differences in strong win rate that an export may show. fp32 differs only by the order of sums; fp16 keeps
# eleven bits of a weight; dynamic int8 rounds weights to eight and activations too, so its mean counts as well.
TOLERANCES: dict[str, tuple[float, float]] = {"fp32": (1e-4, 1e-4), "fp16": (2e-2, 5e-3), "int8": (1e-1, 2e-2)}

# Prompts for the proof, written for it: short and long, prose, mathematics, code, several scripts, and odd characters.
PROMPTS: tuple[str, ...] = (
    "Hi!",
    "What is the capital of France?",
    "Write a haiku about the sea in autumn.",
    "Prove that the sum of two odd integers is even.",
    "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n\nWhy is this slow? Speed it up.",
    "Solve for x: 3x^2 - 12x + 9 = 0. Show each step.",
    "Explain to a ten-year-old why the sky is blue, then to a physicist.",
    "翻译成英文：今天的天气很好，我们去公园散步吧。",  # noqa: RUF001 - Chinese has its own punctuation
    "¿Cuál es la diferencia entre «ser» y «estar»? Dé ejemplos.",
    "Опишите вкратце причины Первой мировой войны.",
    "Compare B-trees and LSM trees for a write-heavy workload. " * 6,
    "🙂🙃 naïve café ﬁnance ½ cup \t\n  tabs and   spaces",
)


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the artifact's win rates are from the source model's, over `prompts` prompts."""

    precision: str
    prompts: int
    max_difference: float
    mean_difference: float

    def as_dict(self) -> dict[str, Any]:
        """For the manifest's `provenance`."""
        return asdict(self)


def prove(source: npt.ArrayLike, exported: npt.ArrayLike, precision: str) -> Parity:
    """Compare win rates, both of shape (prompts,), against the tolerance of `precision` (a key of `TOLERANCES`).

    Raises:
        UsageError: they differ too much, or are no probabilities; no artifact must be written.
    """
    wanted, got = np.asarray(source, np.float64), np.asarray(exported, np.float64)
    if wanted.shape != got.shape or wanted.size == 0:
        raise UsageError(f"the parity proof compared {got.shape} with {wanted.shape} win rates; the export is broken")
    for name, rates in (("source model", wanted), ("exported graph", got)):
        if not np.all((rates >= 0) & (rates <= 1)):
            raise UsageError(f"the {name} gives win rates that are not probabilities; is this the right checkpoint?")
    difference = np.abs(wanted - got)
    parity = Parity(precision, wanted.size, float(difference.max()), float(difference.mean()))
    most, mean = TOLERANCES[precision]
    if parity.max_difference > most or parity.mean_difference > mean:
        raise UsageError(
            f"the {precision} export differs from the source model by {parity.max_difference:.2g} at most and "
            f"{parity.mean_difference:.2g} on average (allowed: {most:g} and {mean:g}); nothing was written"
        )
    return parity


def proof_prompts(extra: Sequence[str] = ()) -> tuple[str, ...]:
    """The prompts of the proof, with more of the caller's own."""
    return (*PROMPTS, *extra)
