from __future__ import annotations

import socket

import grpc
import pytest

from routing_service.errors import ServerError
from routing_service.server.listening import Claim, listen


def connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as caller:
        return caller.connect_ex((host.strip("[]"), int(port))) == 0


@pytest.fixture(params=["127.0.0.1:0", "[::1]:0"])
def address(request: pytest.FixtureRequest) -> str:
    """Of the loopback, with any port."""
    given: str = request.param
    if given.startswith("[") and not _has_ipv6():
        pytest.skip("not here: this machine has no IPv6")
    return given


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


async def test_a_claimed_port_refuses_callers_and_others_until_a_server_listens(address: str) -> None:
    with Claim(address) as claim:
        assert claim.address.rpartition(":")[0] == address.rpartition(":")[0]
        assert not connects(claim.address)
        with pytest.raises(ServerError, match="in use"):
            Claim(claim.address)
        # Several servers may, as those of several workers.
        servers = [grpc.aio.server(options=[("grpc.so_reuseport", 1)]) for _ in range(2)]
        for server in servers:
            listen(server, claim.address)
            await server.start()
        assert connects(claim.address)
        with pytest.raises(ServerError, match="in use"):
            Claim(claim.address)
    with pytest.raises(ServerError, match="in use"):
        Claim(claim.address)
    for server in servers:
        await server.stop(None)
    Claim(claim.address).release()


def test_old_connections_of_another_program_do_not_matter() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), other.accept()[0]:
            other.close()
            with Claim(f"127.0.0.1:{port}") as claim:
                assert claim.address == f"127.0.0.1:{port}"


def test_what_cannot_be_bound_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServerError, match="in use; stop what"):
        Claim(f"127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(ServerError, match=r"cannot listen on 203\.0\.113\.1:1"):
        Claim("203.0.113.1:1")
