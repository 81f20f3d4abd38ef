"""What each method does, without the calls themselves. All clients share it.

Each is a flow (`routing_client.flow`) whose steps are `Call`s; a step's result is the response message.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Any, NamedTuple

from routing_client import _parse, _status
from routing_client._gen.llmrouting.v1 import routing_service_pb2
from routing_client._interpolate import share_interval
from routing_client._prompt_stream import PromptStream
from routing_client._requests import decide_request, invalid, model_pair
from routing_client._settings import DEFAULT_CALIBRATE_TIMEOUT, Settings, check_timeout
from routing_client.exceptions import (
    OUTAGES,
    FailedPreconditionError,
    InvalidRequestError,
    NotFoundError,
    RouterFailedError,
    RoutingError,
)
from routing_client.flow import Flow
from routing_client.types import (
    Calibration,
    CalibrationPoint,
    CalibrationTable,
    ConfidenceInterval,
    Decision,
    DecisionReason,
    DecisionRequest,
    Messages,
    ModelPair,
    RouterInfo,
    RouterList,
)

_log = logging.getLogger("routing_client")

# gRPC servers refuse messages over 4 MiB by default. The rest is room for what surrounds the prompts.
MAX_CHUNK_BYTES = 3 << 20
# The service takes so many messages in one request, those of all its items together, and as many of their parts.
MAX_CHUNK_MESSAGES = 4096


class Call(NamedTuple):
    """One RPC."""

    method: str
    request: Any
    """The request message, or a `PromptStream` for `Calibrate`."""
    timeout: float
    """Seconds."""


def decide(settings: Settings, request: DecisionRequest, timeout: float | None) -> Flow[Call, Decision]:
    """One decision."""
    seconds = settings.timeout if timeout is None else check_timeout(timeout)
    message = decide_request(request)
    try:
        response = yield Call("Decide", message, seconds)
        return _parse.decide_response(response)
    except OUTAGES as error:
        own = settings.own_decision(request, error)
        if own is None:
            raise
        _warn([own])
        return own


def decide_batch(
    settings: Settings, requests: Iterable[DecisionRequest], timeout: float | None
) -> Flow[Call, list[Decision | RoutingError]]:
    """One result for each item, in order."""
    seconds = settings.batch_timeout if timeout is None else check_timeout(timeout)
    items = list(requests)
    results: list[Decision | RoutingError | None] = [None] * len(items)
    messages: dict[int, routing_service_pb2.DecideRequest] = {}
    for index, item in enumerate(items):
        try:
            messages[index] = decide_request(item)
        except InvalidRequestError as error:
            results[index] = error
    chunks = _chunks(messages, settings.chunk_size)
    while chunks:
        chunk = chunks.pop(0)
        batch = routing_service_pb2.BatchDecideRequest(requests=[messages[index] for index in chunk])
        try:
            response = yield Call("BatchDecide", batch, seconds)
            if len(response.results) != len(chunk):
                raise RouterFailedError(f"the service answered {len(response.results)} of {len(chunk)} items")
        except InvalidRequestError as error:
            limit = _smaller_batch(error, len(chunk))
            if limit is None:
                if len(chunk) > 1 or len(items) == 1:
                    raise
                results[chunk[0]] = error
                continue
            left = [index for each in (chunk, *chunks) for index in each]
            chunks = _chunks({index: messages[index] for index in left}, limit)
        except OUTAGES as error:
            # The remaining calls would fail too, each after its deadline.
            for index in [index for each in (chunk, *chunks) for index in each]:
                own = settings.own_decision(items[index], error)
                if own is None:
                    raise
                results[index] = own
            chunks = []
        else:
            for index, result in zip(chunk, response.results, strict=True):
                results[index] = _item(settings, items[index], result)
    done = [result for result in results if result is not None]
    _warn(done)
    return done


def routers(settings: Settings, timeout: float | None) -> Flow[Call, RouterList]:
    """The server's routers and policies."""
    seconds = settings.timeout if timeout is None else check_timeout(timeout)
    response = yield Call("ListRouters", routing_service_pb2.ListRoutersRequest(), seconds)
    return _parse.router_list(response)


def calibrate(
    settings: Settings,
    prompts: Iterable[str | Messages] | AsyncIterable[str | Messages] | None,
    strong_shares: Sequence[float],
    router: str | None,
    models: ModelPair | tuple[str, str] | None,
    timeout: float | None,
) -> Flow[Call, Calibration]:
    """Thresholds, from prompts or from the router's own table."""
    if not strong_shares:
        raise invalid("strong_shares", "must have at least one share")
    if isinstance(prompts, str):
        raise invalid("prompts", "must be an iterable of prompts, not one str")
    pair = ModelPair() if models is None else model_pair(models)
    if prompts is None:
        if models is not None:
            raise invalid("models", "apply to prompts only, and none are given")
        served = yield from routers(settings, timeout)
        return _from_table(_find(served, router), strong_shares)
    seconds = DEFAULT_CALIBRATE_TIMEOUT if timeout is None else check_timeout(timeout)
    response = yield Call("Calibrate", PromptStream(prompts, strong_shares, router or "", pair), seconds)
    return _parse.calibration(response)


def _warn(results: Iterable[Decision | RoutingError]) -> None:
    """Log this client's own decisions: a line for each kind of outage, not for each item."""
    own = [each for each in results if isinstance(each, Decision) and each.reason is DecisionReason.UNAVAILABLE]
    for (why, tier), count in Counter((each.fallback_reason, each.tier) for each in own).items():
        _log.warning("no decision from the service (%s); answered %r for %d prompt(s)", why, str(tier), count)


def _chunks(messages: dict[int, routing_service_pb2.DecideRequest], size: int) -> list[list[int]]:
    """The indices in runs of at most `size` items, `MAX_CHUNK_BYTES`, and `MAX_CHUNK_MESSAGES` messages and parts.

    A larger item goes alone.
    """
    chunks: list[list[int]] = []
    room_bytes = room_messages = room_parts = 0
    for index, message in messages.items():
        turns = message.conversation.messages
        length, parts = message.ByteSize(), sum(len(turn.content) for turn in turns)
        fits = length <= room_bytes and len(turns) <= room_messages and parts <= room_parts
        if not chunks or len(chunks[-1]) == size or not fits:
            chunks.append([])
            room_bytes, room_messages, room_parts = MAX_CHUNK_BYTES, MAX_CHUNK_MESSAGES, MAX_CHUNK_MESSAGES
        chunks[-1].append(index)
        room_bytes, room_messages, room_parts = room_bytes - length, room_messages - len(turns), room_parts - parts
    return chunks


def _smaller_batch(error: InvalidRequestError, size: int) -> int | None:
    """How many items to send instead of `size`, if the error says that these are too many or too large; else None."""
    limit = error.metadata.get("limit_items", "")
    if error.reason == "BATCH_TOO_LARGE" and limit.isdecimal() and 0 < int(limit) < size:
        return int(limit)
    # All items together have too many messages or parts, by a lower limit than is usual.
    return size // 2 if error.reason == "REQUEST_TOO_LARGE" and size > 1 else None


def _item(
    settings: Settings, request: DecisionRequest, result: routing_service_pb2.DecideResult
) -> Decision | RoutingError:
    match result.WhichOneof("result"):
        case "decision":
            return _parse.decision(result.decision)
        case "error":
            error = _status.error_from_item(result.error)
        case _:
            error = RouterFailedError("the service gave this item neither a decision nor an error")
    own = settings.own_decision(request, error) if isinstance(error, OUTAGES) else None
    return own or error


def _find(served: RouterList, name: str | None) -> RouterInfo:
    found = served.default if name is None else next((each for each in served if each.name == name), None)
    if found is None:
        names = ", ".join(each.name for each in served) or "none"
        which = "default router" if name is None else f"router {name!r}"
        raise NotFoundError(f"there is no {which}; the server has: {names}", reason="ROUTER_NOT_FOUND")
    return found


def _from_table(router: RouterInfo, strong_shares: Sequence[float]) -> Calibration:
    table = router.calibration
    if table is None or not table.points:
        raise FailedPreconditionError(
            f"router {router.name!r} has no calibration table; give prompts, or a threshold instead of a share",
            reason="ROUTER_NOT_CALIBRATED",
            metadata={"router": router.name},
        )
    for index, share in enumerate(strong_shares):
        if not 0.0 <= share <= 1.0:
            raise invalid(f"strong_shares[{index}]", "must be a number from 0 to 1", reason="STRONG_SHARE_OUT_OF_RANGE")
    realized = {point.strong_share: point.realized_share for point in table.points}
    points = tuple(_table_point(table, share, realized.get(share)) for share in strong_shares)
    return Calibration(router.name, router.revision, table.sample_size, points)


def _table_point(table: CalibrationTable, share: float, realized: float | None) -> CalibrationPoint:
    threshold = table.threshold_for(share)
    if table.sample_size < 1:
        return CalibrationPoint(share, threshold, realized)
    few, many = share_interval(share, table.sample_size)
    return CalibrationPoint(
        share,
        threshold,
        realized,
        ConfidenceInterval(*share_interval(share if realized is None else realized, table.sample_size)),
        ConfidenceInterval(table.threshold_for(many), table.threshold_for(few)),
    )
