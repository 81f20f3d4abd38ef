"""Where a unix: socket may be bound, and what is there then."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from routing_service.errors import ServerError
from routing_service.server.sockets import check_socket_free, why_not_reached


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Relative, since the folder's own path may be longer than a socket's may be."""
    monkeypatch.chdir(tmp_path)
    return Path("a socket é.sock")


def bound(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(os.fsencode(path))
    return made


def test_a_new_socket_leaves_nothing_behind(path: Path) -> None:
    check_socket_free(path)
    assert not path.exists()


def test_the_socket_of_a_dead_server_is_removed(path: Path) -> None:
    bound(path).close()
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert why_not_reached(path) == "connection refused"
    check_socket_free(path)
    assert not path.exists()
    assert why_not_reached(path) == "no such file or directory"


def test_a_living_servers_socket_is_left(path: Path) -> None:
    with bound(path) as server:
        server.listen()
        with pytest.raises(ServerError, match=r"unix:a socket é.sock: a server listens there already"):
            check_socket_free(path)
        assert why_not_reached(path) is None


def test_so_is_a_busy_servers(path: Path) -> None:
    """Its queue is full, and nobody takes a connection from it."""
    with bound(path) as server, socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(os.fsencode(path))
        with pytest.raises(ServerError, match="a server listens there already"):
            check_socket_free(path)


def test_so_is_a_socket_of_another_kind(path: Path) -> None:
    with bound(path, socket.SOCK_DGRAM), pytest.raises(ServerError, match="listens there already"):
        check_socket_free(path)


@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe"])
def test_what_is_no_socket_is_never_removed(kind: str, path: Path) -> None:
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("elsewhere")
        case "pipe":
            os.mkfifo(path)
    before = path.lstat()
    with pytest.raises(ServerError, match="a file that is not a socket is there; remove it"):
        check_socket_free(path)
    assert path.lstat().st_ino == before.st_ino


def test_a_folder_that_is_missing_is_said(path: Path) -> None:
    with pytest.raises(ServerError, match="no such file or directory; choose another --address"):
        check_socket_free(Path("none") / path)


@pytest.mark.skipif(os.geteuid() == 0, reason="not here: root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_said(path: Path) -> None:
    Path("closed").mkdir(mode=0o555)
    with pytest.raises(ServerError, match="permission denied"):
        check_socket_free(Path("closed") / path)
