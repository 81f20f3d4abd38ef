"""An engine from a configuration: the one place that loads routers."""

from __future__ import annotations

import os

from routing_service.asks.reader import AskReader
from routing_service.asks.rules import Rules
from routing_service.calibration.tables import table_for
from routing_service.config import Config
from routing_service.embedders.registry import Embedders
from routing_service.engine.engine import Engine
from routing_service.engine.policies import Planner
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair
from routing_service.routers.base import Router
from routing_service.routers.registry import build_routers

# A shorter key can be guessed.
MIN_DIGEST_KEY_BYTES = 16


def build_engine(config: Config) -> Engine:
    """Load every router of a configuration, run their self-tests, and make an engine of them.

    Raises:
        ConfigError: a router, its calibration table or a policy is configured wrongly, or the digest key is missing.
        ArtifactError: an artifact cannot be trusted or read.
    """
    digest_key = _digest_key(config)
    embedders = Embedders(config)
    routers = build_routers(config, embedders)
    embedders.build_all()
    _use_configured_tables(routers, config)
    planner = Planner(routers, config)
    return Engine(
        routers,
        planner,
        config.fallback,
        config.cache.max_entries,
        asks=AskReader(config.asks),
        rules=Rules(config.asks, _known_models(routers, config.default_router), config.document),
        abstain=config.asks.abstain,
        digest_key=digest_key,
        max_waiting_bytes=config.server.limits.max_waiting_bytes,
        on_close=embedders.close,
    )


def _known_models(routers: dict[str, Router], first: str) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """By router, the names of the strong and of the weak models that it knows."""
    names = [first, *(name for name in routers if name != first)]
    return {name: (routers[name].strong_names, routers[name].weak_names) for name in names}


def _digest_key(config: Config) -> bytes:
    configured = config.observability.digest_key
    if configured is None:
        return b""
    key = os.environ.get(configured.env, "").strip().encode("utf-8", "surrogateescape")
    if len(key) < MIN_DIGEST_KEY_BYTES:
        problem = (
            f"the environment variable {configured.env} holds {len(key)} bytes; "
            f"it must hold a secret of at least {MIN_DIGEST_KEY_BYTES}"
        )
        raise config.document.error(problem, "observability", "digest_key", "env")
    return key


def _use_configured_tables(routers: dict[str, Router], config: Config) -> None:
    for name, router in routers.items():
        configured = config.routers[name]
        if configured.calibration is None:
            continue

        def scores_pair(models: ModelPair, router: Router = router) -> bool:
            return router.scores_alike(models, router.models)

        try:
            router.calibration = table_for(configured.calibration, name, router.type, router.revision, scores_pair)
        except ArtifactError as error:
            raise configured.section.error(str(error), "calibration") from error
