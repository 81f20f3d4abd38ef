"""What a router for one pair of models learns from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and how the strong model did on it.

    `target` is the strong model's win, 1, loss, 0, or tie, 0.5, or a share between them; `source` is where the row
    comes from, `group` the task within it, `weight` its relative weight in training, `where` its FILE:LINE.
    """

    prompt: str
    target: float
    source: str
    group: str
    weight: float
    where: str = ""
