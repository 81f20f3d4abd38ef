"""Which endpoint serves a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from routing_client.model_names import ModelNameError, parse_model

from routing_gateway.config import DEFAULT_NAME
from routing_gateway.errors import SERVER, GatewayError

if TYPE_CHECKING:
    from routing_client.endpoints import Endpoint

    from routing_gateway.config import GatewayConfig


@dataclass(frozen=True, slots=True)
class Target:
    """A model at an endpoint."""

    name: str
    """The endpoint's, for logs, metrics and `/health`: one of the configuration's."""
    model: str
    """As callers and decisions call it."""
    endpoint: Endpoint
    key: str | None
    """The endpoint's own key; None: the caller's is passed on."""

    @property
    def upstream_model(self) -> str:
        """As the endpoint calls it."""
        return self.endpoint.upstream_model or self.model

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.model!r})"  # without the key


class Targets:
    """The configured endpoints as targets."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config

    def find(self, model: str) -> Target | None:
        """The model's own endpoint, else the default; None when there is neither."""
        own = self._config.endpoints.get(model)
        if own is not None:
            return Target(model, model, own, self._config.key(model))
        default = self._config.endpoints.default
        return None if default is None else Target(DEFAULT_NAME, model, default, self._config.key(DEFAULT_NAME))

    def names_router(self, model: str) -> bool:
        """Whether a model that the caller named asks for a decision, in whatever spelling, a wrong one too."""
        endpoints = self._config.endpoints
        name = endpoints.resolve(model)
        try:
            return name not in endpoints and parse_model(name) is not None
        except ModelNameError:
            return True

    def default(self) -> Target:
        """Where requests go that name no model.

        Raises:
            GatewayError: 404; there is none.
        """
        endpoint = self._config.endpoints.default
        if endpoint is None:
            raise GatewayError(
                404,
                "no upstream is configured for this path; add `default` to the configuration, or give --base-url",
                code="no_upstream",
            )
        return Target(DEFAULT_NAME, "", endpoint, self._config.key(DEFAULT_NAME))

    def asked(self, model: str) -> Target:
        """The target for a model that the caller named.

        Raises:
            GatewayError: 404.
        """
        target = self.find(model)
        if target is None:
            raise GatewayError(
                404,
                f"there is no model {model!r} here; GET /v1/models lists those that there are",
                param="model",
                code="model_not_found",
            )
        return target

    def decided(self, model: str) -> Target:
        """The target for a model that a decision or the configuration named.

        Raises:
            GatewayError: 500; the gateway's configuration lacks it.
        """
        target = self.find(model)
        if target is None:
            raise GatewayError(
                500,
                f"the decision is {model!r}, for which the gateway has no endpoint; add it under `models`, or set "
                "strong_model and weak_model",
                kind=SERVER,
                code="model_not_configured",
            )
        return target
