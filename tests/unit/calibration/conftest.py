"""Distributions out of lists."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from routing_service.calibration.distribution import ScoreDistribution


@pytest.fixture(scope="session")
def distribution() -> Callable[..., ScoreDistribution]:
    """`distribution(scores, max_distinct)`: scores that were added at once."""

    def make(scores: list[float], max_distinct: int = 2**16 + 1) -> ScoreDistribution:
        made = ScoreDistribution(max_distinct)
        made.add(scores)
        return made

    return make
