from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from routing_gateway.bodies.body import Body
from routing_gateway.bodies.json_body import parse_steps, parsed
from routing_gateway.bodies.large import Wanted
from routing_gateway.errors import GatewayError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(st.text(), values, max_size=5)


def in_steps(raw: bytes) -> Body:
    """As a large body is read."""
    steps = parse_steps(raw, {"model": Wanted.SHORT})
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            body: Body = stop.value
            return body


Read = Callable[[bytes], Body]
both_ways = pytest.mark.parametrize("read", [parsed, in_steps])


@both_ways
@given(objects, st.text(), st.sampled_from([None, 2]), st.booleans())
def test_only_the_model_changes(
    read: Read, fields: dict[str, Any], model: str, indent: int | None, ascii_only: bool
) -> None:
    fields["model"] = "router-mf-0.5"
    raw = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return
    body = read(raw)
    assert body.fields == (fields if read is parsed else {"model": "router-mf-0.5"})
    assert json.loads(body.with_model(model)) == {**fields, "model": model}
    assert body.with_model("router-mf-0.5") == raw.replace(json.dumps(fields["model"]).encode(), b'"router-mf-0.5"')


@both_ways
@pytest.mark.parametrize(
    "raw",
    [
        b'{ "n": 1.0000000000000000000001e+400, "model" :"a","big":12345678901234567890123456789, "e":"\\u00e9\\/" }\n',
        b'\t{"deep":{"model":"a"},"model":"a","list":[{"model":"a"}],"text":"\\"model\\":\\"a\\""}',
        b'\xef\xbb\xbf{"before":"\xc3\xa9","model":"a"}',
        b'{"mod\\u0065l":"a","emoji":"\xf0\x9f\x98\x80","lone":"\\ud83d"}',
    ],
)
def test_every_other_byte_stays(read: Read, raw: bytes) -> None:
    body = read(raw)
    assert body.with_model("a") == raw
    changed = body.with_model("bb")
    assert len(changed) == len(raw) + 1
    assert json.loads(changed) == {**json.loads(raw), "model": "bb"}


@both_ways
@pytest.mark.parametrize("name", ["b", "c"])
def test_each_of_two_models_is_replaced(read: Read, name: str) -> None:
    # Which of them counts is up to the upstream's parser.
    changed = read(b'{"model":"a","x":1,"model":"b"}').with_model(name)
    assert changed == b'{"model":"%b","x":1,"model":"%b"}' % (name.encode(), name.encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b"null",
        b"[1]",
        b'"text"',
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b"{a:1}",
        b'{"a":1} x',
        b'{"a":1}{"b":2}',
        b"secret words",
        b'{"a":"\xff"}',
        b'{"a":"line\nbreak"}',
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused_without_quoting_it(raw: bytes) -> None:
    with pytest.raises(GatewayError) as raised:
        parsed(raw)
    assert (raised.value.status, raised.value.code) == (400, "invalid_json")
    assert "secret" not in raised.value.message
