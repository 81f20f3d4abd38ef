"""The folder of an interrupted training: what is in it, what is not touched, and what is said when it does not fit."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from routing_lab.training.work import CHECKPOINT, Work

from routing_service.errors import UsageError

ASKED = {"seed": 0, "data": [{"sha256": "a"}], "models": ("big", "small")}


def test_what_is_saved_is_read_back_by_the_next_run(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.array([0.1], np.float32)}
    work = Work(tmp_path / "w", ASKED)
    assert work.load() is None
    work.save(arrays, {"epoch": 3, "losses": [0.1, 1 / 3]})
    work.save({"a": np.zeros(1)}, {}, "other.safetensors")
    loaded = Work(tmp_path / "w", ASKED).load()
    assert loaded is not None
    np.testing.assert_array_equal(loaded[0]["a"], arrays["a"])
    assert loaded[1] == {"epoch": 3, "losses": [0.1, 1 / 3]}
    work.discard()
    assert not (tmp_path / "w").exists()


def test_another_request_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    Work(tmp_path / "w", ASKED).save({"a": np.zeros(1)}, {})
    with pytest.raises(UsageError, match=r"\(seed, ties differ\).*--restart.*--work"):
        Work(tmp_path / "w", {**ASKED, "seed": 1, "ties": "drop"})
    fresh = Work(tmp_path / "w", {**ASKED, "seed": 1}, restart=True)
    assert fresh.load() is None


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    for restart in (False, True):
        with pytest.raises(UsageError, match="was not made by a training"):
            Work(tmp_path, ASKED, restart=restart)
    with pytest.raises(UsageError, match="was not made by a training"):
        Work(tmp_path / "note", ASKED)
    assert (tmp_path / "note").read_text() == "mine"


def test_a_file_of_someone_else_survives_the_end(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", ASKED)
    (tmp_path / "w" / "note").write_text("mine")
    work.discard()
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["note"]


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    work = Work(tmp_path / "w", ASKED)
    (tmp_path / "w" / CHECKPOINT).write_bytes(content)
    with pytest.raises(UsageError, match=r"checkpoint.safetensors is damaged.*--restart"):
        work.load()


def test_a_damaged_request_is_named(tmp_path: Path) -> None:
    Work(tmp_path / "w", ASKED)
    (tmp_path / "w" / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run.json cannot be read.*--restart"):
        Work(tmp_path / "w", ASKED)
    Work(tmp_path / "w", ASKED, restart=True)


def test_a_full_disk_keeps_what_was_saved_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(tmp_path / "w", ASKED)
    work.save({"a": np.zeros(1)}, {"epoch": 1})

    def full(_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"No space left on device.*goes on from what was saved before"):
        work.save({"a": np.ones(1)}, {"epoch": 2})
    loaded = work.load()
    assert loaded is not None
    assert loaded[1] == {"epoch": 1}
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == [CHECKPOINT, "lock", "run.json"]


def test_two_processes_are_not_at_one_work(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", ASKED)
    script = (
        "import sys; from pathlib import Path; from routing_service.errors import UsageError;"
        "from routing_lab.training.work import Work\n"
        f"try: Work(Path(sys.argv[1]), {ASKED!r}, restart=True)\n"
        "except UsageError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "w")]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "another training is at work there" in second.stderr
    assert (tmp_path / "w" / "run.json").is_file()
    work.discard()
    assert subprocess.run(command, check=False).returncode == 0


def test_what_a_killed_training_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    left = ".files.abcdefgh.unfinished"
    for killed in ("lock", f"{left}/run.json", f"{left}/.tmp123", ".scratch.abcdefgh.unfinished/mf/model.safetensors"):
        (tmp_path / "w" / killed).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "w" / killed).touch()
    work = Work(tmp_path / "w", ASKED)
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == ["lock", "run.json"]
    work.discard()
    assert not (tmp_path / "w").exists()
