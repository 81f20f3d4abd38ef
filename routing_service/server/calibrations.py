"""`Calibrate`: a stream of prompts in, thresholds out, in limited memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from routing_client.proto import routing_service_pb2

from routing_service import protobuf_wire as wire
from routing_service.asks.rules import Facts
from routing_service.calibration.distribution import ScoreDistribution
from routing_service.calibration.intervals import Interval
from routing_service.calibration.points import CalibrationPoint, point_from_scores
from routing_service.config import LimitsConfig
from routing_service.engine.batcher import BATCH_CHARACTERS, RETRY_SECONDS
from routing_service.engine.engine import INLINE_CHARACTERS, SCORING_BATCH, Engine
from routing_service.engine.pacing import Pace, yield_to_others
from routing_service.engine.policies import Plan
from routing_service.engine.scoring import Scored
from routing_service.engine.types import RouteRequest
from routing_service.errors import DecisionError, Reason
from routing_service.server.codec import check_prompt, has_of, parse, read_conversation
from routing_service.server.counts import RequestCounts
from routing_service.server.open_streams import OpenStream, OpenStreams

# How long a stream waits for a place in a busy router's queue before it fails: decisions come first.
PATIENCE_SECONDS = 30.0
_ITEM_FIELD = re.compile(r"(?P<list>prompts|conversations)\[(?P<place>\d+)\]")
# How many prompts an inline router scores in one turn of the event loop. A decision takes several turns, and each of
# them may wait for one of these.
_INLINE_PROMPTS = 32


class _Prompt(NamedTuple):
    """A text to score, and its number in the stream, from 0."""

    number: int
    text: str


class Calibrations:
    """Runs `Calibrate` calls: `limits.max_calibrations` score at a time, and the others wait.

    A call keeps a limited summary of its scores and one batch of prompts. While it scores it reads nothing, so
    gRPC's flow control stops the sender.
    """

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits, self._counts = limits, RequestCounts(limits)
        self._streams = OpenStreams(limits)
        self._scoring = asyncio.Semaphore(limits.max_calibrations)
        # For the call that scores on the event loop, also while it yields: decisions do not wait for several calls.
        self._turn = asyncio.Lock()

    def drain(self) -> None:
        """End every call that still receives prompts; it could go on forever. A call with all its prompts finishes."""
        self._streams.drain()

    async def answer(self, engine: Engine, messages: AsyncIterator[bytes]) -> bytes:
        """The response to a stream of requests. One engine scores the whole stream.

        Raises:
            DecisionError: a message or a prompt is wrong, the router fails, too many calibrations run, the caller sends
                nothing for too long, or the server drains.
        """
        async with self._streams.opened() as stream:
            return await self._answer(engine, messages, stream)

    async def _answer(self, engine: Engine, messages: AsyncIterator[bytes], stream: OpenStream) -> bytes:
        settings: _Settings | None = None
        scores, batch, characters, seen = ScoreDistribution(), list[_Prompt](), 0, 0
        stream.wait()

        async def score_batch(settings: _Settings) -> None:
            nonlocal characters
            stream.work()
            scores.add(await self._score(engine, settings.plan, batch))
            batch.clear()
            characters = 0
            stream.wait()

        async for raw in messages:
            message = await self._parse(raw, seen)
            if settings is None:
                settings = _Settings(message, engine)
            else:
                settings.check_unchanged(message, seen)
            for prompt in _prompts(message, seen, self._limits, engine, settings.plan.name):
                if batch and characters + len(prompt.text) > settings.max_characters:
                    await score_batch(settings)
                batch.append(prompt)
                characters += len(prompt.text)
                if len(batch) >= settings.max_prompts or characters >= settings.max_characters:
                    await score_batch(settings)
            seen += len(message.prompts) + len(message.conversations)
            stream.wait()
        stream.has_all()
        if settings is not None and batch:
            scores.add(await self._score(engine, settings.plan, batch))
        if settings is None or not scores.size:
            what = f"no prompt that a router decides: rules decide all {seen:,}" if seen else "no prompt"
            raise DecisionError(
                Reason.CALIBRATION_EMPTY,
                f"The stream has {what}; send at least one, or read the router's own table from ListRouters.",
                "prompts",
            )
        return await settings.response(scores)

    async def _score(self, engine: Engine, plan: Plan, batch: Sequence[_Prompt]) -> list[float]:
        async with self._scoring:
            if not plan.router.inline:
                return await _score(engine, plan, batch)
            async with self._turn:
                rates = await _score(engine, plan, batch)
                await yield_to_others()
            return rates

    async def _parse(self, raw: bytes, first_index: int) -> routing_service_pb2.CalibrateRequest:
        try:
            await self._counts.admit(raw, routing_service_pb2.CalibrateRequest)
            return parse(raw, routing_service_pb2.CalibrateRequest)
        except DecisionError as error:
            found = _ITEM_FIELD.match(error.field)
            place = int(found["place"]) if found else 0
            if found and found["list"] == "conversations":
                number = routing_service_pb2.CalibrateRequest.PROMPTS_FIELD_NUMBER
                place += sum(field.number == number for field in wire.fields(raw))
            with _at(first_index + place):
                raise


class _Settings:
    """The first message's settings, checked."""

    def __init__(self, first: routing_service_pb2.CalibrateRequest, engine: Engine) -> None:
        self._router, self._shares, self._models = first.router, list(first.strong_shares), first.models
        if not self._shares:
            raise DecisionError(
                Reason.STRONG_SHARES_MISSING,
                "The first message asks for no share; set `strong_shares`, from 0 to 1, in it.",
                "strong_shares",
            )
        for index, share in enumerate(self._shares):
            if not 0.0 <= share <= 1.0:  # NaN fails every comparison
                field = f"strong_shares[{index}]"
                raise DecisionError(
                    Reason.STRONG_SHARE_OUT_OF_RANGE,
                    f"`{field}` is {share}; it must be from 0 to 1.",
                    field,
                    {"value": str(share)},
                )
        self.plan = engine.planner.plan(
            # A threshold of 0 asks for no calibration table; scores do not depend on it.
            RouteRequest(
                "",
                router=first.router,
                threshold=0.0,
                strong_model=first.models.strong,
                weak_model=first.models.weak,
            )
        )

        inline = self.plan.router.inline
        self.max_prompts = _INLINE_PROMPTS if inline else SCORING_BATCH
        self.max_characters = INLINE_CHARACTERS if inline else BATCH_CHARACTERS

    def check_unchanged(self, later: routing_service_pb2.CalibrateRequest, index: int) -> None:
        """Refuse a message that contradicts the first; `index` is that of its first prompt."""
        changed = {
            "router": later.router not in ("", self._router),
            "strong_shares": bool(later.strong_shares) and list(later.strong_shares) != self._shares,
            "models": later.HasField("models") and later.models != self._models,
        }
        for field, is_changed in changed.items():
            if is_changed:
                raise DecisionError(
                    Reason.SETTINGS_CHANGED,
                    f"`{field}` differs from the first message; set it there only, or start another stream.",
                    field,
                    {"index": str(index)},
                )

    async def response(self, scores: ScoreDistribution) -> bytes:
        """The answer."""
        response = routing_service_pb2.CalibrateResponse(
            router=self.plan.name,
            router_revision=self.plan.router.revision,
            sample_size=scores.size,
            resolution=scores.resolution,
        )
        pace = Pace()
        for share in self._shares:
            response.points.append(_to_message(point_from_scores(scores, share)))
            if pace.is_due:
                await pace.rest()
        return response.SerializeToString()


async def _score(engine: Engine, plan: Plan, batch: Sequence[_Prompt]) -> list[float]:
    """The win rates of a batch; waits for a place in a busy router's queue."""
    texts = [prompt.text for prompt in batch]
    results = await engine.score_async(plan, texts)
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while refused := [i for i, result in enumerate(results) if _is_overload(result)]:
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(RETRY_SECONDS)
        again = await engine.score_async(plan, [texts[i] for i in refused])
        for i, result in zip(refused, again, strict=True):
            results[i] = result
    rates = []
    for prompt, result in zip(batch, results, strict=True):
        if isinstance(result, DecisionError):
            with _at(prompt.number):
                raise result
        rates.append(result.strong_win_rate)
    return rates


def _is_overload(result: Scored | DecisionError) -> bool:
    return isinstance(result, DecisionError) and result.reason is Reason.OVERLOADED


def _prompts(
    message: routing_service_pb2.CalibrateRequest, first_index: int, limits: LimitsConfig, engine: Engine, router: str
) -> Iterator[_Prompt]:
    """What a message's prompts ask, then what its conversations do, without those that rules keep from the router."""
    asks, rules, index = engine.asks, engine.rules, first_index
    for place, prompt in enumerate(message.prompts):
        with _at(index):
            check_prompt(prompt, limits, f"prompts[{place}]")
        text = asks.prompt(prompt).text
        if rules is None or not rules.leave_out(Facts(prompt, text), router):
            yield _Prompt(index, text)
        index += 1
    for place, conversation in enumerate(message.conversations):
        with _at(index):
            read = read_conversation(conversation, limits, asks, f"conversations[{place}]")
        if rules is None or not rules.leave_out(Facts(read.newest, read.text, has_of(conversation, rules)), router):
            yield _Prompt(index, read.text)
        index += 1


@contextmanager
def _at(index: int) -> Iterator[None]:
    """Add the prompt's number to an error."""
    try:
        yield
    except DecisionError as error:
        raise DecisionError(
            error.reason,
            f"At prompt {index}, counting from 0: {error.message}",
            error.field,
            {**error.metadata, "index": str(index)},
            retry_seconds=error.retry_seconds,
        ) from error


def _to_message(point: CalibrationPoint) -> routing_service_pb2.CalibrationPoint:
    return routing_service_pb2.CalibrationPoint(
        strong_share=point.strong_share,
        threshold=point.threshold,
        realized_share=point.realized_share,
        share_interval=_interval(point.share_interval),
        threshold_interval=_interval(point.threshold_interval),
        tied_share=point.tied_share,
    )


def _interval(interval: Interval | None) -> routing_service_pb2.ConfidenceInterval | None:
    return None if interval is None else routing_service_pb2.ConfidenceInterval(low=interval.low, high=interval.high)
