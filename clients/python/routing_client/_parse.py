"""From the wire to `types`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from routing_client import types
from routing_client._gen.llmrouting.v1 import decision_pb2, routing_service_pb2
from routing_client._status import reason_name
from routing_client.exceptions import RouterFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable

E = TypeVar("E", bound=StrEnum)


def _by_number(wire: Any, prefix: str, known: type[E]) -> dict[int, E]:
    """The members of `known` by the numbers of the same names in the enum `wire`."""
    members = {member.name: member for member in known}
    return {number: members[name.removeprefix(prefix)] for name, number in wire.items() if number}


_TIERS = _by_number(decision_pb2.Tier, "TIER_", types.Tier)
_REASONS = _by_number(decision_pb2.DecisionReason, "DECISION_REASON_", types.DecisionReason)
_SOURCES = _by_number(decision_pb2.ScoreSource, "SCORE_SOURCE_", types.ScoreSource)
_EXCLUSIONS = {
    number: name.removeprefix("EXCLUSION_REASON_") for name, number in decision_pb2.ExclusionReason.items() if number
}


def decision(message: decision_pb2.Decision) -> types.Decision:
    """A `llmrouting.v1.Decision`. Values that are new to this client become `UNKNOWN`."""
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
        fallback_reason=reason_name(message.fallback_reason),
        candidates=tuple(_candidate(item) for item in message.candidates),
        prompt_tokens=message.prompt_tokens if message.HasField("prompt_tokens") else None,
        truncated=message.truncated,
        skipped_parts=message.skipped_parts,
        timing=None
        if timing is None
        else types.Timing(timing.tokenize_us, timing.queue_us, timing.inference_us, timing.total_us),
        request_id=message.request_id,
        source=_SOURCES.get(message.source, types.ScoreSource.UNKNOWN),
        policy=message.policy,
        generation=message.generation,
        asked=types.Asked(message.asked.length_bytes, message.asked.digest) if message.HasField("asked") else None,
        explanation=_explanation(message.explanation) if message.HasField("explanation") else None,
        signal=message.signal if message.HasField("signal") else None,
        propensity=message.propensity if message.HasField("propensity") else None,
        rung=message.rung if message.HasField("rung") else None,
        turn=message.turn if message.HasField("turn") else None,
        switched=message.switched,
        identity=message.identity,
        rule=message.rule,
    )


def decide_response(message: routing_service_pb2.DecideResponse) -> types.Decision:
    """A `DecideResponse`.

    Raises:
        RouterFailedError: It has no decision, which is the server's fault.
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


def _candidate(message: decision_pb2.Candidate) -> types.Candidate:
    return types.Candidate(
        message.model,
        message.score if message.HasField("score") else None,
        message.expected_quality if message.HasField("expected_quality") else None,
        message.expected_cost_usd if message.HasField("expected_cost_usd") else None,
        tuple(_EXCLUSIONS.get(number, f"UNKNOWN_{number}") for number in message.excluded_by),
    )


def _explanation(message: decision_pb2.Explanation) -> types.Explanation:
    return types.Explanation(
        tuple(types.Span(span.message, span.part, span.begin, span.end) for span in message.spans),
        message.topic,
        tuple(types.Influence(each.name, each.weight) for each in message.influences),
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
