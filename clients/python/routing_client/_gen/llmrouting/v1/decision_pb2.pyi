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
    TIER_MIDDLE: _ClassVar[Tier]

class DecisionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_REASON_UNSPECIFIED: _ClassVar[DecisionReason]
    DECISION_REASON_THRESHOLD: _ClassVar[DecisionReason]
    DECISION_REASON_SESSION: _ClassVar[DecisionReason]
    DECISION_REASON_FALLBACK: _ClassVar[DecisionReason]
    DECISION_REASON_RULE: _ClassVar[DecisionReason]
    DECISION_REASON_ABSTAINED: _ClassVar[DecisionReason]
    DECISION_REASON_EXPLORED: _ClassVar[DecisionReason]
    DECISION_REASON_CANARY: _ClassVar[DecisionReason]

class ScoreSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCORE_SOURCE_UNSPECIFIED: _ClassVar[ScoreSource]
    SCORE_SOURCE_FRESH: _ClassVar[ScoreSource]
    SCORE_SOURCE_CACHED: _ClassVar[ScoreSource]
    SCORE_SOURCE_NONE: _ClassVar[ScoreSource]

class ExclusionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXCLUSION_REASON_UNSPECIFIED: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_INPUT_TOKENS: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_OUTPUT_TOKENS: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_TOOLS: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_VISION: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_AUDIO: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_JSON: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_RULE: _ClassVar[ExclusionReason]
TIER_UNSPECIFIED: Tier
TIER_STRONG: Tier
TIER_WEAK: Tier
TIER_MIDDLE: Tier
DECISION_REASON_UNSPECIFIED: DecisionReason
DECISION_REASON_THRESHOLD: DecisionReason
DECISION_REASON_SESSION: DecisionReason
DECISION_REASON_FALLBACK: DecisionReason
DECISION_REASON_RULE: DecisionReason
DECISION_REASON_ABSTAINED: DecisionReason
DECISION_REASON_EXPLORED: DecisionReason
DECISION_REASON_CANARY: DecisionReason
SCORE_SOURCE_UNSPECIFIED: ScoreSource
SCORE_SOURCE_FRESH: ScoreSource
SCORE_SOURCE_CACHED: ScoreSource
SCORE_SOURCE_NONE: ScoreSource
EXCLUSION_REASON_UNSPECIFIED: ExclusionReason
EXCLUSION_REASON_INPUT_TOKENS: ExclusionReason
EXCLUSION_REASON_OUTPUT_TOKENS: ExclusionReason
EXCLUSION_REASON_TOOLS: ExclusionReason
EXCLUSION_REASON_VISION: ExclusionReason
EXCLUSION_REASON_AUDIO: ExclusionReason
EXCLUSION_REASON_JSON: ExclusionReason
EXCLUSION_REASON_RULE: ExclusionReason

class ModelPair(_message.Message):
    __slots__ = ("strong", "weak")
    STRONG_FIELD_NUMBER: _ClassVar[int]
    WEAK_FIELD_NUMBER: _ClassVar[int]
    strong: str
    weak: str
    def __init__(self, strong: _Optional[str] = ..., weak: _Optional[str] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("model", "score", "expected_quality", "expected_cost_usd", "excluded_by")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_QUALITY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_COST_USD_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_BY_FIELD_NUMBER: _ClassVar[int]
    model: str
    score: float
    expected_quality: float
    expected_cost_usd: float
    excluded_by: _containers.RepeatedScalarFieldContainer[ExclusionReason]
    def __init__(self, model: _Optional[str] = ..., score: _Optional[float] = ..., expected_quality: _Optional[float] = ..., expected_cost_usd: _Optional[float] = ..., excluded_by: _Optional[_Iterable[_Union[ExclusionReason, str]]] = ...) -> None: ...

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

class Asked(_message.Message):
    __slots__ = ("length_bytes", "digest")
    LENGTH_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    length_bytes: int
    digest: str
    def __init__(self, length_bytes: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("message", "part", "begin", "end")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    message: int
    part: int
    begin: int
    end: int
    def __init__(self, message: _Optional[int] = ..., part: _Optional[int] = ..., begin: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class Influence(_message.Message):
    __slots__ = ("name", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    weight: float
    def __init__(self, name: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("spans", "topic", "influences")
    SPANS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    INFLUENCES_FIELD_NUMBER: _ClassVar[int]
    spans: _containers.RepeatedCompositeFieldContainer[Span]
    topic: str
    influences: _containers.RepeatedCompositeFieldContainer[Influence]
    def __init__(self, spans: _Optional[_Iterable[_Union[Span, _Mapping]]] = ..., topic: _Optional[str] = ..., influences: _Optional[_Iterable[_Union[Influence, _Mapping]]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("decision_id", "model", "tier", "strong_win_rate", "threshold", "router", "router_revision", "reason", "fallback_reason", "candidates", "prompt_tokens", "truncated", "skipped_parts", "timing", "request_id", "source", "policy", "generation", "asked", "explanation", "signal", "propensity", "rung", "turn", "switched", "identity", "rule")
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
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    SWITCHED_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
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
    source: ScoreSource
    policy: str
    generation: int
    asked: Asked
    explanation: Explanation
    signal: float
    propensity: float
    rung: int
    turn: int
    switched: bool
    identity: str
    rule: str
    def __init__(self, decision_id: _Optional[str] = ..., model: _Optional[str] = ..., tier: _Optional[_Union[Tier, str]] = ..., strong_win_rate: _Optional[float] = ..., threshold: _Optional[float] = ..., router: _Optional[str] = ..., router_revision: _Optional[str] = ..., reason: _Optional[_Union[DecisionReason, str]] = ..., fallback_reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., prompt_tokens: _Optional[int] = ..., truncated: bool = ..., skipped_parts: _Optional[int] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., request_id: _Optional[str] = ..., source: _Optional[_Union[ScoreSource, str]] = ..., policy: _Optional[str] = ..., generation: _Optional[int] = ..., asked: _Optional[_Union[Asked, _Mapping]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ..., signal: _Optional[float] = ..., propensity: _Optional[float] = ..., rung: _Optional[int] = ..., turn: _Optional[int] = ..., switched: bool = ..., identity: _Optional[str] = ..., rule: _Optional[str] = ...) -> None: ...
