from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from routing_client import InvalidRequestError, ModelNameError
from routing_client.model_names import RoutedModel, model_name, parse_model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("router-mf-0.11593", RoutedModel("mf", threshold=0.11593)),
        ("router-mf-0", RoutedModel("mf", threshold=0.0)),
        ("router-mf-1", RoutedModel("mf", threshold=1.0)),
        ("router-mf-1.0", RoutedModel("mf", threshold=1.0)),
        ("router-mf-.5", RoutedModel("mf", threshold=0.5)),
        ("router-mf-1e-05", RoutedModel("mf", threshold=1e-05)),
        ("router-sw_ranking-0.5", RoutedModel("sw_ranking", threshold=0.5)),
        ("router-our-own-0.5", RoutedModel("our-own", threshold=0.5)),
        ("router-mf-50pct", RoutedModel("mf", strong_share=0.5)),
        ("router-mf-0pct", RoutedModel("mf", strong_share=0.0)),
        ("router-mf-12.5pct", RoutedModel("mf", strong_share=0.125)),
        ("router-our-own-100pct", RoutedModel("our-own", strong_share=1.0)),
        ("router-cheap", RoutedModel("cheap")),
        ("router-very-cheap", RoutedModel("very-cheap")),
        ("router-qwen-7b", RoutedModel("qwen-7b")),
        ("openai/router-mf-0.5", RoutedModel("mf", threshold=0.5)),
        ("litellm_proxy/openai/router-our-own-50pct", RoutedModel("our-own", strong_share=0.5)),
        ("openai:router-cheap", RoutedModel("cheap")),
        ("router-cheap[1m]", RoutedModel("cheap")),
        ("gw/Router-MF-50PCT [1m]", RoutedModel("mf", strong_share=0.5)),
        (" router-mf-0.5 ", RoutedModel("mf", threshold=0.5)),
        ("router-Cheap", RoutedModel("Cheap")),
    ],
)
def test_forms(model: str, expected: RoutedModel) -> None:
    assert parse_model(model) == expected


@pytest.mark.parametrize(
    "model", ["gpt-4.1", "router", "openrouter-mf-0.5", "vendor/my-router-7b", "openrouter/auto", "x" * 10**6, ""]
)
def test_other_names_are_no_decision(model: str) -> None:
    assert parse_model(model) is None


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("router-", "lacks"),
        ("router--", "lacks"),
        ("router-0.5", "number"),
        ("router-50pct", "number"),
        ("router--0.5", "lacks"),
        ("router-mf-", "lacks"),
        ("router-mf--0.5", "lacks"),
        ("router-mf-1.5", "0 to 1"),
        ("router-mf-2", "0 to 1"),
        ("router-mf-1e400", "0 to 1"),
        ("router-mf-150pct", "100pct"),
        ("router-mf-nan", "number"),
        ("router-mf-inf", "number"),
        ("router-mf-0,5", "number"),
        ("router-mf-0.1.2", "number"),
        ("router-mf-50%", "number"),
        ("router-mf\n-0.5", "printable"),
        ("router-" + "x" * 300, "characters"),
        (" " * 10**6 + "Router-mf-0.5", "characters"),
        ("gw/router-", "lacks"),
    ],
)
def test_malformed(model: str, complaint: str) -> None:
    with pytest.raises(ModelNameError, match=complaint) as caught:
        parse_model(model)
    assert caught.value.field == "model"
    assert isinstance(caught.value, InvalidRequestError)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("model", [None, 5, b"router-mf-0.5"])
def test_not_a_string(model: Any) -> None:
    with pytest.raises(ModelNameError, match="must be a str"):
        parse_model(model)


@given(st.text(max_size=400).map(lambda text: "router-" + text))
def test_any_text_is_read_or_refused(model: str) -> None:
    try:
        read = parse_model(model)
    except ModelNameError:
        return
    assert read is not None
    assert read.name
    assert 0 <= (read.threshold or 0) <= 1
    assert 0 <= (read.strong_share or 0) <= 1


names = st.from_regex(r"\A[a-z]{1,8}(?:[-_][a-z]{1,8}){0,3}\Z").filter(lambda name: name not in {"nan", "inf"})


@given(names, st.floats(0, 1))
@example("mf", 5e-324)
@example("mf-1e", 1e-5)
def test_a_threshold_survives_the_round_trip(name: str, threshold: float) -> None:
    assert parse_model(model_name(name, threshold=threshold)) == RoutedModel(name, threshold=threshold)


@given(names, st.integers(0, 1000))
def test_a_share_survives_the_round_trip(name: str, tenths: int) -> None:
    read = parse_model(model_name(name, strong_share=tenths / 1000))
    assert read is not None
    assert read.name == name
    assert read.strong_share == pytest.approx(tenths / 1000)


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "mf", "threshold": 1.5},
        {"name": "mf", "threshold": float("nan")},
        {"name": "mf", "threshold": "0.5"},
        {"name": "mf", "threshold": True},
        {"name": "mf", "strong_share": b"1"},
        {"name": "mf", "strong_share": -0.1},
        {"name": "mf", "threshold": 0.5, "strong_share": 0.5},
        {"name": "release-2"},
        {"name": ""},
    ],
)
def test_names_that_no_string_can_say(arguments: dict[str, Any]) -> None:
    with pytest.raises(ModelNameError):
        model_name(**arguments)


@pytest.mark.parametrize(
    ("routed", "arguments"),
    [
        (RoutedModel("mf", threshold=0.0), {"router": "mf", "threshold": 0.0}),
        (RoutedModel("mf", strong_share=0.0), {"router": "mf", "strong_share": 0.0}),
        (RoutedModel("cheap"), {"policy": "cheap"}),
        (RoutedModel("mf"), {"router": "mf"}),
    ],
)
def test_what_to_decide_with(routed: RoutedModel, arguments: dict[str, Any]) -> None:
    assert routed.arguments({"cheap"}.__contains__) == arguments
