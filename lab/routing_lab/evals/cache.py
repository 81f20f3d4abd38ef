"""Win rates on disk, so that a benchmark is scored once by each revision of a router.

A file is an `.npz` of plain arrays, read with pickle forbidden: the rates, NaN where a prompt has not been scored yet,
and the key that they belong to. Its name is the key's hash. Zip checks its contents' CRC, so a damaged file is noticed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from routing_lab.evals.metrics import Float64
from routing_service.errors import UsageError
from routing_service.files import write_files

log = structlog.get_logger(__name__)

FORMAT = 1


def default_cache_folder() -> Path:
    """`routing-service/evaluate` in the user's cache folder: `$XDG_CACHE_HOME`, or `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "routing-service" / "evaluate"


@dataclass(frozen=True, slots=True)
class CacheKey:
    """All that win rates depend on, as JSON: two different keys never share a file."""

    facts: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The facts as canonical JSON."""
        return json.dumps({"format": FORMAT, **self.facts}, sort_keys=True, ensure_ascii=True)

    @property
    def file_name(self) -> str:
        """The file's name: a hash of the facts."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32] + ".npz"


class WinRateCache:
    """Files of win rates in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: CacheKey) -> Path:
        """Where the rates of `key` are, if they are."""
        return self._folder / key.file_name

    def load(self, key: CacheKey, count: int) -> Float64 | None:
        """The `count` rates of `key`, NaN where a prompt has not been scored; None when there are none.

        A file that cannot be read or holds something else is warned of and passed over: its rates are computed again.
        """
        path = self.path(key)
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                rates, text = np.asarray(arrays["win_rates"]), str(arrays["key"])
        except FileNotFoundError:
            return None
        except (
            OSError,
            ValueError,
            LookupError,
            EOFError,
            MemoryError,  # a header may claim any size
            TypeError,
            RuntimeError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            # What numpy says of a damaged file may quote it; its kind is enough.
            return _unusable(path, type(error).__name__)
        known = rates[~np.isnan(rates)] if rates.dtype == np.float64 else rates[:0]
        if text != key.text or rates.dtype != np.float64 or rates.shape != (count,):
            return _unusable(path, "not what its name says")
        if not ((known >= 0) & (known <= 1)).all():
            return _unusable(path, "not probabilities")
        return rates

    def save(self, key: CacheKey, rates: Float64) -> bool:
        """Keep `rates` in place of those that are there. Says whether that worked: a result needs no cache."""
        content = io.BytesIO()
        np.savez(content, win_rates=rates, key=np.array(key.text))
        try:
            write_files(self._folder, {key.file_name: content.getvalue()})
        except UsageError as error:
            log.warning("win_rate_cache_not_written", problem=str(error), action="going on without")
            return False
        return True


def _unusable(path: Path, problem: str) -> Float64 | None:
    log.warning("win_rate_cache_unusable", path=str(path), problem=problem, action="scoring again")
    return None
