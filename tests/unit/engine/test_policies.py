from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from routing_service.engine.policies import Plan, Planner
from routing_service.engine.types import RouteRequest
from routing_service.errors import ConfigError, DecisionError, Reason
from routing_service.models import ModelPair

POLICIES = """
default_router: main
policies:
  cheap: {strong_share: 0.25}
  exact: {router: other, threshold: 0.9}
  all: {threshold: 0}
"""


@pytest.fixture(scope="module")
def planner(fake_router: type[Any], make_planner: Callable[..., Planner]) -> Planner:
    routers = {
        "main": fake_router(
            models=("big", "small"), names=(["big", "own-big", "both"], ["small", "own-small", "both"])
        ),
        "other": fake_router(models=("huge", "tiny")),
        "raw": fake_router(calibration=None),
    }
    return make_planner(routers, POLICIES)


def refusal(planner: Planner, **fields: Any) -> DecisionError:
    with pytest.raises(DecisionError) as caught:
        planner.plan(RouteRequest("a secret", **fields))
    assert "a secret" not in str(caught.value)
    return caught.value


def plan(planner: Planner, **fields: Any) -> Plan:
    return planner.plan(RouteRequest("a secret", **fields))


# --- thresholds ---------------------------------------------------------------------------------------------


def test_by_default_half_of_the_calibration_sample_goes_strong(planner: Planner) -> None:
    found = plan(planner)
    assert (found.name, found.threshold, found.models) == ("main", 0.5, ModelPair("big", "small"))
    assert plan(planner, router="other").models == ModelPair("huge", "tiny")


def test_a_router_without_a_table_has_even_odds(planner: Planner) -> None:
    assert plan(planner, router="raw").threshold == 0.5


@given(threshold=st.floats(0, 1))
def test_a_threshold_of_the_request_is_taken_as_it_is(planner: Planner, threshold: float) -> None:
    assert plan(planner, threshold=threshold).threshold == threshold


@given(share=st.floats(0, 1))
def test_a_share_is_read_off_the_router_s_table(planner: Planner, share: float) -> None:
    assert plan(planner, strong_share=share).threshold == pytest.approx(1 - share)


@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("field", "reason"),
    [("threshold", Reason.THRESHOLD_OUT_OF_RANGE), ("strong_share", Reason.STRONG_SHARE_OUT_OF_RANGE)],
)
def test_a_number_outside_0_to_1_is_refused(planner: Planner, field: str, reason: Reason, value: float) -> None:
    error = refusal(planner, **{field: value})
    assert (error.reason, error.field) == (reason, field)
    assert error.message == f"`{field}` is {value}; it must be from 0 to 1."


def test_a_share_needs_a_table(planner: Planner) -> None:
    error = refusal(planner, router="raw", strong_share=0.5)
    assert (error.reason, error.field, error.metadata) == (
        Reason.ROUTER_NOT_CALIBRATED,
        "strong_share",
        {"router": "raw"},
    )
    assert "set `threshold` instead" in error.message


# --- routers and policies -----------------------------------------------------------------------------------


def test_an_unknown_router_is_refused_with_the_nearest(planner: Planner) -> None:
    error = refusal(planner, router="mian")
    assert (error.reason, error.field) == (Reason.ROUTER_NOT_FOUND, "router")
    assert error.message == "No router is named 'mian'; did you mean 'main'? Known: 'main', 'other', 'raw'."
    assert error.metadata == {"router": "mian", "nearest": "main"}


def test_an_unknown_policy_is_refused_with_the_nearest(planner: Planner) -> None:
    error = refusal(planner, policy="chaep")
    assert (error.reason, error.field) == (Reason.POLICY_NOT_FOUND, "policy")
    assert "did you mean 'cheap'?" in error.message
    assert error.metadata["nearest"] == "cheap"


def test_a_huge_name_makes_no_huge_answer(planner: Planner) -> None:
    error = refusal(planner, router="x" * 1_000_000)
    assert len(error.message) < 400
    assert len(error.metadata["router"]) <= 80


def test_a_policy_brings_its_router_and_threshold(planner: Planner) -> None:
    found = plan(planner, policy="exact")
    assert (found.name, found.threshold, found.models) == ("other", 0.9, ModelPair("huge", "tiny"))
    assert plan(planner, policy="exact", router="other").name == "other"
    assert plan(planner, policy="cheap").threshold == pytest.approx(0.75)


def test_a_policy_of_another_router_is_refused(planner: Planner) -> None:
    error = refusal(planner, policy="exact", router="main")
    assert (error.reason, error.field) == (Reason.POLICY_AMBIGUOUS, "router")
    assert "'exact'" in error.message
    assert "'other'" in error.message


@pytest.mark.parametrize(
    "given_fields",
    [
        {"threshold": 0.5, "strong_share": 0.5},
        {"threshold": 0.0, "policy": "cheap"},
        {"strong_share": 0.0, "policy": "cheap"},
        {"threshold": 0.5, "strong_share": 0.5, "policy": "cheap"},
    ],
)
def test_at_most_one_rule_may_be_set(planner: Planner, given_fields: dict[str, Any]) -> None:
    error = refusal(planner, **given_fields)
    assert error.reason is Reason.POLICY_AMBIGUOUS
    assert error.field in given_fields
    assert all(f"`{name}`" in error.message for name in given_fields)
    assert ("both" in error.message) == (len(given_fields) == 2), "three are not both"


def test_the_first_fault_that_is_told_is_the_request_s_own_shape(planner: Planner) -> None:
    """Then names, then numbers, then what the router lacks, then models."""
    everything_wrong = {
        "threshold": math.nan,
        "strong_share": 2.0,
        "policy": "nope",
        "router": "nope",
        "strong_model": "nope",
    }
    assert refusal(planner, **everything_wrong).reason is Reason.POLICY_AMBIGUOUS
    del everything_wrong["threshold"], everything_wrong["strong_share"]
    assert refusal(planner, **everything_wrong).reason is Reason.POLICY_NOT_FOUND
    del everything_wrong["policy"]
    everything_wrong["strong_share"] = 2.0
    assert refusal(planner, **everything_wrong).reason is Reason.ROUTER_NOT_FOUND
    everything_wrong["router"] = "raw"
    assert refusal(planner, **everything_wrong).reason is Reason.STRONG_SHARE_OUT_OF_RANGE
    everything_wrong["strong_share"] = 0.5
    assert refusal(planner, **everything_wrong).reason is Reason.ROUTER_NOT_CALIBRATED
    everything_wrong["router"] = "main"
    assert refusal(planner, **everything_wrong).reason is Reason.MODEL_NOT_FOUND


# --- the default policy -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_default(fake_router: type[Any], make_planner: Callable[..., Planner]) -> Planner:
    text = "default_router: main\ndefault_policy: exact\npolicies: {exact: {router: other, threshold: 0.9}}"
    return make_planner({"main": fake_router(), "other": fake_router(models=("huge", "tiny"))}, text)


def test_the_default_policy_applies_when_a_request_names_nothing(with_default: Planner) -> None:
    found = plan(with_default)
    assert (found.name, found.threshold) == ("other", 0.9)
    assert plan(with_default, router="other").threshold == 0.9


def test_the_default_policy_does_not_follow_to_another_router(with_default: Planner) -> None:
    found = plan(with_default, router="main")
    assert (found.name, found.threshold) == ("main", 0.5)


@pytest.mark.parametrize("rule", [{"threshold": 0.3}, {"strong_share": 0.7}])
def test_the_request_s_own_rule_outweighs_the_default_policy(with_default: Planner, rule: dict[str, float]) -> None:
    found = plan(with_default, **rule)
    assert found.name == "main"
    assert found.threshold == pytest.approx(0.3)


def test_a_policy_that_needs_a_table_that_is_not_there_is_a_configuration_error(
    fake_router: type[Any], make_planner: Callable[..., Planner]
) -> None:
    with pytest.raises(ConfigError, match=r"policies\.cheap\.strong_share: router 'raw' has no calibration table"):
        make_planner({"raw": fake_router(calibration=None)}, "policies: {cheap: {strong_share: 0.2}}")


# --- models -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "pair"),
    [
        ({}, ("big", "small")),
        ({"strong_model": "own-big"}, ("own-big", "small")),
        ({"weak_model": "own-small"}, ("big", "own-small")),
        ({"strong_model": "both", "weak_model": "own-small"}, ("both", "own-small")),
    ],
)
def test_a_request_may_name_any_model_that_its_router_can_score(
    planner: Planner, models: dict[str, str], pair: tuple[str, str]
) -> None:
    assert plan(planner, **models).models == ModelPair(*pair)


def test_naming_models_changes_neither_router_nor_threshold(planner: Planner) -> None:
    found = plan(planner, policy="all", strong_model="own-big")
    assert (found.name, found.threshold, found.models.strong) == ("main", 0.0, "own-big")


@pytest.mark.parametrize("side", ["strong", "weak"])
def test_an_unknown_model_is_refused_with_its_side_and_router(planner: Planner, side: str) -> None:
    error = refusal(planner, **{f"{side}_model": "bgi"})
    assert (error.reason, error.field) == (Reason.MODEL_NOT_FOUND, f"models.{side}")
    assert f"No {side} model of router 'main' is named 'bgi'" in error.message
    assert error.metadata[f"models_{side}"] == "bgi"


def test_a_pair_of_one_model_is_refused(planner: Planner) -> None:
    error = refusal(planner, strong_model="both", weak_model="both")
    assert (error.reason, error.field) == (Reason.MODELS_IDENTICAL, "models")


def test_planning_does_not_change_what_later_requests_get(planner: Planner) -> None:
    before = plan(planner)
    plan(planner, threshold=0.1, strong_model="own-big")
    assert plan(planner) == before


# --- thresholds that split nothing ---------------------------------------------------------------------------


def test_a_threshold_that_splits_nothing_is_warned_of_once(
    fake_router: type[Any], make_planner: Callable[..., Planner]
) -> None:
    planner = make_planner({"main": fake_router(), "raw": fake_router(calibration=None)}, "default_router: main")
    with structlog.testing.capture_logs() as logs:
        for threshold in (0.5, 0.0, 1.0, 0.2, 0.8):
            plan(planner, threshold=threshold)
        plan(planner, router="raw", threshold=0.001)
    assert logs == []
    with structlog.testing.capture_logs() as logs:
        for threshold in (0.001, 0.002, 0.999, 0.998):
            plan(planner, threshold=threshold)
    assert [(entry["log_level"], entry["router"], entry["model"]) for entry in logs] == [
        ("warning", "main", "strong"),
        ("warning", "main", "weak"),
    ]
    assert "a secret" not in str(logs)


def test_a_policy_that_splits_nothing_is_warned_of_at_the_start(
    fake_router: type[Any], make_planner: Callable[..., Planner]
) -> None:
    with structlog.testing.capture_logs() as logs:
        make_planner(
            {"main": fake_router()},
            "default_router: main\npolicies: {low: {threshold: 0.001}, fine: {threshold: 0.4}, all: {threshold: 0}}",
        )
    assert [entry["policy"] for entry in logs] == ["low"]
