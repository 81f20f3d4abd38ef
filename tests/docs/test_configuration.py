"""docs/configuration.md says what the code does: it is up to date, its examples are read, its ranges hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from routing_client.endpoints import Endpoint, EndpointsError, parse_endpoints

from routing_service.config import EMBEDDER_KEYS, ROUTER_KEYS, parse_config
from routing_service.embedders.registry import EMBEDDERS
from routing_service.errors import ConfigError
from routing_service.routers.registry import ROUTERS
from routing_service.yaml_sections import read_yaml
from scripts import configuration
from scripts.configuration import Key

# What else a value at the end of a range needs to be allowed.
TOGETHER: dict[str, dict[str, Any]] = {
    "max_message_bytes": {"max_prompt_bytes": 1},
    "max_prompt_bytes": {"max_message_bytes": 2**31 - 1},
    "max_length": {"tier": "weak"},
    "timeout_seconds": {"attempt_timeout_seconds": 0.01},
    "attempt_timeout_seconds": {"timeout_seconds": 600},
}
# Ends of ranges that the other key's range excludes.
UNREACHABLE = {("max_message_bytes", 1), ("max_prompt_bytes", 2**31 - 1)}


def numbers() -> Iterator[tuple[type[Any], Key]]:
    """Every documented number with a range."""
    for kind in [
        *(kind for _, kind, _ in configuration.sections()),
        *(kind for _, kind in configuration.gateway_sections()),
    ]:
        for key in configuration.keys(kind):
            if key.range is not None and not key.range["any"]:
                yield kind, key


def ends(found: re.Match[str]) -> tuple[list[float], list[float]]:
    """The first and last values of a range, and those just outside."""
    low = yaml.safe_load(found["low"] or found["least"] or found["above"])
    high = yaml.safe_load(found["high"] or found["most"] or "null")
    step = 0.001 if high == 1 or isinstance(low, float) or found["above"] else 1
    within, outside = [low, high], [low - step, None if high is None else high + step]
    if found["above"]:
        within[0], outside[0] = low + step, low
    return [number for number in within if number is not None], [number for number in outside if number is not None]


def parse(kind: type[Any], values: dict[str, Any]) -> None:
    """Read a section of that kind, which has the values and the keys that it requires."""
    if kind is Endpoint:
        try:
            parse_endpoints({"models": {"m": {"base_url": "http://a/v1", **values}}})
        except EndpointsError as error:
            raise ConfigError("", "", str(error)) from error
        return
    required = {key.name: "x" for key in configuration.keys(kind) if key.default == "required"}
    if "base_url" in {key.name for key in configuration.keys(kind)}:
        required["base_url"] = "http://127.0.0.1/v1"
    read_yaml(yaml.safe_dump({**required, **values}), "test", Path()).parse(kind)


def test_the_page_is_up_to_date() -> None:
    assert configuration.TARGET.read_text(encoding="utf-8") == configuration.render(), "run `make docs`"


def test_every_type_that_ships_is_documented() -> None:
    page = configuration.render()
    for room, plugins in (("routers", ROUTERS), ("embedders", EMBEDDERS)):
        for name in plugins.shipped:
            assert f"### {room}: {name}\n" in page


@pytest.mark.parametrize(("kind", "key"), [pytest.param(k, key, id=f"{k.__name__}.{key.name}") for k, key in numbers()])
def test_a_documented_range_is_the_one_that_is_checked(kind: type[Any], key: Key) -> None:
    assert key.range is not None
    together = TOGETHER.get(key.name, {})
    within, outside = ends(key.range)
    for value in within:
        if (key.name, value) not in UNREACHABLE:
            parse(kind, {**together, key.name: value})
    for value in [*outside, math.nan]:
        with pytest.raises(ConfigError):
            parse(kind, {**together, key.name: value})


@pytest.mark.parametrize("kind", [kind for _, kind, _ in configuration.sections()], ids=lambda kind: kind.__name__)
def test_an_example_is_read(kind: type[Any]) -> None:
    _, example = configuration.split_docstring(kind)
    config = parse_config(example, "example", Path())
    for plugins, configured, common in (
        (ROUTERS, config.routers, ROUTER_KEYS),
        (EMBEDDERS, config.embedders, EMBEDDER_KEYS),
    ):
        for entry in configured.values():
            entry.section.parse(configuration.options(plugins, entry.type), ignore=common)


@pytest.mark.parametrize("kind", [kind for _, kind in configuration.gateway_sections()], ids=lambda kind: kind.__name__)
def test_an_example_of_the_gateways_file_is_read(kind: type[Any]) -> None:
    _, example = configuration.split_docstring(kind)
    assert parse_endpoints(yaml.safe_load(example)).models
