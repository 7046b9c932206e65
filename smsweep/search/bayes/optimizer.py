"""A small quasi-Newton minimiser for smooth functions of about twelve variables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from smsweep.space.unit_cube import Array

LONGEST_STEP = 1.5  # in any variable; the variables are logarithms, so this is a factor of 4.5
ENOUGH = 1e-4  # minimum share of the gain that the slope predicts, to accept a step
SHORTER = 0.35  # factor for a step that is not accepted


def minimise(
    function: Callable[[Array], tuple[float, Array]],
    start: Array,
    inverse_hessian: Array,
    max_evaluations: int = 40,
    tolerance: float = 2e-3,
) -> tuple[Array, Array]:
    """Minimise a function by BFGS with backtracking.

    Args:
        function: Returns value and gradient at a point. The value can be inf, except at `start`.
        start: [n] the first point.
        inverse_hessian: [n, n] a positive definite estimate at `start`.
        max_evaluations: The maximum number of calls of the function.
        tolerance: The search ends when a step gains less than this.

    Returns:
        The best point, and the estimate of the inverse Hessian at that point.

    Source: Nocedal and Wright, Numerical Optimization, chapter 6.
    """
    x, (value, slope) = start, function(start)
    n_evaluations = 1
    while n_evaluations < max_evaluations:
        step = -inverse_hessian @ slope
        step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-12))
        next_value, next_slope = function(x + step)
        n_evaluations += 1
        while next_value > value + ENOUGH * float(slope @ step):
            if n_evaluations == max_evaluations:
                return x, inverse_hessian
            step = step * SHORTER
            next_value, next_slope = function(x + step)
            n_evaluations += 1
        gain, turn = value - next_value, next_slope - slope
        x, value, slope = x + step, next_value, next_slope
        inverse_hessian = _updated(inverse_hessian, step, turn)
        if gain < tolerance:
            break
    return x, inverse_hessian


def _updated(inverse_hessian: Array, step: Array, turn: Array) -> Array:
    """Return the inverse Hessian after the BFGS update for a step and its change of the gradient."""
    curvature = float(step @ turn)
    if curvature < 1e-10:
        return inverse_hessian
    swing = inverse_hessian @ turn
    stretch = (1.0 + float(turn @ swing) / curvature) / curvature
    return (
        inverse_hessian
        + stretch * np.outer(step, step)
        - (np.outer(swing, step) + np.outer(step, swing)) / curvature
    )
