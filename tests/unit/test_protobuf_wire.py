from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.protobuf_wire import MalformedError, fields, varint


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_a_varint_is_read_and_its_end_found(number: int, before: bytes, after: bytes) -> None:
    digits, rest = [], number
    while rest > 127:
        digits.append(rest & 127 | 128)
        rest >>= 7
    raw = bytes([*digits, rest])
    assert varint(before + raw + after, len(before)) == (number, len(before) + len(raw))


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff" * 11])
def test_a_varint_that_does_not_end_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        varint(raw, 0)


def test_fields_are_found_with_their_values() -> None:
    raw = b"\x08\x96\x01" + b"\x12\x03abc" + b"\x19" + b"12345678" + b"\x25" + b"1234" + b"\xfa\x01\x00"
    found = [(f.number, f.wire_type, raw[f.start : f.end]) for f in fields(raw)]
    assert found == [(1, 0, b"\x96\x01"), (2, 2, b"abc"), (3, 1, b"12345678"), (4, 5, b"1234"), (31, 2, b"")]


@pytest.mark.parametrize("raw", [b"\x0b", b"\x0f", b"\x12\x04abc", b"\x19123", b"\x08"])
def test_what_is_no_message_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        list(fields(raw))
