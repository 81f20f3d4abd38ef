"""A peer that answers every HTTP/2 connection with GOAWAY, and a debug text that looks like lines of a log."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

FORGED = '{"event": "forged", "level": "info"}'
_DEBUG_TEXT = f"bye\n{FORGED}\n".encode()
_SETTINGS, _GOAWAY, _ACK = 4, 7, 1
_INTERNAL_ERROR = 2


def _frame(kind: int, flags: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + bytes(4) + payload


def _answer(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        connection.sendall(_frame(_SETTINGS, 0))
        connection.recv(65536)
        goaway = _frame(_GOAWAY, 0, struct.pack(">II", 0, _INTERNAL_ERROR) + _DEBUG_TEXT)
        connection.sendall(_frame(_SETTINGS, _ACK) + goaway)
        while connection.recv(65536):  # until the caller has read it and leaves
            pass


@contextmanager
def goaway_peer() -> Iterator[str]:
    """Its address, while the context lasts."""
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=_answer, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for each in (listener, *connections):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join()
