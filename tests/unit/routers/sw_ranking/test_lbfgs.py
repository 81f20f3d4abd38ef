"""The optimiser against SciPy's: the same points, at the same place to stop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from routing_service.routers.sw_ranking import lbfgs

Vector = npt.NDArray[np.float64]


def rosenbrock(x: Vector) -> tuple[float, Vector]:
    """A curved valley: steps are refused, intervals narrowed and widened."""
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    gradient[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()), gradient


def quartic(x: Vector) -> tuple[float, Vector]:
    """Flat at its minimum."""
    scales = np.arange(1.0, len(x) + 1)
    return float((scales * x**4).sum()), 4 * scales * x**3


def wavy(x: Vector) -> tuple[float, Vector]:
    """Many local minima, so that a first step may pass several."""
    return float((np.cos(3 * x) + 0.1 * x**2).sum()), -3 * np.sin(3 * x) + 0.2 * x


def kinked(x: Vector) -> tuple[float, Vector]:
    """Nearly a sum of absolute values, whose slope says nothing of where the minimum is: intervals are bisected."""
    lengths, scales = np.sqrt(1e-6 + x**2), np.arange(1.0, len(x) + 1)
    return float((scales * lengths).sum()), scales * x / lengths


@pytest.mark.parametrize("iterations", [1, 2, 5, 12, 25, 100])
@pytest.mark.parametrize("objective", [rosenbrock, quartic, wavy, kinked])
def test_it_follows_scipy(objective: Callable[[Vector], tuple[float, Vector]], iterations: int) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="the extra `train` is not installed")
    for seed in range(12):
        start = np.random.default_rng(seed).uniform(-3, 3, 6)
        # After many steps in a curved valley, differences of rounding grow; the minimum is still the same.
        tolerance = 1e-6 if iterations <= 12 else 2e-4
        ours = lbfgs.minimize(objective, start, gradient_tolerance=1e-4, max_iterations=iterations)
        theirs = optimize.minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps},
        ).x
        assert ours == pytest.approx(theirs, abs=tolerance)


def test_it_stays_where_the_gradient_is_small() -> None:
    start = np.array([1.0, 1.0])
    assert lbfgs.minimize(rosenbrock, start, gradient_tolerance=1e-4, max_iterations=100).tolist() == [1.0, 1.0]


def test_it_gives_up_where_no_step_decreases_the_function() -> None:
    """A gradient that points the wrong way."""
    start = np.array([1.0])
    found = lbfgs.minimize(lambda x: (float(x @ x), -2 * x), start, gradient_tolerance=1e-4, max_iterations=100)
    assert found.tolist() == [1.0]


def test_the_start_is_left_alone() -> None:
    start = np.array([-1.0, 2.0])
    lbfgs.minimize(rosenbrock, start, gradient_tolerance=1e-4, max_iterations=100)
    assert start.tolist() == [-1.0, 2.0]
