from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from routing_service.artifacts.vectors import read_vectors
from routing_service.errors import ArtifactError


def npy(shape: tuple[int, ...], descr: str = "<f4", data: bytes = b"") -> bytes:
    """An array file whose header claims a shape."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    return header.getvalue() + data


def test_vectors_are_read(tmp_path: Path) -> None:
    (tmp_path / "v.npy").write_bytes(npy((2, 2), data=np.arange(4, dtype=np.float32).tobytes()))
    vectors = read_vectors(tmp_path / "v.npy", 2, 2)
    assert vectors.tolist() == [[0, 1], [2, 3]]
    assert type(vectors) is np.ndarray


@pytest.mark.parametrize("shape", [(10**12,), (10**7, 10**7), (10**10, 10**10, 10**10), (2, 3), (-1, 2)])
def test_a_header_that_claims_more_than_is_there_takes_no_memory(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "v.npy").write_bytes(npy(shape, data=bytes(16)))
    with pytest.raises(ArtifactError, match=r"v\.npy is not a NumPy array file"):
        read_vectors(tmp_path / "v.npy", *shape[:2]) if len(shape) > 1 else read_vectors(tmp_path / "v.npy", 10**12, 1)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", npy((1,), "|O", bytes(8))]
)
def test_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"v\.npy is not a NumPy array file"):
        read_vectors(tmp_path / "v.npy", 1, 1)
