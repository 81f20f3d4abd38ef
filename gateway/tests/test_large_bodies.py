"""Large JSON: what is needed of it is found, and nobody waits meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Generator
from typing import Any, TypeVar

import pytest
from routing_client.testing import FakeService
from routing_gateway.bodies import large, scan
from routing_gateway.bodies.json_body import WHOLE_BYTES, parse_steps
from routing_gateway.bodies.large import MAX_TEXT_BYTES, Wanted
from routing_gateway.bodies.read import BodyReader
from routing_gateway.echo import RunningEcho
from routing_gateway.errors import GatewayError

from .conftest import Gateway

T = TypeVar("T")
WANTED = {"model": Wanted.SHORT, "messages": Wanted.MESSAGES, "prompt": Wanted.TEXT}


def result_of(steps: Generator[Any, None, T]) -> tuple[T, int]:
    """What the steps come to, and how many there are."""
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value, count
        count += 1


def read(raw: bytes) -> Any:
    return result_of(parse_steps(raw, WANTED))[0].fields


def chat(*messages: Any, **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": messages, **fields}).encode()


def some_value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(7 if depth < 6 else 4)
    if kind == 0:
        return chance.choice([1, -2.5e3, None, True, "", 12345678901234567890])
    if kind < 4:
        return "".join(chance.choices('a"\\{}[],:\u00e9\n \U0001f600', k=chance.choice([0, 1, 5, 30, 300])))
    inner = [some_value(chance, depth + 1) for _ in range(chance.randrange(5))]
    return inner if kind < 6 else {f'{index}"\\'[chance.randrange(3) :]: value for index, value in enumerate(inner)}


@pytest.mark.parametrize("window", [7, 64, scan.WINDOW])
def test_the_end_of_any_value_is_found_and_no_end_of_half_a_value(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(scan, "WINDOW", window)
    monkeypatch.setattr(scan, "_STRING_WINDOWS", (3, 5))
    chance = random.Random(1)
    for _ in range(500):
        value = some_value(chance)
        raw = json.dumps(value, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 2])).encode()
        assert result_of(scan.skip_value(raw + b" ,", 0))[0] == len(raw)
        if raw[:1] in b'{["':
            with pytest.raises(ValueError):  # noqa: PT011 (there is nothing to say)
                result_of(scan.skip_value(raw[: chance.randrange(len(raw))], 0))


@pytest.mark.parametrize("filler", ["x", "\n", '"', "\\", "\u00e9", "\U0001f600", '\\"'])
def test_of_a_long_text_both_ends_are_read(filler: str) -> None:
    text = "begin" + filler * (4 * MAX_TEXT_BYTES) + "end"
    for ascii_only in (False, True):
        raw = json.dumps({"prompt": text}, ensure_ascii=ascii_only).encode()
        found = read(raw)["prompt"]
        assert found.startswith("begin" + filler)
        assert found.endswith(filler + "end")
        assert len(found) <= MAX_TEXT_BYTES


def test_of_a_long_chat_the_newest_messages_are_read() -> None:
    messages = [{"role": "user", "content": str(number)} for number in range(1000)]
    image = {"type": "image_url", "image_url": {"url": "A" * MAX_TEXT_BYTES}}
    long = {"type": "text", "text": "y" * (3 * MAX_TEXT_BYTES)}
    newest = {"role": "user", "content": [image, long, {"type": "text", "text": "what?"}], "name": "n" * 20_000}
    found = read(chat(*messages, newest))["messages"]
    assert found[-1] == {
        "role": "user",
        "content": [
            {"type": "image_url"},
            {"type": "text", "text": "y" * MAX_TEXT_BYTES},
            {"type": "text", "text": "what?"},
        ],
    }
    tools = [{"role": "tool", "content": "z" * 50_000}] * 100
    found = read(chat(*messages, *tools))["messages"]
    assert found[-101]["content"] == "999", "the newest words of the user, however much came after them"
    assert len(found) <= large._MAX_MESSAGES


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b'{"model": "a", "model": "b"}', {"model": "b"}),
        (b'\xef\xbb\xbf {"m\\u006fdel" :"a" } ', {"model": "a"}),
        (b'{"model": {"a": 1}}', {"model": ...}),
        (b'{"model": "%b"}' % (b"x" * 10_000), {"model": ...}),
        (b'{"messages": "text", "prompt": ["one"]}', {"messages": "text", "prompt": ["one"]}),
        (b'{"messages": 7, "prompt": [1, 2, 3]}', {"messages": None, "prompt": [None, None]}),
        (b'{"messages": [7, null, [], "x", {"role": "user"}]}', {"messages": [7, None, [], "x", {"role": "user"}]}),
        (b"{}", {}),
    ],
)
def test_odd_fields(raw: bytes, fields: Any) -> None:
    assert read(raw) == fields


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{a:1}", b'{"a":1} x', b'{"model":"\xff"}',
     b'{"a":' + b"[" * 10**6, b'{"model": tru}', b'{"messages":[{"role":}]}', b'{"a":1' + b',"a":1' * (1 << 17) + b"}",
     b'{"messages":[1' + b",1" * (1 << 17) + b"]}"],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(GatewayError) as raised:
        read(raw)
    assert (raised.value.status, raised.value.code) == (400, "invalid_json")


BIG = 2_000_000
WORST = {
    "image": chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "A" * BIG}}]}),
    "quotes": chat({"role": "user", "content": '"' * (BIG // 2)}),
    "backslashes": chat({"role": "user", "content": "\\" * (BIG // 2)}),
    "numbers": b'{"model":"m","x":[' + b"1," * (BIG // 2) + b"1]}",
    "empty": b'{"model":"m","x":[' + b"{}," * (BIG // 3) + b"1]}",
    "nested": b'{"model":"m","x":[' + b"[[[[]]]]," * (BIG // 9) + b"1]}",
    "deep": b'{"model":"m","x":' + b"[" * (BIG // 2) + b"]" * (BIG // 2) + b"}",
    "space": b'{"model":"m"' + b" " * BIG + b"}",
}


@pytest.mark.parametrize("kind", WORST)
def test_the_work_is_cut_into_steps(kind: str) -> None:
    body, steps = result_of(parse_steps(WORST[kind], WANTED))
    assert body.model == "m"
    assert steps > len(WORST[kind]) / scan.WINDOW / 4


async def test_others_have_their_turn_while_a_large_body_is_read() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    reader = BodyReader(1 << 25)
    await reader.json([], WORST["empty"], WANTED)
    task.cancel()
    assert turns > 10


async def test_many_large_bodies_do_not_all_work_in_one_turn() -> None:
    reader = BodyReader(1 << 25)
    bodies = await asyncio.gather(*(reader.any([], WORST["image"]) for _ in range(5)))
    assert [body.model for body in bodies] == ["m"] * 5
    assert not reader._places.locked()


@pytest.mark.parametrize("size", [WHOLE_BYTES // 2, WHOLE_BYTES * 2, BIG])
def test_a_chat_of_any_size_is_routed_and_arrives(
    gateway: Gateway, echo: RunningEcho, fake: FakeService, size: int
) -> None:
    old = [{"role": "user", "content": "\u00e9\\" * (size // 4)}, {"role": "assistant", "content": None}]
    messages = [*old, {"role": "user", "content": "a hard one"}, {"role": "tool", "content": {"odd": 1}}]
    answer = gateway.chat(messages=messages)
    assert answer.json()["model"] == "big"
    assert fake.calls[-1].text == "a hard one"
    assert echo.state.requests[-1].body["messages"] == messages


def test_a_large_question_to_the_pages_path(gateway: Gateway) -> None:
    answer = gateway.request("POST", "/api/decide", {"prompt": "a hard one " + "x " * 500_000, "threshold": 0.5})
    assert answer.json()["tier"] == "strong"
    assert gateway.request("POST", "/api/decide", {"prompt": "x" * (5 << 20)}).error["code"] == "request_too_large"
