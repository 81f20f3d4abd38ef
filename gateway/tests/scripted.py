"""An upstream that says exactly what a test wants it to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

LIMIT_S = 30.0


@dataclass
class ScriptedUpstream:
    """A TCP server that records each request and lets a script answer it, byte by byte if need be."""

    base_url: str = ""
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Heads and bodies."""
    script: Callable[[socket.socket], None] = lambda connection: connection.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )

    @property
    def head(self) -> str:
        """The newest request's line and headers."""
        return self.requests[-1][0].decode("latin-1")

    def header(self, name: str) -> str | None:
        """A header of the newest request."""
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name:
                return value
        return None

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(LIMIT_S)
        with connection, suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                received += _some(connection)
            head, _, body = received.partition(b"\r\n\r\n")
            lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")] or [
                b"0"
            ]
            while len(body) < int(lengths[0]):
                body += _some(connection)
            self.requests.append((head, body))
            self.script(connection)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise OSError("closed")
    return data
