"""An engine from a configuration: what belongs to it is closed with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from routing_service.config import parse_config
from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.engine.build import build_engine
from routing_service.engine.engine import Engine
from routing_service.engine.types import RouteRequest
from routing_service.errors import ConfigError, DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.plugins import Plugins
from routing_service.routers.base import Router, RouterContext, Scores

CONFIG = """
routers: {reads: {type: reads}, static: {type: static}}
embedders: {first: {type: noting}, unused: {type: noting}}
"""


class Noting(Embedder):
    """Notes who is closed, and can hold a call."""

    type: ClassVar[str] = "noting"
    closed: ClassVar[list[str]] = []
    entered: ClassVar[threading.Event] = threading.Event()
    go: ClassVar[threading.Event] = threading.Event()
    name: str

    @classmethod
    def build(cls, context: EmbedderContext) -> Self:
        made = cls(dimension=1)
        made.name = context.name
        return made

    def embed(self, texts: Sequence[str]) -> Embeddings:
        self.entered.set()
        assert self.go.wait(10)
        return Embeddings(np.ones((len(texts), 1), np.float32), None, [False] * len(texts))

    def close(self) -> None:
        self.closed.append(self.name)


class Reads(Router):
    """Asks the embedder for each prompt."""

    type: ClassVar[str] = "reads"

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(models=ModelPair("big", "small"))
        self._embedder = embedder
        self.closed = 0

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        return cls(context.embedder("first"))

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - the interface
        found = self._embedder.embed(texts)
        return Scores(found.vectors[:, 0].tolist(), None, found.truncated)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(Noting, "closed", [])
    monkeypatch.setattr(Noting, "entered", threading.Event())
    monkeypatch.setattr(Noting, "go", threading.Event())
    added = {"noting": SimpleNamespace(load=lambda: Noting), "reads": SimpleNamespace(load=lambda: Reads)}
    monkeypatch.setattr(Plugins, "_added", lambda _: added)
    return build_engine(parse_config(CONFIG, "test.yaml", Path()))


def test_every_embedder_and_router_is_closed_with_the_engine(engine: Engine) -> None:
    router: Any = engine.routers["reads"]
    assert Noting.closed == []
    engine.close()
    assert sorted(Noting.closed) == ["first", "unused"]
    assert router.closed == 1


async def test_a_call_that_runs_while_the_engine_closes_is_answered_and_a_later_one_told(engine: Engine) -> None:
    request = RouteRequest("x", router="reads", threshold=0.5)
    running = asyncio.create_task(engine.decide_async(request))
    assert await asyncio.to_thread(Noting.entered.wait, 10)
    closing = asyncio.create_task(asyncio.to_thread(engine.close))
    await asyncio.sleep(0)
    Noting.go.set()
    async with asyncio.timeout(10):
        assert (await running).model == "big"
        await closing
        with pytest.raises(DecisionError) as caught:
            await engine.decide_async(replace(request, text="y"))
    assert caught.value.reason is Reason.NOT_SERVING
    assert sorted(Noting.closed) == ["first", "unused"]


def test_closing_twice_does_no_harm() -> None:
    pytest.importorskip("httpx", reason="the extra `openai` is not installed")
    config = "embedders: {e: {type: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}}"
    engine = build_engine(parse_config(config, "test.yaml", Path()))
    engine.close()
    engine.close()


@pytest.mark.parametrize(("size", "is_taken"), [(15, False), (16, True)])
def test_the_digest_key_must_be_long_enough(size: int, is_taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTING_TEST_DIGEST_KEY", f" {'k' * size}\n")
    config = parse_config("observability: {digest_key: {env: ROUTING_TEST_DIGEST_KEY}}", "test.yaml", Path())
    if is_taken:
        build_engine(config).close()
        return
    with pytest.raises(ConfigError, match="ROUTING_TEST_DIGEST_KEY holds 15 bytes"):
        build_engine(config)
