"""Where the server listens: the port is claimed at the start, and listened on when calls can be answered."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import grpc
from routing_client.targets import read_address

from routing_service.errors import ServerError
from routing_service.server.sockets import check_socket_free


class Claim:
    """A TCP port that is this process's and its workers', and not yet listened on: who connects is refused.

    Of a `unix:` socket, only that nobody listens there now.

    Another service on the port is refused as well, though both share ports (SO_REUSEPORT), as those do that a claim is
    for. gRPC and each worker have sockets of their own there.

    Args:
        address: `HOST:PORT`, where port 0 takes a free one, or `unix:PATH`.

    Raises:
        ServerError: the port is taken, the host is not this machine's, its name does not resolve, or the socket's file
            cannot be there.
    """

    def __init__(self, address: str) -> None:
        self._socket: socket.socket | None = None
        where = read_address(address)
        if where.path is not None:
            check_socket_free(where.path)
            self.address = str(where.absolute)
            return
        host, port = where.host, where.port
        try:
            family, kind, protocol, _, target = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            if port:
                # With SO_REUSEPORT alone, sockets of this user never get into each other's way.
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(target)
            self._socket = _bound(socket.socket(family, kind, protocol), target)
        except OSError as error:
            advice = "stop what listens there, or choose another --address (port 0 takes a free one)"
            raise ServerError(
                f"cannot listen on {address}: {(error.strerror or str(error)).lower()}; {advice}"
            ) from error
        self.address = str(replace(where, port=self._socket.getsockname()[1]))
        """With the port that was bound."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the port up, but for the sockets that listen on it."""
        if self._socket is not None:
            self._socket.close()


def _bound(claim: socket.socket, target: Any) -> socket.socket:
    try:
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            claim.bind(target)
        except OSError:
            # Old connections of a program that shares no ports may linger there; they are passed over with this.
            claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            claim.bind(target)
            claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        claim.close()
        raise
    return claim


def listen(server: grpc.aio.Server, address: str) -> None:
    """Let a server listen. From here on the system accepts connections for it.

    Raises:
        ServerError: the address cannot be bound.
    """
    where = read_address(address)
    if where.path is not None:
        check_socket_free(where.path)  # once more: gRPC would take the place of a server that has come since
    try:
        server.add_insecure_port(where.target)
    except RuntimeError as error:
        raise ServerError(f"cannot listen on {address}: gRPC refused it; choose another --address") from error


def write_atomically(path: Path, text: str) -> None:
    """Write a ready file, completely or not at all.

    Raises:
        ServerError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ServerError(
            f"cannot write the ready file {path}: {error.strerror}; choose another --ready-file"
        ) from error
