"""The vectors by which the shipped router knows what a text is about, for whoever wants to compare texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from routing_lab.training.static.features import Float32


def shipped_vectors() -> Callable[[Sequence[str]], Float32]:
    """What gives texts their vectors, (texts, components): weighted means of the shipped table's rows.

    Raises:
        UsageError: the shipped artifact has no such table.
    """
    from routing_lab.training.static.table import read_table
    from routing_lab.training.static.train import Reader
    from routing_service.artifacts.loading import DEFAULT_ARTIFACT

    table, _ = read_table(DEFAULT_ARTIFACT)
    reader = Reader(table)
    return lambda texts: reader(texts)[:, : table.components]
