"""What the gateway's endpoints share, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing_client.aio import AsyncRoutingClient

from routing_gateway.attempts import Attempts
from routing_gateway.metrics import Metrics
from routing_gateway.probe import ServiceProbe
from routing_gateway.targets import Targets
from routing_gateway.upstream import Upstreams

if TYPE_CHECKING:
    from routing_gateway.config import GatewayConfig


class State:
    """The clients, the counters and the configuration of one gateway.

    Args:
        config: What to serve.
        client: Asks for decisions. None: one for the configured service, which `close` closes.
    """

    def __init__(self, config: GatewayConfig, client: AsyncRoutingClient | None = None) -> None:
        self.config = config
        self.metrics = Metrics()
        self.upstreams = Upstreams(config)
        self.client = client or AsyncRoutingClient(config.service, timeout=config.decision_timeout_s)
        self.targets = Targets(config)
        self.attempts = Attempts(self.upstreams, self.metrics)
        self.probe = ServiceProbe(config.service)
        self.in_flight = 0
        self.metrics.in_flight.set_function(lambda: self.in_flight)

    async def start(self) -> None:
        """Open what needs an event loop."""
        await self.upstreams.start()

    async def close(self) -> None:
        """Close every connection."""
        await self.probe.close()
        await self.client.close()
        await self.upstreams.close()
