"""What signals do to a gateway, and what a decision service may make it write."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.goaway_peer import goaway_peer
from tests.support.waiting import eventually

from ..conftest import LIMIT_S, StartGateway

if TYPE_CHECKING:
    from routing_gateway.echo import RunningEcho

ENDLESS = {"model": "big#endless,pace=0.01", "stream": True, "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(
    start_gateway: StartGateway, fake_address: str, echo: RunningEcho, second: int
) -> None:
    arguments = ["--base-url", echo.base_url, "--shutdown-timeout", "3600"]
    gateway = start_gateway("--service", fake_address, *arguments)
    with gateway.connect(ENDLESS) as connection:
        assert connection.recv(100)
        gateway.process.terminate()
        eventually(lambda: _refuses(gateway.address), "it drains")
        gateway.process.send_signal(second)
        assert gateway.process.wait(LIMIT_S) == 128 + second


def test_a_hang_up_ends_nothing_even_where_it_was_ignored(
    start_gateway: StartGateway, fake_address: str, echo: RunningEcho
) -> None:
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        gateway = start_gateway("--service", fake_address, "--base-url", echo.base_url)
    finally:
        signal.signal(signal.SIGHUP, ignored)
    for _ in range(2):
        os.kill(gateway.process.pid, signal.SIGHUP)
        eventually(lambda: "SIGHUP changes nothing" in gateway.log.read_text(), "it says so")
        assert gateway.request("GET", "/health").status == 200
    gateway.process.terminate()
    assert gateway.process.wait(LIMIT_S) == 0
    assert gateway.log.read_text().count("SIGHUP") == 1


def test_a_decision_service_cannot_forge_lines_of_the_log(start_gateway: StartGateway, echo: RunningEcho) -> None:
    with goaway_peer() as address:
        gateway = start_gateway("--service", address, "--base-url", echo.base_url, "--decision-timeout", "2")
        assert gateway.chat("router-static-50pct").status in (503, 504)
        gateway.process.terminate()
        assert gateway.process.wait(LIMIT_S) == 0
    lines = gateway.log.read_text().splitlines()
    assert all(line.startswith(("routing-gateway: ", "20")) for line in lines), lines


def _refuses(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as caller:
        return caller.connect_ex((host, int(port))) != 0
