"""`chat` as a process, with all that it has started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

__all__ = ["Chat", "eventually", "is_running", "start"]


def is_running(pid: int) -> bool:
    """Whether a process is there and is no zombie that waits for its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@dataclass
class Chat:
    """A running `chat`."""

    process: subprocess.Popen[str]
    url: str
    children: list[int]

    def open(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer to a GET, or to a POST with a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})  # noqa: S310 - ours
        return urllib.request.urlopen(request, timeout=30)  # noqa: S310 - ours

    def told(self) -> Any:
        with self.open("/api/routers") as answer:
            return json.load(answer)

    def ended(self) -> tuple[int, str, str]:
        """The exit code, standard output and standard error; nothing that it started is left."""
        out, err = self.process.communicate(timeout=60)
        eventually(lambda: not any(is_running(pid) for pid in self.children))
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Chat]]:
    if not Path("/proc/self/task").exists():
        pytest.skip("not here: a process's children are read from /proc, which only Linux has")
    started: list[Chat] = []
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: Any, env: dict[str, str] | None = None) -> Chat:
        ready = tmp_path / "chat-ready"
        command = [sys.executable, "-m", "routing_service", "chat", "--port", "0", "--ready-file", ready]
        process = subprocess.Popen(
            [str(word) for word in [*command, *arguments]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "BROWSER": "false", **(env or {})},
        )
        processes.append(process)
        eventually(lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        started.append(Chat(process, f"http://{ready.read_text().strip()}", [int(pid) for pid in children]))
        return started[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    eventually(lambda: not any(is_running(pid) for each in started for pid in each.children))
