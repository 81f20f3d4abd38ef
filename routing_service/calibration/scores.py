"""Existing scores: the output of `score`, or a log of decisions."""

from __future__ import annotations

from routing_service.rows.prompts import PROMPT_COLUMNS
from routing_service.rows.reader import Row

SCORE_KEY = "strong_win_rate"
# The columns that are read from a table that may have scores.
COLUMNS = (*PROMPT_COLUMNS, SCORE_KEY)


def score_of(row: Row) -> float:
    """A row's score.

    Raises:
        UsageError: it is not a number from 0 to 1.
    """
    value = row.values.get(SCORE_KEY)
    try:
        score = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        score = None
    if score is None or not 0.0 <= score <= 1.0:  # NaN fails every comparison
        raise row.error(f"{SCORE_KEY!r} is not a number from 0 to 1; take the row out (a fallback has no score)")
    return score
