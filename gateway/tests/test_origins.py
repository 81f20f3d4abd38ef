"""Which pages a browser may spend the gateway's keys for."""

from __future__ import annotations

from typing import Any

import pytest
from routing_gateway.echo import RunningEcho

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
