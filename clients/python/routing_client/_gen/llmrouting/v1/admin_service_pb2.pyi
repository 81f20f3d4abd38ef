from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ReloadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadResponse(_message.Message):
    __slots__ = ("generation", "changed_routers")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_ROUTERS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    changed_routers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, generation: _Optional[int] = ..., changed_routers: _Optional[_Iterable[str]] = ...) -> None: ...

class GetConfigRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetConfigResponse(_message.Message):
    __slots__ = ("yaml", "generation")
    YAML_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    yaml: str
    generation: int
    def __init__(self, yaml: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("calls_in_flight",)
    CALLS_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    calls_in_flight: int
    def __init__(self, calls_in_flight: _Optional[int] = ...) -> None: ...
