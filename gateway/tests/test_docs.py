"""docs/gateway.md says what is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import routing_gateway
from routing_client.endpoints import load_endpoints
from routing_gateway.app import ROUTING_HEADERS
from routing_gateway.cli import gateway as cli
from routing_gateway.config import GatewayConfig

SOURCE = Path(routing_gateway.__file__).parent
DOCS = (Path(__file__).resolve().parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")


def test_the_configuration_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    (yaml,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml)
    config = GatewayConfig(load_endpoints(file))
    assert config.key("gpt-4.1") == "sk-1"
    assert config.endpoints.failover


def test_every_header_is_there() -> None:
    assert set(re.findall(r"`(x-routing-[a-z-]+)`", DOCS)) == set(ROUTING_HEADERS)


def test_every_code_of_the_gateways_own_is_there() -> None:
    used = {code for file in SOURCE.rglob("*.py") for code in re.findall(r'code="([a-z_]+)"', file.read_text())}
    assert len(used) > 10
    # `method_not_allowed` tells what its status does.
    assert used - {"method_not_allowed"} <= set(re.findall(r"`([a-z_]+)`", DOCS))


def test_every_option_that_is_named_is_one() -> None:
    options = {option for action in cli.parser()._actions for option in action.option_strings}
    named = set(re.findall(r"`(--[a-z-]+)", DOCS)) | set(re.findall(r"(?<=routing-gateway )(--[a-z-]+)", DOCS))
    assert len(named) >= 8
    assert named <= options


def test_the_defaults_are_those_told() -> None:
    defaults = vars(cli.parser().parse_args([]))
    for option, default in re.findall(r"`--([a-z-]+)`, (\d+)", DOCS):
        assert float(defaults[option.replace("-", "_")]) == float(default), option
