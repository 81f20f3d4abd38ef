"""Stored vectors: the inputs or the answers of a self-test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_service.errors import ArtifactError

# The longest vectors of embedding models have some thousand numbers.
MAX_DIMENSION = 65_536


def read_vectors(path: Path, rows: int, dimension: int) -> npt.NDArray[np.float32]:
    """Read float32 of shape (rows, dimension) from a NumPy array file. Nothing is unpickled.

    Raises:
        ArtifactError: it is not such a file.
    """
    vectors = read_array(path)
    if vectors.dtype != np.float32 or vectors.shape != (rows, dimension) or not rows:
        problem = f"holds {vectors.dtype} of shape {vectors.shape}, not float32 of shape ({rows}, {dimension})"
        raise ArtifactError(path, f"{problem}, at least one row; export the artifact again")
    return vectors


def read_array(path: Path) -> npt.NDArray[Any]:
    """Read a NumPy array file. Nothing is unpickled, and no memory is taken for more numbers than are there.

    Raises:
        ArtifactError: it is not such a file.
    """
    try:
        # Mapped first: a header may claim any shape.
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except Exception as error:
        raise ArtifactError(path, f"is not a NumPy array file: {error}; restore the artifact") from error
