"""From the wire to `types`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing_client import types
from routing_client._gen.llmrouting.v1 import decision_pb2, error_reason_pb2, routing_service_pb2
from routing_client.exceptions import RouterFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable

_TIERS = {decision_pb2.TIER_STRONG: types.Tier.STRONG, decision_pb2.TIER_WEAK: types.Tier.WEAK}
_REASONS = {
    decision_pb2.DECISION_REASON_THRESHOLD: types.DecisionReason.THRESHOLD,
    decision_pb2.DECISION_REASON_SESSION: types.DecisionReason.SESSION,
    decision_pb2.DECISION_REASON_FALLBACK: types.DecisionReason.FALLBACK,
}
_ERROR_REASONS: dict[int, str] = {
    number: name.removeprefix("ERROR_REASON_") for name, number in error_reason_pb2.ErrorReason.items() if number
}


def decision(message: decision_pb2.Decision) -> types.Decision:
    """A `llmrouting.v1.Decision`, with whatever is new to this client made `UNKNOWN`."""
    timing = message.timing if message.HasField("timing") else None
    return types.Decision(
        model=message.model,
        tier=_TIERS.get(message.tier, types.Tier.UNKNOWN),
        reason=_REASONS.get(message.reason, types.DecisionReason.UNKNOWN),
        strong_win_rate=message.strong_win_rate if message.HasField("strong_win_rate") else None,
        threshold=message.threshold if message.HasField("threshold") else None,
        router=message.router,
        router_revision=message.router_revision,
        decision_id=message.decision_id,
        fallback_reason=_error_reason(message.fallback_reason),
        candidates=tuple(types.Candidate(item.model, item.score) for item in message.candidates),
        prompt_tokens=message.prompt_tokens if message.HasField("prompt_tokens") else None,
        truncated=message.truncated,
        skipped_parts=message.skipped_parts,
        timing=None
        if timing is None
        else types.Timing(timing.tokenize_us, timing.queue_us, timing.inference_us, timing.total_us),
        request_id=message.request_id,
        cached=message.cached,
    )


def decide_response(message: routing_service_pb2.DecideResponse) -> types.Decision:
    """A `DecideResponse`.

    Raises:
        RouterFailedError: It holds no decision, which no sound server sends.
    """
    if not message.HasField("decision"):
        raise RouterFailedError("the service answered without a decision")
    return decision(message.decision)


def router_list(message: routing_service_pb2.ListRoutersResponse) -> types.RouterList:
    """A `ListRoutersResponse`."""
    return types.RouterList(
        routers=tuple(_router(item) for item in message.routers),
        policies=tuple(
            types.PolicyInfo(item.name, item.router, item.threshold, item.is_default) for item in message.policies
        ),
    )


def calibration(message: routing_service_pb2.CalibrateResponse) -> types.Calibration:
    """A `CalibrateResponse`."""
    return types.Calibration(
        message.router, message.router_revision, message.sample_size, _points(message.points), message.resolution
    )


def _router(message: routing_service_pb2.RouterInfo) -> types.RouterInfo:
    table = message.calibration if message.HasField("calibration") else None
    return types.RouterInfo(
        name=message.name,
        type=message.type,
        revision=message.revision,
        models=types.ModelPair(message.models.strong, message.models.weak),
        calibration=None
        if table is None
        else types.CalibrationTable(table.source, table.sample_size, _points(table.points)),
        is_default=message.is_default,
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
    )


def _points(points: Iterable[routing_service_pb2.CalibrationPoint]) -> tuple[types.CalibrationPoint, ...]:
    return tuple(
        types.CalibrationPoint(
            point.strong_share,
            point.threshold,
            point.realized_share if point.HasField("realized_share") else None,
            _interval(point.share_interval) if point.HasField("share_interval") else None,
            _interval(point.threshold_interval) if point.HasField("threshold_interval") else None,
            point.tied_share if point.HasField("tied_share") else None,
        )
        for point in points
    )


def _interval(interval: routing_service_pb2.ConfidenceInterval) -> types.ConfidenceInterval:
    return types.ConfidenceInterval(interval.low, interval.high)


def _error_reason(number: int) -> str | None:
    return _ERROR_REASONS.get(number, f"UNKNOWN_{number}") if number else None
