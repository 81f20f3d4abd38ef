"""Routers that do as they are told, and engines over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from routing_service.artifacts.manifest import CalibrationTable
from routing_service.config import Config, parse_config
from routing_service.engine import scoring
from routing_service.engine.engine import Engine
from routing_service.engine.policies import Planner
from routing_service.models import ModelPair
from routing_service.routers.base import Router, Scores

TABLE = CalibrationTable("a test", 5, (0.0, 0.25, 0.5, 0.75, 1.0))


class FakeRouter(Router):
    """Scores each prompt with `rate`, which may raise or return nonsense; keeps the batches that it was given."""

    type = "fake"

    def __init__(
        self,
        rate: Callable[[str], Any] = lambda _: 0.5,
        *,
        calibration: CalibrationTable | None = TABLE,
        models: tuple[str, str] = ("big", "small"),
        names: tuple[Sequence[str], Sequence[str]] | None = None,
        extra_scores: int = 0,
        tokenizes: bool = True,
        inline: bool = True,
    ) -> None:
        super().__init__(revision="rev-1", models=ModelPair(*models), calibration=calibration)
        self._rate, self._extra, self._tokenizes = rate, extra_scores, tokenizes
        self._names = names or ([models[0]], [models[1]])
        self.inline = inline  # type: ignore[misc] # one class for both kinds
        self.batches: list[list[str]] = []
        self.pairs: list[ModelPair] = []

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:
        self.batches.append(list(texts))
        self.pairs.append(models)
        rates = [self._rate(text) for text in texts] + [0.5] * self._extra
        rates = rates[: len(texts) + self._extra]
        tokens = [len(text) for text in texts] if self._tokenizes else None
        return Scores(rates, tokens, [len(text) > 8 for text in texts], 10.0 * len(texts), 20.0 * len(texts))

    @property
    def strong_names(self) -> frozenset[str]:
        return frozenset(self._names[0])

    @property
    def weak_names(self) -> frozenset[str]:
        return frozenset(self._names[1])


def config_for(routers: Mapping[str, Router], text: str) -> Config:
    sections = ", ".join(f"{name}: {{type: fake}}" for name in routers)
    return parse_config(f"routers: {{{sections}}}\n{text}", "test.yaml", Path())


@pytest.fixture(scope="session")
def fake_router() -> type[FakeRouter]:
    """The class of a router that does as it is told."""
    return FakeRouter


@pytest.fixture(scope="session")
def make_planner() -> Callable[..., Planner]:
    """`make_planner({name: router}, yaml)`; the YAML is a configuration without its `routers`."""
    return lambda routers, text="": Planner(routers, config_for(routers, text))


@pytest.fixture(scope="session")
def make_engine() -> Callable[..., Engine]:
    """`make_engine({name: router}, yaml)`, as `make_planner`."""

    def make(routers: Mapping[str, Router], text: str = "") -> Engine:
        config = config_for(routers, text)
        return Engine(routers, Planner(routers, config), config.fallback)

    return make


class Log:
    """Takes log lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """What is logged while prompts are scored."""
    lines = Log()
    monkeypatch.setattr(scoring, "log", lines)
    return lines
