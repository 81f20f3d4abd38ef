"""HTTP clients that trust nobody: each would read every authority that there is, which costs more than most tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def no_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """While a module's tests run, HTTP clients find their authorities in an empty folder."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("no-authorities")
        patch.delenv("SSL_CERT_FILE", raising=False)
        patch.setenv("SSL_CERT_DIR", str(folder))
        yield folder
