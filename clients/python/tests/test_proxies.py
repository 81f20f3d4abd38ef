"""The proxy variables: one reading for all parts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from routing_client import AsyncRoutingClient, RoutingClient, UnavailableError
from routing_client.proxies import (
    Proxy,
    ProxyError,
    channel_options,
    httpx_kinds,
    proxies_are_set,
    proxy_for_target,
    proxy_for_url,
)
from routing_client.targets import read_address
from routing_client.testing import fake_server

PROXY = "http://proxy.example:3128"
CLOSED = "http://127.0.0.1:9"
VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy", "no_grpc_proxy")
HERE = [
    "127.0.0.1",
    "127.8.9.10",
    "127.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "ip6-localhost",
    "0.0.0.0",  # noqa: S104 (nothing listens here)
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:0:0:1]",
]
THERE = ["router", "example.com", "10.0.0.1", "notlocalhost", "localhost.example.com", "128.0.0.1", "[fd00::1]"]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def refusing_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that refuses everyone, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(4096))
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def tunnel() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that connects everyone to one service, and what it was asked."""
    asked: list[bytes] = []
    opened: list[socket.socket] = []
    with fake_server() as target, socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        address = read_address(target)

        def pump(one: socket.socket, other: socket.socket) -> None:
            with suppress(OSError):
                while data := one.recv(65536):
                    other.sendall(data)
                other.shutdown(socket.SHUT_WR)

        def serve() -> None:
            with suppress(OSError):  # the listener is closed
                while True:
                    caller, _ = listener.accept()
                    asked.append(caller.recv(4096))
                    service = socket.create_connection((address.host, address.port))
                    opened.extend((caller, service))
                    caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    pool.submit(pump, caller, service)
                    pool.submit(pump, service, caller)

        pool.submit(serve)
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)
        for each in opened:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.mark.parametrize(
    "variable", ["http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"]
)
@pytest.mark.parametrize("host", HERE)
def test_this_machine_is_never_reached_through_a_proxy(host: str, variable: str) -> None:
    for value in (PROXY, "garbage://", "socks5://x"):
        assert proxy_for_target(f"{host}:50051", {variable: value}) is None
        assert proxy_for_url(f"http://{host}:8000/v1", environ={variable: value}) is None
        assert proxy_for_url(f"https://{host}/v1", environ={variable: value}) is None


@pytest.mark.parametrize(
    "target",
    [
        "unix:/x",
        "unix:x",
        "unix:///x",
        "unix-abstract:x",
        "vsock:1:2",
        "ipv4:127.0.0.1:1,127.0.0.2:2",
        "ipv6:[::1]:1",
        "ipv6:[::ffff:127.0.0.1]:1",
        "dns:///localhost:1",
        "dns:localhost:1",
    ],
)
def test_nor_are_grpcs_own_names_for_it(target: str) -> None:
    proxy = proxy_for_target(target, dict.fromkeys(VARIABLES[:4], PROXY))
    assert proxy is None
    assert channel_options(proxy) == [("grpc.enable_http_proxy", 0)]


@pytest.mark.parametrize("host", THERE)
def test_others_are(host: str) -> None:
    environ = {"https_proxy": PROXY, "http_proxy": PROXY}
    for proxy in (proxy_for_target(f"{host}:1", environ), proxy_for_target(f"dns:///{host}:1", environ)):
        assert proxy == Proxy("https_proxy", PROXY)
        assert channel_options(proxy) == [("grpc.http_proxy", PROXY)]
    assert proxy_for_url(f"http://{host}/v1", environ=environ) == Proxy("http_proxy", PROXY)
    assert proxy_for_target("xds:///router", environ) == Proxy("https_proxy", PROXY)


EXEMPT = [
    ("*", "example.com", True),
    ("a, *", "example.com", True),
    ("example.com", "example.com", True),
    ("example.com", "EXAMPLE.com", True),
    ("Example.Com.", "example.com", True),
    ("example.com", "deep.er.example.com", True),
    (".example.com", "a.example.com", True),
    (".example.com", "example.com", True),
    ("*.example.com", "a.example.com", True),
    ("example.com", "notexample.com", False),
    ("example.com", "example.com.evil.org", False),
    ("com", "example.com", True),
    ("  example.com ,x", "example.com", True),
    ("x example.com", "example.com", True),
    ("x;example.com", "example.com", True),
    (",,example.com,", "example.com", True),
    ("http://example.com", "example.com", True),
    ("example.com:8000", "example.com", True),
    ("example.com:8001", "example.com", False),
    (".example.com:8000", "a.example.com", True),
    ("10.0.0.1", "10.0.0.1", True),
    ("10.0.0.1", "10.0.0.10", False),
    ("10.0.0.1:8000", "10.0.0.1", True),
    ("10.0.0.1:1", "10.0.0.1", False),
    ("10.0.0.0/8", "10.9.9.9", True),
    ("10.1.2.3/8", "10.9.9.9", True),
    ("10.0.0.0/8", "11.0.0.1", False),
    ("10.0.0.0/8", "ten.example.com", False),
    ("fd00::1", "[fd00::1]", True),
    ("[fd00::1]", "[fd00::1]", True),
    ("[fd00::1]:8000", "[fd00::1]", True),
    ("[fd00::1]:8001", "[fd00::1]", False),
    ("fd00::/8", "[fd12::1]", True),
    ("[fd00::]/8", "[fd12::1]", True),
    ("fe00::/8", "[fd12::1]", False),
    ("10.0.0.1", "[::ffff:10.0.0.1]", True),
    ("10.0.0.0/8", "[::ffff:10.0.0.1]", True),
    ("", "example.com", False),
    (" , ", "example.com", False),
    (".", "example.com", False),
    ("*.", "example.com", False),
    ("::1/128", "example.com", False),
    ("[::1]", "example.com", False),
    ("[", "example.com", False),
    ("]:[", "example.com", False),
    ("a/b", "example.com", False),
    ("10.0.0.0/99", "10.0.0.1", False),
    ("1.2.3.4.5:99999999", "10.0.0.1", False),
    ("\u2603", "example.com", False),
]


@pytest.mark.parametrize(("exempt", "host", "is_exempt"), EXEMPT)
def test_no_proxy_is_read(exempt: str, host: str, is_exempt: bool) -> None:
    environ = {"http_proxy": PROXY, "NO_PROXY": exempt}
    assert (proxy_for_url(f"http://{host}:8000/v1", environ=environ) is None) is is_exempt
    assert (proxy_for_target(f"{host}:8000", environ) is None) is is_exempt


def test_a_port_of_no_proxy_may_be_the_urls_usual_one() -> None:
    environ = {"https_proxy": PROXY, "http_proxy": PROXY, "no_proxy": "example.com:443"}
    assert proxy_for_url("https://example.com/v1", environ=environ) is None
    assert proxy_for_url("http://example.com/v1", environ=environ) is not None


@pytest.mark.parametrize(
    ("environ", "https", "grpc"),
    [
        ({}, None, None),
        ({"http_proxy": "a"}, None, "http_proxy"),
        ({"all_proxy": "a"}, "all_proxy", None),
        ({"ALL_PROXY": "a", "https_proxy": "a"}, "https_proxy", "https_proxy"),
        ({"https_proxy": "a", "HTTPS_PROXY": "b"}, "https_proxy", "https_proxy"),
        ({"https_proxy": "", "HTTPS_PROXY": "b", "HTTP_PROXY": "c"}, None, "HTTP_PROXY"),
        ({"grpc_proxy": "a", "https_proxy": "b"}, "https_proxy", "grpc_proxy"),
        ({"GRPC_PROXY": "a"}, None, "GRPC_PROXY"),
        ({"HTTP_PROXY": "a", "REQUEST_METHOD": "GET"}, None, None),
        ({"https_proxy": "a", "no_grpc_proxy": "host"}, "https_proxy", None),
        ({"https_proxy": "a", "no_grpc_proxy": "x", "no_proxy": "host"}, None, "https_proxy"),
        ({"https_proxy": "a", "no_proxy": "", "NO_PROXY": "*"}, "https_proxy", "https_proxy"),
    ],
)
def test_which_variable_holds(environ: dict[str, str], https: str | None, grpc: str | None) -> None:
    for variable, found in (
        (https, proxy_for_url("https://host/v1", environ=environ)),
        (grpc, proxy_for_target("host:1", environ)),
    ):
        assert (None if found is None else found.variable) == variable


@pytest.mark.parametrize(
    ("value", "url", "shown"),
    [
        ("proxy:3128", "http://proxy:3128", "http://proxy:3128"),
        ("proxy", "http://proxy:80", "http://proxy:80"),
        (" http://proxy:3128/ ", "http://proxy:3128", "http://proxy:3128"),
        ("http://me:s%40cret@proxy:1/x?y", "http://me:s%40cret@proxy:1", "http://proxy:1"),
        ("me:secret@proxy", "http://me:secret@proxy:80", "http://proxy:80"),
        ("http://[::1]:1", "http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_a_proxy_is_named_without_its_password(value: str, url: str, shown: str) -> None:
    proxy = proxy_for_target("router:1", {"grpc_proxy": value})
    assert proxy is not None
    assert (proxy.url, str(proxy)) == (url, f"{shown} (grpc_proxy)")
    assert "cret" not in repr(proxy)


@pytest.mark.parametrize(
    "value",
    [
        "://",
        "http://",
        "http://:80",
        "http://h:99999",
        "http://h:0",
        "ftp://h",
        "a b",
        "h:x",
        "http://[::1",
        "http://se\ncret@h",
    ],
)
@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_what_is_no_proxy_is_said_of_the_variable(variable: str, value: str) -> None:
    with pytest.raises(ProxyError, match=rf"variable {variable} .*http://HOST:PORT") as caught:
        proxy_for_url("https://example.com/v1", environ={variable: value})
    with pytest.raises(ProxyError, match=rf"variable {variable} ") as caught:
        proxy_for_target("example.com:1", {variable: value})
    assert "cret" not in str(caught.value)


def test_a_kind_of_proxy_that_cannot_be_used_is_said() -> None:
    environ = {"http_proxy": "socks5://me:secret@h:1", "no_proxy": "here"}
    assert proxy_for_url("http://x", ("http", "socks5"), environ) == Proxy("http_proxy", "socks5://me:secret@h:1")
    assert proxy_for_target("here:1", environ) is None
    with pytest.raises(
        ProxyError, match=r"http_proxy names a proxy of the kind socks5://, and here only http://"
    ) as caught:
        proxy_for_target("there:1", environ)
    assert "secret" not in str(caught.value)
    assert set(httpx_kinds()) >= {"http", "https"}


def test_any_variable_counts_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not proxies_are_set()
    monkeypatch.setenv("NO_PROXY", "::1/128")
    assert proxies_are_set()


async def test_clients_reach_this_machine_whatever_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES[:4]:
        monkeypatch.setenv(name, CLOSED)
        monkeypatch.setenv(name.upper(), CLOSED)
    with fake_server() as target:
        for each in (target, f"ipv4:{target}", target.replace("127.0.0.1", "localhost")):
            with RoutingClient(each, timeout=30) as client:
                assert client.decide("hello").model
                assert client.calibrate(["hello"], strong_shares=[0.5]).points
            async with AsyncRoutingClient(each, timeout=30) as other:
                assert (await other.decide("hello")).model
                assert (await other.calibrate(["hello"], strong_shares=[0.5])).points


async def test_what_goes_through_a_proxy_says_so(
    monkeypatch: pytest.MonkeyPatch, refusing_proxy: tuple[str, list[bytes]]
) -> None:
    place, asked = refusing_proxy
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{place}")
    said = rf"the call went through the proxy http://{place} \(HTTPS_PROXY\)"
    with (
        RoutingClient("router.invalid:50051", timeout=30) as client,
        pytest.raises(UnavailableError, match=said) as caught,
    ):
        client.decide("hello")
    async with AsyncRoutingClient("dns:///router.invalid:50051", timeout=30) as other:
        with pytest.raises(UnavailableError, match=said):
            await other.decide("hello")
        with pytest.raises(UnavailableError, match=said):
            await other.calibrate(["hello"], strong_shares=[0.5])
    assert {request.split(b"\r\n")[0] for request in asked} == {b"CONNECT router.invalid:50051 HTTP/1.1"}
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("variable", ["grpc_proxy", "HTTPS_PROXY", "http_proxy"])
def test_others_are_reached_through_it(
    monkeypatch: pytest.MonkeyPatch, tunnel: tuple[str, list[bytes]], variable: str
) -> None:
    place, asked = tunnel
    monkeypatch.setenv(variable, f"me:secret@{place}")
    monkeypatch.setenv("NO_PROXY", "]:[, ::1/128, [::1], a/b, *.example")
    with RoutingClient("router.invalid:50051", timeout=30) as client:
        assert client.decide("hello").model
    assert asked[0].startswith(b"CONNECT router.invalid:50051 HTTP/1.1")
    assert b"basic bwu6c2vjcmv0" in asked[0].lower()


def test_no_proxy_holds_for_grpc_by_the_one_reading(
    monkeypatch: pytest.MonkeyPatch, refusing_proxy: tuple[str, list[bytes]]
) -> None:
    """gRPC itself reads neither the upper case nor `*`."""
    place, asked = refusing_proxy
    monkeypatch.setenv("http_proxy", f"http://{place}")
    monkeypatch.setenv("NO_PROXY", "*")
    with RoutingClient("router.invalid:50051", timeout=30) as client, pytest.raises(UnavailableError) as caught:
        client.decide("hello")
    assert not asked
    assert "proxy" not in str(caught.value)


def test_the_callers_own_options_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "garbage://")
    options: list[tuple[str, Any]] = [("grpc.enable_http_proxy", 0)]
    RoutingClient("router.invalid:50051", options=options).close()
    for kind in (RoutingClient, AsyncRoutingClient):
        with pytest.raises(ValueError, match="https_proxy"):
            kind("router.invalid:50051")
