"""Which pages a browser may spend the gateway's keys for."""

from __future__ import annotations

from typing import Any

import pytest
from routing_gateway.echo import RunningEcho
from routing_gateway.origins import OriginGuard

from .conftest import Gateway, MakeGateway

BODY = {"model": "big", "messages": [{"role": "user", "content": "x"}]}


def asked(gateway: Gateway, headers: dict[str, str]) -> tuple[int, Any]:
    answer = gateway.request("POST", "/v1/chat/completions", BODY, headers)
    return answer.status, None if answer.status == 200 else answer.error["code"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "a.localhost.evil", "[", "@"]
)
@pytest.mark.parametrize("with_origin", [True, False])
def test_a_name_that_was_made_to_lead_here_is_refused(
    gateway: Gateway, echo: RunningEcho, host: str, with_origin: bool
) -> None:
    # To a browser, a page at http://evil.example:6060 whose name now leads to 127.0.0.1 is of the gateway's origin.
    headers = {"Host": host, **({"Origin": f"http://{host}"} if with_origin else {})}
    assert asked(gateway, headers) == (403, "host_not_allowed")
    assert gateway.request("GET", "/v1/files", None, headers).status == 403
    assert echo.state.counters.started == 0


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:6060", "LocalHost.:1", "127.0.0.1", "192.168.1.7:80", "[::1]:6060", "gateway", "box.local",
     "host.docker.internal:6060"],
)  # fmt: skip
def test_names_that_nobody_can_buy(gateway: Gateway, host: str) -> None:
    assert asked(gateway, {"Host": host}) == (200, None)
    assert asked(gateway, {"Host": host, "Origin": f"http://{host}"}) == (200, None)
    assert asked(gateway, {"Host": host, "Origin": "http://other"}) == (403, "origin_not_allowed")


def test_a_name_of_its_own(make_gateway: MakeGateway) -> None:
    gateway = make_gateway({"cors_origins": ("https://chat.example",)})
    assert asked(gateway, {"Host": "chat.example"}) == (200, None)
    assert asked(gateway, {"Host": "chat.example", "Origin": "https://chat.example"}) == (200, None)
    assert asked(gateway, {"Host": "evil.example"}) == (403, "host_not_allowed")


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_page_without_an_origin_to_name(gateway: Gateway, host: str) -> None:
    # What a sandboxed frame or a local file says.
    assert asked(gateway, {"Host": host, "Origin": "null"}) == (403, "origin_not_allowed")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "navigate"])
def test_images_and_links_of_other_sites_reach_no_upstream(
    gateway: Gateway, echo: RunningEcho, site: str, mode: str
) -> None:
    # Browsers send no Origin with these.
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
    answer = gateway.request("GET", "/v1/files", None, headers)
    assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
    assert echo.state.counters.started == 0
    assert gateway.request("GET", "/", None, headers).status == (200 if mode == "navigate" else 403)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_gateways_own_page_and_typed_addresses(gateway: Gateway, site: str) -> None:
    assert gateway.request("GET", "/v1/models", None, {"Sec-Fetch-Site": site}).status == 200


@pytest.mark.parametrize("server", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
async def test_over_the_loopback_a_name_that_anybody_could_own_is_refused(server: str) -> None:
    # A browser on this machine may be the caller, and a listener for both families sees the last form.
    assert await status_of({"server": (server, 6060)}, [(b"host", b"evil.example")]) == 403
    assert await status_of({"server": (server, 6060)}, [(b"host", b"localhost")]) == 200


@pytest.mark.parametrize("server", ["192.168.1.7", "::ffff:192.168.1.7", "2001:db8::1", None])
async def test_over_the_network_the_name_is_the_operators(server: str | None) -> None:
    where = {"server": (server, 6060)} if server else {}
    assert await status_of(where, [(b"host", b"gateway.example")]) == 200


async def status_of(scope: dict[str, Any], headers: list[tuple[bytes, bytes]], allowed: tuple[str, ...] = ()) -> int:
    """What the guard answers, or the 200 of what it guards."""
    sent: list[Any] = []

    async def guarded(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {"type": "http", "path": "/v1/models", "headers": headers, **scope}
    await OriginGuard(guarded, allowed)(whole, None, send)  # type: ignore[arg-type] # nothing is received
    return int(sent[0]["status"])


PROGRAMS = ["app://obsidian.md", "chrome-extension://abcdefghijklmnop", "vscode-webview://1a2b", "tauri://localhost",
            "capacitor://localhost", "moz-extension://9f-1", "null"]  # fmt: skip


@pytest.mark.parametrize("origin", [*PROGRAMS, "https://app.example:8443", "http://[::1]:3000"])
def test_any_serialized_origin_can_be_let_in(make_gateway: MakeGateway, origin: str) -> None:
    gateway = make_gateway({"cors_origins": (origin,)})
    answer = gateway.request("POST", "/v1/chat/completions", BODY, {"Origin": origin})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, origin)
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert gateway.request("OPTIONS", "/v1/chat/completions", None, asked).status == 200
    for other in ("https://evil.example", f"{origin}.evil"):
        assert gateway.request("POST", "/v1/chat/completions", BODY, {"Origin": other}).status == 403


def test_an_origin_is_written_as_browsers_do(make_gateway: MakeGateway) -> None:
    gateway = make_gateway({"cors_origins": ("HTTPS://App.Example:443",)})
    assert gateway.request("GET", "/v1/models", None, {"Origin": "https://app.example"}).status == 200


@pytest.mark.parametrize("origin", PROGRAMS)
async def test_a_program_lets_in_no_host_of_its_name(origin: str) -> None:
    here = {"server": ("127.0.0.1", 80)}
    assert await status_of(here, [(b"host", b"obsidian.md")], (origin,)) == 403
    # Nor is it the gateway's own page, though that has the same host.
    assert await status_of(here, [(b"host", b"localhost"), (b"origin", b"tauri://localhost")]) == 403
