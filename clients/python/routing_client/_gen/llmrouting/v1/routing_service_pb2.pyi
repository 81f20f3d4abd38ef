from google.protobuf import duration_pb2 as _duration_pb2
from routing_client._gen.llmrouting.v1 import conversation_pb2 as _conversation_pb2
from routing_client._gen.llmrouting.v1 import decision_pb2 as _decision_pb2
from routing_client._gen.llmrouting.v1 import item_error_pb2 as _item_error_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Requirements(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "tools", "vision", "audio", "json")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    VISION_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    tools: bool
    vision: bool
    audio: bool
    json: bool
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., tools: bool = ..., vision: bool = ..., audio: bool = ..., json: bool = ...) -> None: ...

class DecideRequest(_message.Message):
    __slots__ = ("prompt", "conversation", "router", "threshold", "strong_share", "policy", "models", "session_id", "request_id", "explain", "requirements", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    STRONG_SHARE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    conversation: _conversation_pb2.Conversation
    router: str
    threshold: float
    strong_share: float
    policy: str
    models: _decision_pb2.ModelPair
    session_id: str
    request_id: str
    explain: bool
    requirements: Requirements
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, prompt: _Optional[str] = ..., conversation: _Optional[_Union[_conversation_pb2.Conversation, _Mapping]] = ..., router: _Optional[str] = ..., threshold: _Optional[float] = ..., strong_share: _Optional[float] = ..., policy: _Optional[str] = ..., models: _Optional[_Union[_decision_pb2.ModelPair, _Mapping]] = ..., session_id: _Optional[str] = ..., request_id: _Optional[str] = ..., explain: bool = ..., requirements: _Optional[_Union[Requirements, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class DecideResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: _decision_pb2.Decision
    def __init__(self, decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ...) -> None: ...

class BatchDecideRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[DecideRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[DecideRequest, _Mapping]]] = ...) -> None: ...

class BatchDecideResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[DecideResult]
    def __init__(self, results: _Optional[_Iterable[_Union[DecideResult, _Mapping]]] = ...) -> None: ...

class DecideResult(_message.Message):
    __slots__ = ("decision", "error", "request_id")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    decision: _decision_pb2.Decision
    error: _item_error_pb2.ItemError
    request_id: str
    def __init__(self, decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ..., error: _Optional[_Union[_item_error_pb2.ItemError, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class StreamDecideRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[DecideRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[DecideRequest, _Mapping]]] = ...) -> None: ...

class StreamDecideResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[DecideResult]
    def __init__(self, results: _Optional[_Iterable[_Union[DecideResult, _Mapping]]] = ...) -> None: ...

class CalibrateRequest(_message.Message):
    __slots__ = ("router", "strong_shares", "prompts", "models", "conversations")
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    STRONG_SHARES_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    CONVERSATIONS_FIELD_NUMBER: _ClassVar[int]
    router: str
    strong_shares: _containers.RepeatedScalarFieldContainer[float]
    prompts: _containers.RepeatedScalarFieldContainer[str]
    models: _decision_pb2.ModelPair
    conversations: _containers.RepeatedCompositeFieldContainer[_conversation_pb2.Conversation]
    def __init__(self, router: _Optional[str] = ..., strong_shares: _Optional[_Iterable[float]] = ..., prompts: _Optional[_Iterable[str]] = ..., models: _Optional[_Union[_decision_pb2.ModelPair, _Mapping]] = ..., conversations: _Optional[_Iterable[_Union[_conversation_pb2.Conversation, _Mapping]]] = ...) -> None: ...

class CalibrateResponse(_message.Message):
    __slots__ = ("router", "router_revision", "sample_size", "points", "resolution")
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    ROUTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    router: str
    router_revision: str
    sample_size: int
    points: _containers.RepeatedCompositeFieldContainer[CalibrationPoint]
    resolution: float
    def __init__(self, router: _Optional[str] = ..., router_revision: _Optional[str] = ..., sample_size: _Optional[int] = ..., points: _Optional[_Iterable[_Union[CalibrationPoint, _Mapping]]] = ..., resolution: _Optional[float] = ...) -> None: ...

class CalibrationPoint(_message.Message):
    __slots__ = ("strong_share", "threshold", "realized_share", "share_interval", "threshold_interval", "tied_share")
    STRONG_SHARE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    REALIZED_SHARE_FIELD_NUMBER: _ClassVar[int]
    SHARE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TIED_SHARE_FIELD_NUMBER: _ClassVar[int]
    strong_share: float
    threshold: float
    realized_share: float
    share_interval: ConfidenceInterval
    threshold_interval: ConfidenceInterval
    tied_share: float
    def __init__(self, strong_share: _Optional[float] = ..., threshold: _Optional[float] = ..., realized_share: _Optional[float] = ..., share_interval: _Optional[_Union[ConfidenceInterval, _Mapping]] = ..., threshold_interval: _Optional[_Union[ConfidenceInterval, _Mapping]] = ..., tied_share: _Optional[float] = ...) -> None: ...

class ConfidenceInterval(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class ListRoutersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRoutersResponse(_message.Message):
    __slots__ = ("routers", "policies")
    ROUTERS_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    routers: _containers.RepeatedCompositeFieldContainer[RouterInfo]
    policies: _containers.RepeatedCompositeFieldContainer[PolicyInfo]
    def __init__(self, routers: _Optional[_Iterable[_Union[RouterInfo, _Mapping]]] = ..., policies: _Optional[_Iterable[_Union[PolicyInfo, _Mapping]]] = ...) -> None: ...

class RouterInfo(_message.Message):
    __slots__ = ("name", "type", "revision", "models", "calibration", "is_default", "max_tokens")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    revision: str
    models: _decision_pb2.ModelPair
    calibration: CalibrationTable
    is_default: bool
    max_tokens: int
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., revision: _Optional[str] = ..., models: _Optional[_Union[_decision_pb2.ModelPair, _Mapping]] = ..., calibration: _Optional[_Union[CalibrationTable, _Mapping]] = ..., is_default: bool = ..., max_tokens: _Optional[int] = ...) -> None: ...

class PolicyInfo(_message.Message):
    __slots__ = ("name", "router", "threshold", "is_default")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    router: str
    threshold: float
    is_default: bool
    def __init__(self, name: _Optional[str] = ..., router: _Optional[str] = ..., threshold: _Optional[float] = ..., is_default: bool = ...) -> None: ...

class CalibrationTable(_message.Message):
    __slots__ = ("source", "sample_size", "points")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    source: str
    sample_size: int
    points: _containers.RepeatedCompositeFieldContainer[CalibrationPoint]
    def __init__(self, source: _Optional[str] = ..., sample_size: _Optional[int] = ..., points: _Optional[_Iterable[_Union[CalibrationPoint, _Mapping]]] = ...) -> None: ...

class ReportOutcomeRequest(_message.Message):
    __slots__ = ("decision_id", "model", "quality", "failed", "cost_usd", "latency", "input_tokens", "output_tokens")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    model: str
    quality: float
    failed: bool
    cost_usd: float
    latency: _duration_pb2.Duration
    input_tokens: int
    output_tokens: int
    def __init__(self, decision_id: _Optional[str] = ..., model: _Optional[str] = ..., quality: _Optional[float] = ..., failed: bool = ..., cost_usd: _Optional[float] = ..., latency: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ...) -> None: ...

class ReportOutcomeResponse(_message.Message):
    __slots__ = ("recorded",)
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    recorded: bool
    def __init__(self, recorded: bool = ...) -> None: ...

class BatchReportOutcomeRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ReportOutcomeRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ReportOutcomeRequest, _Mapping]]] = ...) -> None: ...

class BatchReportOutcomeResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportOutcomeResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportOutcomeResult, _Mapping]]] = ...) -> None: ...

class ReportOutcomeResult(_message.Message):
    __slots__ = ("recorded", "error")
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    recorded: bool
    error: _item_error_pb2.ItemError
    def __init__(self, recorded: bool = ..., error: _Optional[_Union[_item_error_pb2.ItemError, _Mapping]] = ...) -> None: ...
