"""Router types by name, and building the routers that a configuration names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from routing_service.artifacts.loading import DEFAULT_ARTIFACT, open_artifact
from routing_service.config import ROUTER_KEYS, Config, RouterConfig
from routing_service.errors import unknown_name
from routing_service.routers.base import ModelPair, Router

# The pair of RouteLLM's published routers, for router types that have no artifact to say theirs.
RESEARCH_PAIR = ModelPair("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")

Builder = Callable[[RouterConfig, ModelPair | None], Router]


def _static(config: RouterConfig, models: ModelPair | None) -> Router:
    from routing_service.routers.static import StaticOptions, StaticRouter

    options = config.section.parse(StaticOptions, ignore=ROUTER_KEYS)
    return StaticRouter(open_artifact(options.artifact or DEFAULT_ARTIFACT, "static"), models, options.threads)


def _random(config: RouterConfig, models: ModelPair | None) -> Router:
    from routing_service.routers.random import RandomOptions, RandomRouter

    return RandomRouter(models or RESEARCH_PAIR, config.section.parse(RandomOptions, ignore=ROUTER_KEYS))


BUILDERS: Mapping[str, Builder] = {"random": _random, "static": _static}


def build_routers(config: Config) -> dict[str, Router]:
    """Load every configured router.

    Raises:
        ConfigError: a router's type or one of its keys is not known.
        ArtifactError: an artifact cannot be trusted or read.
    """
    routers = {}
    for name, router in config.routers.items():
        builder = BUILDERS.get(router.type)
        if builder is None:
            raise router.section.error(unknown_name("router type", router.type, BUILDERS), "type")
        chosen = router.models or config.models
        routers[name] = builder(router, ModelPair(chosen.strong, chosen.weak) if chosen else None)
    return routers
