from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from routing_gateway.errors import GatewayError
from routing_gateway.json_body import JsonBody

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(st.text(), values, max_size=5)


@given(objects, st.text(), st.sampled_from([None, 2]), st.booleans())
def test_only_the_model_changes(fields: dict[str, Any], model: str, indent: int | None, ascii_only: bool) -> None:
    fields["model"] = "router-mf-0.5"
    raw = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return
    body = JsonBody(raw)
    assert body.fields == fields
    assert json.loads(body.replaced("model", model)) == {**fields, "model": model}
    assert body.replaced("model", "router-mf-0.5") == raw.replace(
        json.dumps(fields["model"]).encode(), b'"router-mf-0.5"'
    )


@pytest.mark.parametrize(
    "raw",
    [
        b'{ "n": 1.0000000000000000000001e+400, "model" :"a","big":12345678901234567890123456789, "e":"\\u00e9\\/" }\n',
        b'\t{"deep":{"model":"a"},"model":"a","list":[{"model":"a"}],"text":"\\"model\\":\\"a\\""}',
        b'{"mod\\u0065l":"a","emoji":"\xf0\x9f\x98\x80","lone":"\\ud83d"}',
    ],
)
def test_every_other_byte_stays(raw: bytes) -> None:
    body = JsonBody(raw)
    assert body.replaced("model", "a") == raw
    changed = body.replaced("model", "bb")
    assert len(changed) == len(raw) + 1
    assert json.loads(changed) == {**json.loads(raw), "model": "bb"}


def test_each_of_two_models_is_replaced() -> None:
    # Which of them counts is up to the upstream's parser.
    assert JsonBody(b'{"model":"a","model":"b"}').replaced("model", "c") == b'{"model":"c","model":"c"}'


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
        JsonBody(raw)
    assert (raised.value.status, raised.value.code) == (400, "invalid_json")
    assert "secret" not in raised.value.message
