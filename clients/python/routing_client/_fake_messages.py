"""From a fake's results to proto messages; the reverse of `_parse` and `_status`."""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from routing_client._gen.llmrouting.v1 import decision_pb2, error_reason_pb2, item_error_pb2
from routing_client._status import ERROR_DOMAIN
from routing_client.exceptions import RoutingError
from routing_client.types import Decision


def decision_message(decision: Decision) -> decision_pb2.Decision:
    """The message for a decision; the reverse of `_parse.decision`."""
    message = decision_pb2.Decision(
        model=decision.model,
        tier=_number(decision_pb2.Tier, "TIER", decision.tier.name),
        reason=_number(decision_pb2.DecisionReason, "DECISION_REASON", decision.reason.name),
        strong_win_rate=decision.strong_win_rate,
        threshold=decision.threshold,
        router=decision.router,
        router_revision=decision.router_revision,
        decision_id=decision.decision_id,
        fallback_reason=_number(error_reason_pb2.ErrorReason, "ERROR_REASON", decision.fallback_reason),
        prompt_tokens=decision.prompt_tokens,
        truncated=decision.truncated,
        skipped_parts=decision.skipped_parts,
        request_id=decision.request_id,
        source=_number(decision_pb2.ScoreSource, "SCORE_SOURCE", decision.source.name),
        policy=decision.policy,
        generation=decision.generation,
        signal=decision.signal,
        propensity=decision.propensity,
        rung=decision.rung,
        turn=decision.turn,
        switched=decision.switched,
        identity=decision.identity,
        rule=decision.rule,
    )
    for candidate in decision.candidates:
        message.candidates.add(
            model=candidate.model,
            score=candidate.score,
            expected_quality=candidate.expected_quality,
            expected_cost_usd=candidate.expected_cost_usd,
            excluded_by=[
                _number(decision_pb2.ExclusionReason, "EXCLUSION_REASON", why) for why in candidate.excluded_by
            ],
        )
    if decision.timing is not None:
        for name in ("tokenize_us", "queue_us", "inference_us", "total_us"):
            setattr(message.timing, name, getattr(decision.timing, name))
    if decision.asked is not None:
        message.asked.length_bytes, message.asked.digest = decision.asked.length_bytes, decision.asked.digest
    if decision.explanation is not None:
        message.explanation.topic = decision.explanation.topic
        for span in decision.explanation.spans:
            message.explanation.spans.add(message=span.message, part=span.part, begin=span.begin, end=span.end)
        for influence in decision.explanation.influences:
            message.explanation.influences.add(name=influence.name, weight=influence.weight)
    return message


def item_error_message(error: RoutingError) -> item_error_pb2.ItemError:
    """The message for a bad item's error; the reverse of `_status.error_from_item`."""
    message = item_error_pb2.ItemError(
        code=error.code.value[0],
        reason=_number(error_reason_pb2.ErrorReason, "ERROR_REASON", error.reason),
        message=error.message,
        field=error.field or "",
        metadata=error.metadata,
    )
    if error.retry_after is not None:
        message.retry_delay.FromNanoseconds(round(error.retry_after * 1e9))
    return message


def status_message(error: RoutingError) -> status_pb2.Status:
    """The `google.rpc.Status` for an error; the reverse of `_status.error_from_call`."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    if error.reason is not None:
        info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=error.metadata)
        status.details.append(_packed(info))
    if error.field_violations:
        bad_request = error_details_pb2.BadRequest()
        for violation in error.field_violations:
            bad_request.field_violations.add(field=violation.field, description=violation.description)
        status.details.append(_packed(bad_request))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after * 1e9))
        status.details.append(_packed(retry))
    return status


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _number(wire: Any, prefix: str, name: str | None) -> Any:
    """The number of a name in a proto enum; 0, unspecified, for no name and for an unknown one."""
    return dict(wire.items()).get(f"{prefix}_{name}", 0)
