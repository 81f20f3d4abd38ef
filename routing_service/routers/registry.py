"""Router types by name: the shipped ones, and those that installed packages add by entry point."""

from __future__ import annotations

from routing_service.config import Config
from routing_service.embedders.registry import Embedders
from routing_service.plugins import Plugins
from routing_service.routers.base import Router, RouterContext

ROUTERS: Plugins[Router] = Plugins(
    kind="router type",
    group="routing_service.routers",
    base=Router,  # type: ignore[type-abstract] # only ever compared with
    shipped={
        "bert": "routing_service.routers.bert:BertRouter",
        "causal_llm": "routing_service.routers.causal_llm:CausalLLMRouter",
        "mf": "routing_service.routers.mf:MatrixFactorizationRouter",
        "random": "routing_service.routers.random:RandomRouter",
        "static": "routing_service.routers.static:StaticRouter",
        "sw_ranking": "routing_service.routers.sw_ranking.router:SimilarityWeightedRouter",
    },
)


def build_routers(config: Config, embedders: Embedders) -> dict[str, Router]:
    """Load every configured router.

    Raises:
        ConfigError: a router's type or one of its keys is not known.
        ArtifactError: an artifact cannot be trusted or read.
    """
    routers = {}
    for name, router in config.routers.items():
        kind = ROUTERS.find(router.type, router.section)
        models = router.models or config.models
        routers[name] = kind.build(RouterContext(name, router.section, models, embedders.for_section(router.section)))
    return routers
