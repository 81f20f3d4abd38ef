"""The model's gradients, its optimiser, its temperature, against definitions and against torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_lab.training.mf.fit import MIN_SLOPE, best_slope
from routing_lab.training.mf.model import (
    Adam,
    Battles,
    Parameters,
    cross_entropy,
    gradients,
    logit_differences,
    sigmoid,
)

MODELS, HIDDEN, DIMENSION, BATTLES = 5, 4, 7, 30


def chance(seed: int = 0) -> tuple[Parameters, np.ndarray, Battles]:
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(MODELS, HIDDEN, DIMENSION, rng)
    embeddings = rng.standard_normal((BATTLES, DIMENSION)).astype(np.float32)
    a = rng.integers(0, MODELS, BATTLES)
    b = (a + rng.integers(1, MODELS, BATTLES)) % MODELS
    outcomes = rng.choice([0.0, 0.5, 0.75, 1.0], BATTLES).astype(np.float32)
    return parameters, embeddings, Battles(np.arange(BATTLES), a, b, outcomes, np.ones(BATTLES))


def test_the_logit_is_routellm_s() -> None:
    """classifier(normalize(P[a]) * text_proj(e)) - the same of b."""
    parameters, embeddings, battles = chance()
    unit = parameters.models / np.linalg.norm(parameters.models, axis=1, keepdims=True)
    projected = embeddings @ parameters.projection.T
    wanted = ((unit[battles.a] - unit[battles.b]) * projected) @ parameters.classifier
    found = logit_differences(parameters.directions(), embeddings, battles)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_gradients_are_those_of_the_loss() -> None:
    parameters, embeddings, battles = chance()
    found = gradients(parameters, embeddings, battles.a, battles.b, battles.outcomes).as_dict()

    def loss() -> float:
        return cross_entropy(logit_differences(parameters.directions(), embeddings, battles), battles)

    for name, value in parameters.as_dict().items():
        for place in np.ndindex(value.shape):
            before, step = value[place], np.float32(1e-2)
            value[place] = before + step
            above = loss()
            value[place] = before - step
            below = loss()
            value[place] = before
            assert found[name][place] == pytest.approx((above - below) / (2 * step), abs=2e-4), (name, place)


def test_a_training_step_is_torch_s() -> None:
    torch = pytest.importorskip("torch", reason="the extra `export` is not installed")
    parameters, embeddings, battles = chance(3)
    weights = {name: torch.tensor(value.copy(), requires_grad=True) for name, value in parameters.as_dict().items()}
    theirs = torch.optim.Adam(weights.values(), lr=0.01, weight_decay=1e-3)
    ours = Adam(parameters, 0.01, 1e-3)
    for _ in range(5):
        ours.update(parameters, gradients(parameters, embeddings, battles.a, battles.b, battles.outcomes))
        unit = torch.nn.functional.normalize(weights["models"], dim=1)
        projected = torch.tensor(embeddings) @ weights["projection"].T
        logits = ((unit[battles.a] - unit[battles.b]) * projected) @ weights["classifier"]
        theirs.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(battles.outcomes)).backward()
        theirs.step()
    for name, value in parameters.as_dict().items():
        np.testing.assert_allclose(value, weights[name].detach().numpy(), atol=2e-5, err_msg=name)


def waves(*shape: int, step: float) -> np.ndarray:
    return np.asarray(np.cos(np.arange(np.prod(shape)) * step + step), np.float32).reshape(shape)


def test_three_steps_are_those_of_routellm_s_own_training() -> None:
    """Against what RouteLLM 0.2.0's `train_loops` made of the same weights, embeddings and battles, without noise."""
    parameters = Parameters(waves(3, 3, step=0.7), waves(3, 5, step=1.1), waves(3, step=0.9))
    embeddings, adam = waves(4, 5, step=1.3), Adam(parameters, 0.01, 1e-5)
    winners, losers, won = np.array([0, 1, 2, 1]), np.array([1, 2, 0, 2]), np.ones(4, np.float32)
    battles = Battles(np.arange(4), winners, losers, won, np.ones(4))
    losses = []
    for _ in range(3):
        losses.append(cross_entropy(logit_differences(parameters.directions(), embeddings, battles), battles))
        adam.update(parameters, gradients(parameters, embeddings, winners, losers, won))
    np.testing.assert_allclose(losses, [1.5968976, 1.5402825, 1.4858088], rtol=1e-5)
    models = [[0.794618, 0.139955, -0.475027], [-0.972146, -0.966388, -0.460289], [0.156543, 0.805542, 0.969849]]
    projection = [
        [0.483582, -0.558536, -0.957537, -0.337302, 0.67871],
        [0.920283, 0.123429, -0.841035, -0.859245, 0.03437],
        [0.863249, 0.775926, -0.192072, -0.922995, -0.672439],
    ]
    np.testing.assert_allclose(parameters.models, models, atol=1e-5)
    np.testing.assert_allclose(parameters.projection, projection, atol=1e-5)
    np.testing.assert_allclose(parameters.classifier, [0.59168, -0.197248, -0.874119], atol=1e-5)


def test_the_reverse_of_a_battle_teaches_the_same() -> None:
    parameters, embeddings, battles = chance()
    forward = gradients(parameters, embeddings, battles.a, battles.b, battles.outcomes).as_dict()
    backward = gradients(parameters, embeddings, battles.b, battles.a, 1 - battles.outcomes).as_dict()
    for name, value in forward.items():
        np.testing.assert_allclose(value, backward[name], atol=1e-6, err_msg=name)


@given(st.floats(0.01, 50), st.integers(0, 100))
def test_the_best_slope_recovers_the_temperature(slope: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = rng.standard_normal(500)
    outcomes = np.asarray(sigmoid(true.astype(np.float32)))
    battles = Battles(np.arange(500), np.zeros(500, int), np.ones(500, int), outcomes, rng.uniform(0.1, 2, 500))
    assert best_slope(true / slope, battles) == pytest.approx(slope, rel=1e-3)


def test_log_odds_that_say_the_reverse_are_trusted_least() -> None:
    _, _, battles = chance()
    logits = np.where(battles.outcomes > 0.5, -1.0, 1.0)
    assert best_slope(logits, battles) == MIN_SLOPE
    assert best_slope(np.zeros(BATTLES), battles) > 0


def test_weights_weigh() -> None:
    _, _, battles = chance()
    doubled = replace(battles, weights=np.where(np.arange(BATTLES) < 10, 2.0, 1.0))
    again = battles.take(np.concatenate([np.arange(BATTLES), np.arange(10)]))
    logits = np.linspace(-1, 1, BATTLES)
    assert cross_entropy(logits, doubled) == pytest.approx(cross_entropy(logits[again.prompts], again))
