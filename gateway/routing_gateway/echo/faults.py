"""What the echo can be told to do wrong, so that its callers' handling of it can be tested."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

FAULT_HEADER = "x-echo-fault"
MODEL_SEPARATOR = "#"


@dataclass(frozen=True, slots=True)
class Fault:
    """One request's faults. Written `name=value` or, for switches, `name`; several are joined by commas."""

    status: int = 0
    """Answer this status, 400 to 599, with an error body in OpenAI's format."""
    retry_after: float = 0.0
    """Seconds that a `retry-after` header beside `status` asks for."""
    delay: float = 0.0
    """Seconds before anything is answered, the status line included."""
    first_byte: float = 0.0
    """Seconds between the headers and the first byte of the body."""
    pace: float = 0.0
    """Seconds between the words of a stream; the echo's own when 0."""
    broken: int = 0
    """The connection is dropped after this many chunks of a stream, or after half of a plain body."""
    error_event: int = 0
    """After this many chunks of a stream comes an event that holds an error, and then the end."""
    bad_event: int = 0
    """After this many chunks of a stream comes an event that is no JSON; the stream then goes on."""
    not_json: bool = False
    """Answer 200 with a page of HTML."""
    hang: bool = False
    """Read the request and never answer."""
    endless: bool = False
    """Repeat the answer for ever: the stream never ends."""
    no_usage: bool = False
    """Leave usage out, as some servers do."""

    @classmethod
    def parse(cls, text: str) -> Fault:
        """From what a header or a model name says, such as `status=429,retry-after=1` or `not-json`.

        Raises:
            ValueError: a name is unknown, or a value is no number or out of range.
        """
        given: dict[str, float | int | bool] = {}
        kinds = {field.name: field.type for field in fields(cls)}
        for item in filter(None, (each.strip() for each in text.split(","))):
            name, _, value = item.partition("=")
            key = name.strip().replace("-", "_")
            if key not in kinds:
                known = ", ".join(each.replace("_", "-") for each in kinds)
                raise ValueError(f"the echo knows no fault {name!r}; it knows {known}")
            given[key] = _value(name, value, str(kinds[key]))
        fault = cls(**given)  # type: ignore[arg-type] # each value has its field's type, by _value
        if fault.status and not 400 <= fault.status <= 599:
            raise ValueError("the fault status must be from 400 to 599")
        return fault


def split_model(model: str) -> tuple[str, str]:
    """A model's name and the faults that follow it: `gpt-4#status=500` asks `gpt-4` to fail."""
    name, _, fault = model.partition(MODEL_SEPARATOR)
    return name, fault


def _value(name: str, text: str, kind: str) -> float | int | bool:
    if kind == "bool":
        if text:
            raise ValueError(f"the fault {name} takes no value")
        return True
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 <= number < math.inf or (kind == "int" and not number.is_integer()):
        raise ValueError(f"the fault {name} needs a number after '=', of at least 0")
    return int(number) if kind == "int" else number
