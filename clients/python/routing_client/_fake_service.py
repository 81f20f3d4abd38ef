"""The service behind the fakes: messages of the protos in, messages of the protos out, no gRPC."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from routing_client._fake_messages import decision_message, item_error_message
from routing_client._gen.llmrouting.v1 import conversation_pb2, decision_pb2, routing_service_pb2
from routing_client._requests import invalid, model_pair
from routing_client.exceptions import NotFoundError, NotImplementedByServerError, RoutingError
from routing_client.types import Asked, Decision, DecisionReason, Explanation, ModelPair, ScoreSource, Span, Tier

ROUTER, REVISION = "fake", "fake-1"


@dataclass(frozen=True, slots=True)
class FakeCall:
    """One prompt that a fake was asked about, as sent over the wire."""

    method: str
    """`Decide`, or `BatchDecide` for each item of a batch."""
    text: str
    """The text that a service would route: the prompt, or the newest user message's text; empty when there is none."""
    router: str
    threshold: float | None
    strong_share: float | None
    policy: str
    models: ModelPair
    session_id: str
    request_id: str


class FakeService:
    """Decides by rules and set answers; see `FakeRoutingClient` for the arguments. Safe to share between threads."""

    def __init__(
        self,
        win_rates: Mapping[str, float] | Callable[[str], float] | None = None,
        *,
        default: float = 0.5,
        threshold: float = 0.5,
        models: ModelPair | tuple[str, str] = ("strong-model", "weak-model"),
        policies: Mapping[str, float] | None = None,
    ) -> None:
        self.models = model_pair(models)
        self.calls: list[FakeCall] = []
        self.failure: RoutingError | None = None
        self._win_rates = win_rates or {}
        self._default = default
        self._threshold = threshold
        self._policies = dict(policies or {})
        self._script: deque[float | Decision | RoutingError] = deque()
        self._lock = threading.Lock()

    def then(self, *answers: float | Decision | RoutingError) -> None:
        """Set the next answers: a strong win rate, a whole decision, or an error to raise."""
        with self._lock:
            self._script.extend(answers)

    def answer(self, method: str, request: Any) -> Any:
        """The response message for a request message, or for a list of them where the method takes a stream.

        Raises:
            RoutingError: What a real service would answer with, or `failure`.
        """
        if self.failure is not None:
            raise self.failure
        match method:
            case "Decide":
                return routing_service_pb2.DecideResponse(decision=self._decide(method, request))
            case "BatchDecide":
                return routing_service_pb2.BatchDecideResponse(results=[self._item(each) for each in request.requests])
            case "ListRouters":
                return self._routers()
            case "Calibrate":
                return self._calibrate(request)
            case _:
                raise NotImplementedByServerError(
                    f"{method} is not implemented", reason="METHOD_NOT_IMPLEMENTED", metadata={"method": method}
                )

    def _item(self, request: routing_service_pb2.DecideRequest) -> routing_service_pb2.DecideResult:
        result = routing_service_pb2.DecideResult(request_id=request.request_id)
        try:
            result.decision.CopyFrom(self._decide("BatchDecide", request))
        except RoutingError as error:
            result.error.CopyFrom(item_error_message(error))
        return result

    def _decide(self, method: str, request: routing_service_pb2.DecideRequest) -> decision_pb2.Decision:
        text = routed_text(request)
        with self._lock:
            number = len(self.calls)
            self.calls.append(_record(method, request, text))
            scripted = self._script.popleft() if self._script else None
        if isinstance(scripted, RoutingError):
            raise scripted
        if isinstance(scripted, Decision):
            return decision_message(scripted)
        threshold = self._threshold_of(request)
        if request.HasField("requirements"):
            raise NotImplementedByServerError(
                "requirements are not supported", reason="FIELD_NOT_IMPLEMENTED", metadata={"field": "requirements"}
            )
        if not text.strip():
            if request.HasField("prompt"):
                raise invalid("prompt", "is empty", reason="PROMPT_EMPTY")
            raise invalid("conversation.messages", "has no user message with text", reason="NO_USER_TURN")
        win_rate = self._win_rate(text) if scripted is None else scripted
        strong = win_rate >= threshold
        pair = ModelPair(request.models.strong or self.models.strong, request.models.weak or self.models.weak)
        return decision_message(
            Decision(
                model=pair.strong if strong else pair.weak,
                tier=Tier.STRONG if strong else Tier.WEAK,
                reason=DecisionReason.THRESHOLD,
                strong_win_rate=win_rate,
                threshold=threshold,
                router=request.router or ROUTER,
                router_revision=REVISION,
                decision_id=f"fake-{number}",
                prompt_tokens=len(text.split()),
                request_id=request.request_id,
                source=ScoreSource.FRESH,
                policy=request.policy,
                generation=1,
                asked=Asked(len(text.encode())),
                explanation=Explanation(_spans(request)) if request.explain else None,
            )
        )

    def _threshold_of(self, request: routing_service_pb2.DecideRequest) -> float:
        given = [field for field in ("threshold", "strong_share") if request.HasField(field)]
        if len(given) + bool(request.policy) > 1:
            raise invalid(
                "policy",
                "was given with another of threshold, strong_share and policy; give one",
                reason="POLICY_AMBIGUOUS",
            )
        for field in given:
            if not 0.0 <= getattr(request, field) <= 1.0:
                raise invalid(field, "must be a number from 0 to 1", reason=f"{field.upper()}_OUT_OF_RANGE")
        if request.HasField("threshold"):
            return float(request.threshold)
        if request.HasField("strong_share"):
            return 1.0 - float(request.strong_share)  # as the fake's calibration table has it
        if request.policy and request.policy not in self._policies:
            raise NotFoundError(
                f"there is no policy {request.policy!r}", reason="POLICY_NOT_FOUND", metadata={"policy": request.policy}
            )
        return self._policies.get(request.policy, self._threshold)

    def _win_rate(self, text: str) -> float:
        if callable(self._win_rates):
            return self._win_rates(text)
        return next((rate for piece, rate in self._win_rates.items() if piece in text), self._default)

    def _routers(self) -> routing_service_pb2.ListRoutersResponse:
        response = routing_service_pb2.ListRoutersResponse()
        router = response.routers.add(name=ROUTER, type=ROUTER, revision=REVISION, is_default=True)
        router.models.strong, router.models.weak = self.models.strong, self.models.weak
        router.calibration.source, router.calibration.sample_size = "a fake: evenly spread win rates", 100
        for percent in range(1, 100):
            router.calibration.points.add(strong_share=percent / 100, threshold=1 - percent / 100)
        for name, threshold in sorted(self._policies.items()):
            response.policies.add(name=name, router=ROUTER, threshold=threshold)
        return response

    def _calibrate(
        self, requests: Iterable[routing_service_pb2.CalibrateRequest]
    ) -> routing_service_pb2.CalibrateResponse:
        first, *rest = requests
        texts = [
            text
            for message in (first, *rest)
            for text in (*message.prompts, *(newest_text(each) for each in message.conversations))
        ]
        rates = sorted((self._win_rate(text) for text in texts), reverse=True)
        response = routing_service_pb2.CalibrateResponse(
            router=first.router or ROUTER, router_revision=REVISION, sample_size=len(rates)
        )
        for share in first.strong_shares:
            count = round(share * len(rates))
            threshold = rates[count - 1] if count else 1.0
            realized = sum(rate >= threshold for rate in rates) / max(len(rates), 1)
            response.points.add(strong_share=share, threshold=threshold, realized_share=realized)
        return response


def routed_text(request: routing_service_pb2.DecideRequest) -> str:
    """The prompt, or the newest user message's text, as in the service; empty when there is none."""
    return str(request.prompt) if request.HasField("prompt") else newest_text(request.conversation)


def newest_text(conversation: conversation_pb2.Conversation) -> str:
    """The text of the newest user message that has any; empty when there is none."""
    index = _newest(conversation)
    return "" if index is None else _text(conversation.messages[index])


def _newest(conversation: conversation_pb2.Conversation) -> int | None:
    for index in reversed(range(len(conversation.messages))):
        message = conversation.messages[index]
        if message.role == conversation_pb2.ROLE_USER and _text(message).strip():
            return index
    return None


def _text(message: conversation_pb2.Message) -> str:
    return "\n".join(part.text for part in message.content if part.HasField("text"))


def _spans(request: routing_service_pb2.DecideRequest) -> tuple[Span, ...]:
    if request.HasField("prompt"):
        return (Span(0, 0, 0, len(request.prompt.encode())),)
    index = _newest(request.conversation) or 0
    parts = enumerate(request.conversation.messages[index].content)
    return tuple(Span(index, place, 0, len(part.text.encode())) for place, part in parts if part.text)


def _record(method: str, request: routing_service_pb2.DecideRequest, text: str) -> FakeCall:
    return FakeCall(
        method=method,
        text=text,
        router=request.router,
        threshold=request.threshold if request.HasField("threshold") else None,
        strong_share=request.strong_share if request.HasField("strong_share") else None,
        policy=request.policy,
        models=ModelPair(request.models.strong, request.models.weak),
        session_id=request.session_id,
        request_id=request.request_id,
    )
