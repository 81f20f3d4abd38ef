"""What the gateway's endpoints share, made once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from routing_client.aio import AsyncRoutingClient

from routing_gateway.bodies.read import BodyReader
from routing_gateway.errors import not_answering
from routing_gateway.logs import log
from routing_gateway.metrics import Metrics
from routing_gateway.probe import ServiceProbe
from routing_gateway.response_ids import ResponseModels
from routing_gateway.targets import Targets
from routing_gateway.upstreams import Upstreams

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
        self.upstreams = Upstreams(config, self.metrics)
        self.client = client or AsyncRoutingClient(config.service, timeout=config.decision_timeout_s)
        self.targets = Targets(config)
        self.bodies = BodyReader(config.max_body_bytes)
        self.responses = ResponseModels()
        self.probe = ServiceProbe(config.service, config.service_proxy)
        self.in_flight = 0
        self.metrics.in_flight.set_function(lambda: self.in_flight)
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open what needs an event loop."""
        await self.upstreams.start()

    async def close(self) -> None:
        """Close every connection."""
        if self._looking is not None:
            self._looking.cancel()
        await self.probe.close()
        await self.client.close()
        await self.upstreams.close()

    def look_at_service(self) -> None:
        """Begin to ask whether the decision service is serving, and say in the log when it is not."""
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        state = await self.probe.state()
        if state != "SERVING":
            log.warning("%s", not_answering(state, self.config.service, self.config.service_proxy))
