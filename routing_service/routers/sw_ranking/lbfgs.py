"""L-BFGS with the Moré-Thuente line search, for functions of few variables: stops where SciPy's L-BFGS-B stops.

RouteLLM takes its ratings from scikit-learn, which uses SciPy's L-BFGS-B with a loose tolerance. Where it
stops is up to 0.0005 of win rate away from the maximum-likelihood solution (measured), which is more than the
allowed difference here. So this follows its path: the same start, steps, conditions and constants, for the case
without bounds. Serving does not depend on SciPy.

Sources: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4 (the direction); Byrd, Lu, Nocedal and
Zhu, "A limited memory algorithm for bound constrained optimization", 1995 (first step, skipped updates, when to
stop); Moré and Thuente, "Line search algorithms with guaranteed sufficient decrease", 1994 (the step length).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Objective = Callable[[Vector], tuple[float, Vector]]

MEMORY = 10  # stored pairs of steps and gradient changes: SciPy's default
MAX_EVALUATIONS = 50  # in one line search: scikit-learn's `maxls`
EPSILON = float(np.finfo(np.float64).eps)
VALUE_TOLERANCE = 64 * EPSILON  # scikit-learn's `ftol`

SUFFICIENT_DECREASE = 1e-3
CURVATURE = 0.9
INTERVAL_TOLERANCE = 0.1
MAX_STEP = 1e10
WIDTH_SHRINK = 0.66  # an interval that shrinks less than this in two steps is bisected
EXTRAPOLATION = (1.1, 4.0)


def minimize(objective: Objective, start: Vector, *, gradient_tolerance: float, max_iterations: int) -> Vector:
    """Minimize a smooth function without bounds.

    Args:
        objective: gives the value and the gradient, float64 of shape (variables,), at a point.
        start: where to begin, float64 of shape (variables,).
        gradient_tolerance: stop once no component of the gradient is larger than this.
        max_iterations: stop after this many line searches.

    Returns:
        The last point. It is finite if the function and its gradient are.
    """
    point = start.copy()
    value, gradient = objective(point)
    steps: list[Vector] = []
    changes: list[Vector] = []
    for iteration in range(max_iterations):
        if np.abs(gradient).max() <= gradient_tolerance:
            break
        direction = -_apply_inverse_hessian(gradient, steps, changes)
        first = 1.0 if iteration else min(1.0 / math.sqrt(direction @ direction), MAX_STEP)
        found = _search(objective, point, value, gradient, direction, first)
        if found is None:
            if not steps:
                break
            steps.clear()
            changes.clear()
            continue
        slope, new_slope = float(gradient @ direction), float(found.gradient @ direction)
        if (new_slope - slope) * found.step > -EPSILON * slope * found.step:
            steps.append(found.step * direction)
            changes.append(found.gradient - gradient)
            del steps[:-MEMORY], changes[:-MEMORY]
        decrease, scale = value - found.value, max(abs(value), abs(found.value), 1.0)
        point, value, gradient = found.point, found.value, found.gradient
        if decrease <= VALUE_TOLERANCE * scale:
            break
    return point


def _apply_inverse_hessian(gradient: Vector, steps: list[Vector], changes: list[Vector]) -> Vector:
    """The two-loop recursion: the approximate inverse Hessian times the gradient."""
    if not steps:
        return gradient
    result = gradient.copy()
    curvatures = [1.0 / float(s @ y) for s, y in zip(steps, changes, strict=True)]
    weights = []
    for s, y, rho in zip(reversed(steps), reversed(changes), reversed(curvatures), strict=True):
        weight = rho * float(s @ result)
        weights.append(weight)
        result -= weight * y
    result *= 1.0 / (curvatures[-1] * float(changes[-1] @ changes[-1]))
    for s, y, rho, weight in zip(steps, changes, curvatures, reversed(weights), strict=True):
        result += (weight - rho * float(y @ result)) * s
    return result


@dataclass(slots=True)
class _Accepted:
    """Where a line search ended."""

    step: float
    point: Vector
    value: float
    gradient: Vector


@dataclass(slots=True)
class _Trial:
    """A step length, and the function's value and slope there."""

    step: float
    value: float
    slope: float

    def tilted(self, slope: float) -> _Trial:
        """The same trial of the function less a line of that slope."""
        return _Trial(self.step, self.value - self.step * slope, self.slope - slope)


def _search(
    objective: Objective, origin: Vector, value: float, gradient: Vector, direction: Vector, first: float
) -> _Accepted | None:
    """Find a step that satisfies the strong Wolfe conditions; None if there is none within the limits."""
    start = _Trial(0.0, value, float(gradient @ direction))
    if start.slope >= 0:
        return None
    best, other = start, start  # the ends of the interval; `best` has the lowest value met
    bracketed, first_stage = False, True
    required = SUFFICIENT_DECREASE * start.slope
    width, last_width = MAX_STEP, 2 * MAX_STEP
    low, high = 0.0, first + EXTRAPOLATION[1] * first
    step = first
    for _ in range(MAX_EVALUATIONS):
        point = origin + step * direction
        value, gradient = objective(point)
        trial = _Trial(step, value, float(gradient @ direction))
        limit = start.value + step * required
        decreased = value <= limit
        if first_stage and decreased and trial.slope >= 0:
            first_stage = False
        exhausted = bracketed and (not low < step < high or high - low <= INTERVAL_TOLERANCE * high)
        unbounded = step == MAX_STEP and decreased and trial.slope <= required
        if exhausted or unbounded or (decreased and abs(trial.slope) <= -CURVATURE * start.slope):
            return _Accepted(step, point, value, gradient)
        # Until a step decreases the function enough, an interval for the tilted function has a minimizer that does.
        tilt = required if first_stage and not decreased and value <= best.value else 0.0
        step, best, other, bracketed = _next_step(best, other, trial, bracketed, low, high, tilt)
        if bracketed:
            if abs(other.step - best.step) >= WIDTH_SHRINK * last_width:
                step = best.step + 0.5 * (other.step - best.step)
            last_width, width = width, abs(other.step - best.step)
            low, high = sorted((best.step, other.step))
        else:
            low, high = (step + factor * (step - best.step) for factor in EXTRAPOLATION)
        step = min(max(step, 0.0), MAX_STEP)
        if bracketed and (not low < step < high or high - low <= INTERVAL_TOLERANCE * high):
            step = best.step
    return None


def _next_step(
    best: _Trial, other: _Trial, trial: _Trial, bracketed: bool, low: float, high: float, tilt: float
) -> tuple[float, _Trial, _Trial, bool]:
    """The next step to try, the new interval, and whether it contains a minimizer (Moré and Thuente, section 4)."""
    a, b, c = best.tilted(tilt), other.tilted(tilt), trial.tilted(tilt)
    opposite = c.slope * math.copysign(1.0, a.slope) < 0
    if c.value > a.value:
        bracketed = True
        cubic, quadratic = _cubic(a, c), _quadratic(a, c)
        near = abs(cubic - a.step) < abs(quadratic - a.step)
        step = cubic if near else cubic + (quadratic - cubic) / 2
        return step, best, trial, bracketed
    if opposite:
        bracketed = True
        cubic, secant = _cubic(c, a), _secant(c, a)
        step = cubic if abs(cubic - c.step) > abs(secant - c.step) else secant
        return step, trial, best, bracketed
    if abs(c.slope) < abs(a.slope):
        cubic, secant = _cubic_beyond(a, c, low, high), _secant(c, a)
        nearer = abs(cubic - c.step) < abs(secant - c.step)
        if bracketed:
            step = cubic if nearer else secant
            fence = c.step + WIDTH_SHRINK * (b.step - c.step)
            step = min(fence, step) if c.step > a.step else max(fence, step)
        else:
            step = min(max(secant if nearer else cubic, low), high)
        return step, trial, other, bracketed
    end = high if c.step > a.step else low
    step = _cubic(c, b) if bracketed else end
    return step, trial, other, bracketed


def _cubic(a: _Trial, b: _Trial) -> float:
    """The minimizer of the cubic through both values and slopes, written from `a`."""
    theta, gamma = _cubic_terms(a, b)
    if b.step < a.step:
        gamma = -gamma
    ratio = (gamma - a.slope + theta) / (gamma - a.slope + gamma + b.slope)
    return a.step + ratio * (b.step - a.step)


def _cubic_beyond(a: _Trial, c: _Trial, low: float, high: float) -> float:
    """As `_cubic` from `c`, or the end of the interval if the cubic has no minimizer on the far side of `c`."""
    theta, gamma = _cubic_terms(a, c)
    if c.step > a.step:
        gamma = -gamma
    denominator = gamma + (a.slope - c.slope) + gamma
    ratio = (gamma - c.slope + theta) / denominator if denominator else 0.0
    if ratio < 0 and gamma != 0:
        return c.step + ratio * (a.step - c.step)
    return high if c.step > a.step else low


def _cubic_terms(a: _Trial, b: _Trial) -> tuple[float, float]:
    theta = 3 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope
    scale = max(abs(theta), abs(a.slope), abs(b.slope))
    return theta, scale * math.sqrt(max(0.0, (theta / scale) ** 2 - (a.slope / scale) * (b.slope / scale)))


def _quadratic(a: _Trial, b: _Trial) -> float:
    """The minimizer of the parabola through both values and the slope at `a`."""
    ratio = a.slope / ((a.value - b.value) / (b.step - a.step) + a.slope) / 2
    return a.step + ratio * (b.step - a.step)


def _secant(a: _Trial, b: _Trial) -> float:
    """The minimizer of the parabola through both slopes, written from `a`."""
    return a.step + a.slope / (a.slope - b.slope) * (b.step - a.step)
