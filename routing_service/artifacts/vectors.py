"""Stored vectors: the inputs or the answers of a self-test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from routing_service.errors import ArtifactError


def read_vectors(path: Path, rows: int, dimension: int) -> npt.NDArray[np.float32]:
    """Read float32 of shape (rows, dimension) from a NumPy array file. Nothing is unpickled.

    Raises:
        ArtifactError: it is not such a file.
    """
    try:
        vectors: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(path, f"is not a NumPy array file: {error}") from error
    if vectors.dtype != np.float32 or vectors.shape != (rows, dimension) or not rows:
        problem = f"holds {vectors.dtype} of shape {vectors.shape}, not float32 of shape ({rows}, {dimension})"
        raise ArtifactError(path, f"{problem}, at least one row; export the artifact again")
    return vectors
