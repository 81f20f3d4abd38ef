"""Addresses: what is read, and what each wrong one is answered."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from routing_client import AsyncRoutingClient, RoutingClient
from routing_client.targets import (
    MAX_UNIX_PATH_BYTES,
    Address,
    check_target,
    read_address,
    read_port,
    read_target,
)
from routing_client.testing import fake_server


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:50051", Address("127.0.0.1", 50051)),
        ("[::1]:0", Address("::1", 0)),
        ("[::]:65535", Address("::", 65535)),
        ("[fe80::1%eth0]:1", Address("fe80::1%eth0", 1)),
        ("host.example:80", Address("host.example", 80)),
        ("my_host-1:80", Address("my_host-1", 80)),
        ("unix:/run/a b.sock", Address(path=Path("/run/a b.sock"))),
        ("unix:///run/x.sock", Address(path=Path("/run/x.sock"))),
        ("unix:x.sock", Address(path=Path("x.sock"))),
    ],
)
def test_an_address_is_read(text: str, expected: Address) -> None:
    assert read_address(text) == expected
    assert read_address(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; write HOST:PORT"),
        (" ", "is empty"),
        ("localhost", "it has no port; write localhost:50051"),
        ("10.0.0.1", "it has no port; write 10.0.0.1:50051"),
        ("host:", "it has no port; write host:50051"),
        ("[::1]", "it has no port; write [::1]:50051"),
        ("[::1]80", "it has no port; write [::1]:50051"),
        ("::1", "needs brackets and a port; write [::1]:50051"),
        ("a:1:2", "more than one colon"),
        (":50051", "it has no host; write 127.0.0.1:50051, or 0.0.0.0:50051"),
        ("50051", "it has no host; write 127.0.0.1:50051"),
        ("host:99999", "'99999' is not a port from 0 to 65535"),
        ("host:65536", "is not a port"),
        ("host:-1", "is not a port"),
        ("host:abc", "is not a port"),
        ("host:+1", "is not a port"),
        ("host:٣", "is not a port"),
        ("host:" + "9" * 5000, "is not a port"),
        (" host:1", "white space in it"),
        ("host:1\n", "white space in it"),
        ("ho\u2003st:1", "white space in it"),
        ("http://localhost:50051/v1", "it is a URL; write localhost:50051, without http://"),
        ("HTTPS://localhost", "e.g. 127.0.0.1:50051, without https://"),
        ("grpc://localhost:1", "it is a URL; write localhost:1"),
        ("localhost:50051/", "it has a path"),
        ("a:1,b:2", "a list"),
        ("*:80", "'*' is not a host; write HOST:PORT, e.g. 0.0.0.0:50051"),
        ("[host]:80", "in brackets there must be an IPv6 address"),
        ("[]:80", "in brackets there must be"),
        ("[::1:80", "in brackets there must be"),
        ("::1]:80", "more than one colon"),
        ("unix:", "it names no file; write unix:PATH"),
        ("unix:/run/", "it names no file"),
        ("unix:/a\n", "it names no file"),
        ("unix:/a\0", "it names no file"),
        ("unix://run/x", "write unix:PATH or unix:///PATH"),
        ("unix:/" + "x" * MAX_UNIX_PATH_BYTES, f"more than {MAX_UNIX_PATH_BYTES} bytes"),
        ("unix:/" + "é" * 60, "bytes"),
    ],
)
def test_what_is_no_address_is_answered_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="address") as caught:
        read_address(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400
    with pytest.raises(ValueError, match="service: "):
        check_target(text, "service")
    for kind in (RoutingClient, AsyncRoutingClient):
        with pytest.raises(ValueError, match="target: "):
            kind(text)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="user name") as caught:
        read_address("http://me:secret@host:1")
    assert "secret" not in str(caught.value)


@given(st.text(alphabet=st.sampled_from("a1:[].-٣² /@unix"), max_size=12))
@example("a:" + "9" * 5000)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = read_address(text)
    except ValueError:
        return
    assert read_address(str(address)) == address
    assert address.path is not None or (address.host and not set(address.host) & {"[", "]"})
    assert 0 <= address.port <= 65535


@pytest.mark.parametrize(
    "target",
    [
        "router:50051",
        "dns:///router:50051",
        "dns:router:50051",
        "dns://8.8.8.8/router:50051",
        "ipv4:127.0.0.1:1,10.0.0.1:2",
        "ipv6:[::1]:1",
        "unix-abstract:name",
        "vsock:1:2",
        "xds:///router",
    ],
)
def test_grpcs_own_targets_are_left_as_they_are(target: str) -> None:
    assert read_target(target).grpc == check_target(target) == target


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("router:0", "port 0 is for listening only"),
        ("dns:///router", "it has no port"),
        ("dns:///router:0", "port 0"),
        ("dns:///router:99999", "is not a port"),
        ("ipv4:10.0.0.1", "it has no port"),
        ("ipv4:10.0.0.1:1,10.0.0.2", "it has no port"),
        ("ipv4:router:1", "addresses of that kind only"),
        ("ipv6:127.0.0.1:1", "addresses of that kind only"),
        ("ipv6:[::1]", "it has no port"),
        ("xds:", "it has no name"),
        ("unix-abstract:", "it has no name"),
    ],
)
def test_what_grpc_would_look_for_elsewhere_is_refused(target: str, says: str) -> None:
    with pytest.raises(ValueError, match="target") as caught:
        check_target(target)
    assert says in str(caught.value)


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("65535", 65535), ("00080", 80)])
def test_a_port_is_read(text: str, port: int) -> None:
    assert read_port(text) == port


def test_an_address_for_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_address("host:1").absolute == Address("host", 1)
    monkeypatch.chdir("/")
    assert str(read_address("unix:x.sock").absolute) == "unix:/x.sock"
    monkeypatch.chdir(tmp_path)
    long = "x" * (MAX_UNIX_PATH_BYTES - 1)
    assert str(read_address(f"unix:{long}").absolute) == f"unix:{long}"


@pytest.mark.parametrize("name", ["x.sock", "with space.sock", "é%20?#.sock", "relative.sock"])
def test_a_socket_is_reached_whatever_its_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short path: pytest's own folders may be deeper than a socket's path may be long."""
    monkeypatch.chdir(tmp_path)
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    path = name if len(os.fsencode(tmp_path / name)) > MAX_UNIX_PATH_BYTES or "relative" in name else tmp_path / name
    with fake_server(address=f"unix:{path}") as target, RoutingClient(target, timeout=30) as client:
        assert target == f"unix:{path}"
        assert client.decide("hello").model
