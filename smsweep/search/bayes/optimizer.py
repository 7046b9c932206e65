"""A small quasi-Newton minimiser for smooth functions of a dozen variables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from smsweep.space.unit_cube import Array

LONGEST_STEP = 1.5  # in any variable; ours are logarithms, so a factor of 4.5
ENOUGH = 1e-4  # of the gain that the slope promises, for a step to be taken
SHORTER = 0.35  # by so much when it is not


def minimise(
    function: Callable[[Array], tuple[float, Array]],
    start: Array,
    inverse_hessian: Array,
    max_evaluations: int = 40,
    tolerance: float = 2e-3,
) -> tuple[Array, Array]:
    """Return the best point found by BFGS with backtracking, and the inverse Hessian there as far as known.

    function: point -> (value, gradient); its value may be inf, but not at start. inverse_hessian: a positive
    definite guess of it at start. tolerance: the search ends once a step gains less.
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
        inverse_hessian = _learnt(inverse_hessian, step, turn)
        if gain < tolerance:
            break
    return x, inverse_hessian


def _learnt(inverse_hessian: Array, step: Array, turn: Array) -> Array:
    """Return the inverse Hessian as corrected by how far the gradient turned over a step."""
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
