"""`llmrouting.v1.RoutingService`: bytes in, the engine's decision, bytes out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, TypeVar

import grpc
from routing_client.proto import admin_service_pb2, decision_pb2, routing_service_pb2

from routing_service.calibration.points import point_from_table
from routing_service.config import LimitsConfig
from routing_service.engine.engine import SCORING_BATCH, Engine
from routing_service.engine.pacing import Pace
from routing_service.engine.types import Decision
from routing_service.errors import DecisionError, Reason
from routing_service.observability.metrics import Metrics
from routing_service.routers.base import Router
from routing_service.server.calibrations import Calibrations
from routing_service.server.calls import Calls
from routing_service.server.codec import item_request, parse, split_batch, to_item_error, to_message, to_request
from routing_service.server.counts import RequestCounts

T = TypeVar("T")


SERVICE_NAME: str = routing_service_pb2.DESCRIPTOR.services_by_name["RoutingService"].full_name
ADMIN_NAME: str = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name


class RoutingService:
    """Answers the calls of `RoutingService` with the current engine.

    Args:
        limits: how much a caller may ask for.
        metrics: where decisions and errors are counted.
    """

    def __init__(self, limits: LimitsConfig, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._counts = RequestCounts(limits)
        self._engine: Engine | None = None
        self._calibrations = Calibrations(limits)

    def use(self, engine: Engine | None) -> None:
        """Answer with this engine from now on; without one, calls get UNAVAILABLE."""
        self._engine = engine

    def drain(self) -> None:
        """End the streams that the callers have not ended and that could continue forever."""
        self._calibrations.drain()

    def handlers(self) -> tuple[Any, ...]:
        """The handlers to register with a gRPC server."""
        calls = Calls(self._metrics)
        routing = {
            "Decide": calls.unary("Decide", self.decide),
            "BatchDecide": calls.unary("BatchDecide", self.batch_decide),
            "ListRouters": calls.unary("ListRouters", self.list_routers),
            "StreamDecide": calls.not_implemented("StreamDecide", request_streams=True, response_streams=True),
            "Calibrate": calls.stream_unary("Calibrate", self.calibrate),
            **{name: calls.not_implemented(name) for name in ("ReportOutcome", "BatchReportOutcome")},
        }
        admin = {name: calls.not_implemented(name) for name in ("Reload", "GetConfig", "Drain")}
        return (
            grpc.method_handlers_generic_handler(SERVICE_NAME, routing),
            grpc.method_handlers_generic_handler(ADMIN_NAME, admin),
        )

    async def decide(self, raw: bytes) -> bytes:
        """Answer `Decide`."""
        engine = self._serving_engine()
        await self._counts.admit(raw, routing_service_pb2.DecideRequest)
        pace = Pace()
        message = parse(raw, routing_service_pb2.DecideRequest)
        if pace.is_due:
            await pace.rest()
        request = to_request(message, self._limits, engine.asks, engine.rules)
        if pace.is_due:
            await pace.rest()
        decision = await engine.decide_async(request)
        self._metrics.decision(decision.router, decision.tier, decision.reason)
        return routing_service_pb2.DecideResponse(decision=to_message(decision)).SerializeToString()

    async def batch_decide(self, raw: bytes) -> bytes:
        """Answer `BatchDecide`. Other calls run between parts of a long batch."""
        engine = self._serving_engine()
        await self._counts.admit(raw, routing_service_pb2.BatchDecideRequest)
        items = split_batch(raw)
        if not items:
            raise DecisionError(Reason.BATCH_EMPTY, "The batch has no items; send at least one.", "requests")
        response, pace = routing_service_pb2.BatchDecideResponse(), Pace()
        for part in _parts(items, SCORING_BATCH):
            requests, ids = [], []
            for item in part:
                request, request_id = await item_request(item, self._limits, engine.asks, pace, engine.rules)
                requests.append(request)
                ids.append(request_id)
                if pace.is_due:
                    await pace.rest()
            results = await engine.decide_batch_async(requests, pace)
            for result, request_id in zip(results, ids, strict=True):
                response.results.append(self._result(result, request_id))
                if pace.is_due:
                    await pace.rest()
        return response.SerializeToString()

    async def calibrate(self, messages: AsyncIterator[bytes]) -> bytes:
        """Answer `Calibrate`. Other calls run between parts of a long stream."""
        return await self._calibrations.answer(self._serving_engine(), messages)

    async def list_routers(self, raw: bytes) -> bytes:
        """Answer `ListRouters`."""
        engine = self._serving_engine()
        await self._counts.admit(raw, routing_service_pb2.ListRoutersRequest)
        parse(raw, routing_service_pb2.ListRoutersRequest)
        planner = engine.planner
        return routing_service_pb2.ListRoutersResponse(
            routers=[
                _router_info(name, engine.routers[name], planner.default_router) for name in sorted(engine.routers)
            ],
            policies=[
                routing_service_pb2.PolicyInfo(
                    name=name,
                    router=policy.router,
                    threshold=policy.threshold,
                    is_default=name == planner.default_policy,
                )
                for name, policy in sorted(planner.policies.items())
            ],
        ).SerializeToString()

    def _serving_engine(self) -> Engine:
        if self._engine is None:
            raise DecisionError(
                Reason.NOT_SERVING, "The server is not serving yet; try again when its health is SERVING."
            )
        return self._engine

    def _result(self, result: Decision | DecisionError, request_id: str) -> routing_service_pb2.DecideResult:
        if isinstance(result, Decision):
            self._metrics.decision(result.router, result.tier, result.reason)
            return routing_service_pb2.DecideResult(decision=to_message(result), request_id=result.request_id)
        self._metrics.error("BatchDecide", result.reason)
        return routing_service_pb2.DecideResult(error=to_item_error(result), request_id=request_id)


def _parts(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _router_info(name: str, router: Router, default: str) -> routing_service_pb2.RouterInfo:
    info = routing_service_pb2.RouterInfo(
        name=name,
        type=router.type,
        revision=router.revision,
        models=decision_pb2.ModelPair(strong=router.models.strong, weak=router.models.weak),
        is_default=name == default,
        max_tokens=router.max_tokens,
    )
    if router.calibration is not None:
        table = router.calibration
        info.calibration.source, info.calibration.sample_size = table.source, table.sample_size
        for percent in range(1, 100):
            point = point_from_table(table, percent / 100)
            info.calibration.points.add(
                strong_share=point.strong_share, threshold=point.threshold, realized_share=point.realized_share
            )
    return info
