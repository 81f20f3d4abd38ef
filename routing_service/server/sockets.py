"""The file of a `unix:PATH` socket: whether a server may listen there."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from routing_service.errors import ServerError

_ANSWERS_SECONDS = 1.0


def check_socket_free(path: Path) -> None:
    """Check that a socket can be bound, because gRPC does not say why not and takes a living server's place.

    The socket of a server that is gone is removed; anything else that is there stays.

    Raises:
        ServerError: a server listens there, something else is there, or the folder is missing or may not be written to.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise _refused(path, "a file that is not a socket is there; remove it, or choose another --address")
    except OSError:
        pass  # it is not there, or the bind below says what is wrong
    else:
        if not _is_dead(path):
            raise _refused(path, "a server listens there already; stop it, or choose another --address")
    try:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.bind(os.fsencode(path))
        path.unlink()
    except OSError as error:
        raise _refused(path, f"{(error.strerror or str(error)).lower()}; choose another --address") from error


def why_not_reached(path: Path) -> str | None:
    """Why no connection to a socket is possible, in the system's words; None if it is."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_ANSWERS_SECONDS)
            probe.connect(os.fsencode(path))
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _is_dead(path: Path) -> bool:
    """Whether nobody listens at a socket. When that cannot be told, somebody does."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_ANSWERS_SECONDS)
            probe.connect(os.fsencode(path))
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:
        return False
    return False


def _refused(path: Path, problem: str) -> ServerError:
    return ServerError(f"cannot listen on unix:{path}: {problem}")
