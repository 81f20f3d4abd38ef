"""An engine from a configuration: the one place where routers are loaded and handed in."""

from __future__ import annotations

from routing_service.config import Config
from routing_service.embedders.registry import Embedders
from routing_service.engine.engine import Engine
from routing_service.engine.policies import Planner
from routing_service.routers.registry import build_routers


def build_engine(config: Config) -> Engine:
    """Load every router of a configuration, which runs their self-tests, and wire them into an engine.

    Raises:
        ConfigError: a router or a policy is configured wrongly.
        ArtifactError: an artifact cannot be trusted or read.
    """
    embedders = Embedders(config)
    routers = build_routers(config, embedders)
    embedders.build_all()
    planner = Planner(routers, config)
    return Engine(routers, planner, config.fallback, config.cache.max_entries, on_close=embedders.close)
