from routing_client._gen.llmrouting.v1 import error_reason_pb2 as _error_reason_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_STRONG: _ClassVar[Tier]
    TIER_WEAK: _ClassVar[Tier]

class DecisionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_REASON_UNSPECIFIED: _ClassVar[DecisionReason]
    DECISION_REASON_THRESHOLD: _ClassVar[DecisionReason]
    DECISION_REASON_SESSION: _ClassVar[DecisionReason]
    DECISION_REASON_FALLBACK: _ClassVar[DecisionReason]
TIER_UNSPECIFIED: Tier
TIER_STRONG: Tier
TIER_WEAK: Tier
DECISION_REASON_UNSPECIFIED: DecisionReason
DECISION_REASON_THRESHOLD: DecisionReason
DECISION_REASON_SESSION: DecisionReason
DECISION_REASON_FALLBACK: DecisionReason

class ModelPair(_message.Message):
    __slots__ = ("strong", "weak")
    STRONG_FIELD_NUMBER: _ClassVar[int]
    WEAK_FIELD_NUMBER: _ClassVar[int]
    strong: str
    weak: str
    def __init__(self, strong: _Optional[str] = ..., weak: _Optional[str] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("model", "score")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    model: str
    score: float
    def __init__(self, model: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("tokenize_us", "queue_us", "inference_us", "total_us")
    TOKENIZE_US_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    tokenize_us: float
    queue_us: float
    inference_us: float
    total_us: float
    def __init__(self, tokenize_us: _Optional[float] = ..., queue_us: _Optional[float] = ..., inference_us: _Optional[float] = ..., total_us: _Optional[float] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("decision_id", "model", "tier", "strong_win_rate", "threshold", "router", "router_revision", "reason", "fallback_reason", "candidates", "prompt_tokens", "truncated", "skipped_parts", "timing", "request_id", "cached")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    STRONG_WIN_RATE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    ROUTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_PARTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    model: str
    tier: Tier
    strong_win_rate: float
    threshold: float
    router: str
    router_revision: str
    reason: DecisionReason
    fallback_reason: _error_reason_pb2.ErrorReason
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    prompt_tokens: int
    truncated: bool
    skipped_parts: int
    timing: Timing
    request_id: str
    cached: bool
    def __init__(self, decision_id: _Optional[str] = ..., model: _Optional[str] = ..., tier: _Optional[_Union[Tier, str]] = ..., strong_win_rate: _Optional[float] = ..., threshold: _Optional[float] = ..., router: _Optional[str] = ..., router_revision: _Optional[str] = ..., reason: _Optional[_Union[DecisionReason, str]] = ..., fallback_reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., prompt_tokens: _Optional[int] = ..., truncated: bool = ..., skipped_parts: _Optional[int] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., request_id: _Optional[str] = ..., cached: bool = ...) -> None: ...
