"""The client of routing-service: asks for each prompt whether the strong or the weak LLM should answer.

::

    from routing_client import RoutingClient

    with RoutingClient("127.0.0.1:50051") as client:
        decision = client.decide("Prove that the square root of 2 is irrational.", threshold=0.5)
        print(decision.model, decision.strong_win_rate)

`AsyncRoutingClient` is the same for asyncio; `routing_client.exceptions` shows the errors;
`routing_client.testing` has fakes.
"""

# Loaded when they are used: `proxies` and `targets`, which read no more than text, come without gRPC.
import importlib
import typing

if typing.TYPE_CHECKING:
    from routing_client._settings import OnUnavailable
    from routing_client.aio import AsyncRoutingClient
    from routing_client.client import RoutingClient
    from routing_client.exceptions import (
        AccessDeniedError,
        DeadlineExceededError,
        FailedPreconditionError,
        FieldViolation,
        InvalidRequestError,
        ModelNameError,
        NotFoundError,
        NotImplementedByServerError,
        OverloadedError,
        RouterFailedError,
        RoutingError,
        UnavailableError,
    )
    from routing_client.types import (
        Asked,
        Calibration,
        CalibrationPoint,
        CalibrationTable,
        Candidate,
        ConfidenceInterval,
        Decision,
        DecisionReason,
        DecisionRequest,
        Explanation,
        Influence,
        MessageLike,
        Messages,
        ModelPair,
        PolicyInfo,
        Requirements,
        RouterInfo,
        RouterList,
        ScoreSource,
        Span,
        Tier,
        Timing,
    )

__all__ = [
    "AccessDeniedError",
    "Asked",
    "AsyncRoutingClient",
    "Calibration",
    "CalibrationPoint",
    "CalibrationTable",
    "Candidate",
    "ConfidenceInterval",
    "DeadlineExceededError",
    "Decision",
    "DecisionReason",
    "DecisionRequest",
    "Explanation",
    "FailedPreconditionError",
    "FieldViolation",
    "Influence",
    "InvalidRequestError",
    "MessageLike",
    "Messages",
    "ModelNameError",
    "ModelPair",
    "NotFoundError",
    "NotImplementedByServerError",
    "OnUnavailable",
    "OverloadedError",
    "PolicyInfo",
    "Requirements",
    "RouterFailedError",
    "RouterInfo",
    "RouterList",
    "RoutingClient",
    "RoutingError",
    "ScoreSource",
    "Span",
    "Tier",
    "Timing",
    "UnavailableError",
]

# Where the names above are, the cheapest first.
_MODULES = ("types", "exceptions", "_settings", "client", "aio")


def __getattr__(name: str) -> typing.Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _MODULES:
        found = vars(importlib.import_module(f"{__name__}.{module}"))
        if name in found:
            globals()[name] = found[name]
            return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
