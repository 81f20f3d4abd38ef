"""A folder in which the commands of a document run as in a checkout: tiny data, servers on free ports, no network."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import Block, Command
from tests.support.waiting import PATIENCE_SECONDS, address_in

COMMAND_SECONDS = 100
BASH = shutil.which("bash") or "bash"
SERVERS = re.compile(r"(routing-service (serve|chat)|routing-gateway|python -m routing_gateway\.echo)\b(?!.*--help)")
# What a document's reader has running at these ports runs at free ones here.
ELSEWHERE = "router:50051"
PORTS = ("50051", "6060", "6061", "8000")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Sandbox:
    """Runs commands, one after another; `close` stops the servers that they started.

    Args:
        folder: an empty one.
        embeddings: stands in for OpenAI's embeddings.
        upstream: an OpenAI-compatible server, in place of every hosted model.
    """

    def __init__(self, folder: Path, embeddings: str, upstream: str) -> None:
        self.folder = folder / "checkout"
        self._ports = {port: str(free_port()) for port in PORTS}
        self._embeddings, self._upstream = embeddings, upstream
        self._servers: list[tuple[Command, subprocess.Popen[bytes], Path]] = []
        service = f"127.0.0.1:{self._ports['50051']}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "site"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "ROUTING_SERVICE": service,
            "GATEWAY_URL": f"http://127.0.0.1:{self._ports['6060']}",
            "OPENAI_BASE_URL": upstream,
            "BROWSER": "true",
        }
        # What a command has when the document leaves it at its default. The document's own options come later and win.
        self._added = {
            "routing-service serve": f"--address {service}",
            "routing-service decide": f"--address {service}",
            "routing-service health": f"--address {service}",
            "routing-gateway": f"--service {service} --port {self._ports['6060']} --base-url {upstream}",
        }

    def save(self, block: Block) -> None:
        """Write the file that a block shows. Its embedder asks the stand-in."""
        if block.file is not None:
            text = block.text.replace("api_key_env:", f'base_url: "{self._embeddings}", api_key_env:')
            (self.folder / block.file).write_text(text, encoding="utf-8")

    def run(self, command: Command) -> str:
        """Run a command, or start it if it is a server. Gives what it printed.

        Raises:
            AssertionError: it failed.
        """
        if ELSEWHERE in command.text:
            self._start(command, self._adapted("routing-service serve"))
        text = self._adapted(command.text)
        if text.startswith("export "):
            for word in shlex.split(text, comments=True)[1:]:
                name, _, value = word.partition("=")
                self._environment[name] = value
            return ""
        if SERVERS.match(text):
            self._start(command, text)
            return ""
        done = subprocess.run(
            [BASH, "-o", "pipefail", "-c", text],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"line {command.line}: {text}\n{done.stdout}"
        return done.stdout

    def close(self) -> None:
        """Stop the servers, the newest first.

        Raises:
            AssertionError: one ended with an error.
        """
        complaints = []
        for command, process, log in reversed(self._servers):
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            if code not in (0, -signal.SIGTERM):
                complaints.append(f"line {command.line}: {command.text} ended with {code}\n{log.read_text()}")
        assert not complaints, "\n".join(complaints)

    def _adapted(self, text: str) -> str:
        """The command for this place: other ports and hosts, defaults named, and a log that ends."""
        text = text.replace(ELSEWHERE, "127.0.0.1:50051")
        text = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self._ports[found[1]], text)
        for start, added in self._added.items():
            text = re.sub(rf"(?<![\w./-]){re.escape(start)}(?=\s|$)", f"{start} {added}", text)
        return text.replace("tail -f", "cat")

    def _start(self, command: Command, text: str) -> None:
        number = len(self._servers)
        ready, log = self.folder / f".ready-{number}", self.folder / f".log-{number}"
        words = text.partition(" #")[0].strip().removesuffix("&").strip()
        with log.open("wb") as file:
            process = subprocess.Popen(
                [BASH, "-c", f"exec {words} --ready-file {ready}"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self._servers.append((command, process, log))
        address_in(ready, process, log)
