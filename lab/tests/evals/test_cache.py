"""Win rates on disk: what is kept, what is not trusted, and what a full disk does."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from routing_lab.evals.cache import CacheKey, WinRateCache, default_cache_folder

from tests.support.disks import FullDisk

KEY = CacheKey({"type": "static", "revision": "r1", "prompts": "abc"})
RATES = np.array([0.25, np.nan, 1.0])


@pytest.fixture
def cache(tmp_path: Path) -> WinRateCache:
    return WinRateCache(tmp_path / "cache")


def test_what_is_saved_is_loaded_the_unscored_with_it(cache: WinRateCache) -> None:
    assert cache.load(KEY, 3) is None
    assert cache.save(KEY, RATES)
    np.testing.assert_array_equal(cache.load(KEY, 3), RATES)
    assert [path.name for path in cache.path(KEY).parent.iterdir()] == [KEY.file_name]


def test_every_fact_counts_and_their_order_does_not(cache: WinRateCache) -> None:
    others: list[dict[str, Any]] = [{"type": "mf"}, {"revision": "r2"}, {"prompts": "abd"}, {"embedder": None}]
    names = {CacheKey({**KEY.facts, **change}).file_name for change in others}
    assert len({KEY.file_name, *names}) == 5
    assert CacheKey(dict(reversed(list(KEY.facts.items())))).file_name == KEY.file_name


def archive(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


GOOD = archive(win_rates=RATES, key=np.array(KEY.text))


def claiming(count: int) -> bytes:
    """An archive whose array's header says that there are `count` numbers."""
    header, content = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (count,)})
    with zipfile.ZipFile(content, "w") as archived:
        archived.writestr("win_rates.npy", header.getvalue())
    return content.getvalue()


class Trap:
    """Raises when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("it was unpickled",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        GOOD[: len(GOOD) // 2],
        GOOD.replace(RATES.tobytes(), np.array([0.25, np.nan, 0.5]).tobytes()),  # a bit has changed: the CRC says so
        archive(win_rates=RATES),
        archive(win_rates=RATES, key=np.array("another")),
        archive(win_rates=RATES[:2], key=np.array(KEY.text)),
        archive(win_rates=RATES.astype(np.float32), key=np.array(KEY.text)),
        archive(win_rates=np.array([0.2, 1.5, 0.1]), key=np.array(KEY.text)),
        archive(win_rates=np.array([0.2, -np.inf, 0.1]), key=np.array(KEY.text)),
        archive(win_rates=np.array(["a", "b", "c"]), key=np.array(KEY.text)),
        archive(win_rates=np.array([Trap()] * 3, dtype=object), key=np.array(KEY.text)),
        pickle.dumps(Trap()),
        claiming(10**15),
    ],
)
def test_what_is_damaged_is_warned_of_and_not_used(cache: WinRateCache, content: bytes) -> None:
    cache.save(KEY, RATES)
    cache.path(KEY).write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        assert cache.load(KEY, 3) is None
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [("warning", "win_rate_cache_unusable")]
    assert cache.save(KEY, RATES)
    assert cache.load(KEY, 3) is not None


def test_a_full_disk_is_warned_of_and_leaves_the_old_file(cache: WinRateCache, full_disk: FullDisk) -> None:
    cache.save(KEY, RATES)
    with full_disk(), structlog.testing.capture_logs() as logs:
        assert not cache.save(KEY, np.zeros(3))
    assert logs[0]["event"] == "win_rate_cache_not_written"
    assert "No space left on device" in logs[0]["problem"]
    np.testing.assert_array_equal(cache.load(KEY, 3), RATES)
    assert len(list(cache.path(KEY).parent.iterdir())) == 1


def test_its_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "routing-service/evaluate"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_folder() == tmp_path / "home/.cache/routing-service/evaluate"
