"""A small quasi-Newton minimiser for smooth functions of a dozen variables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LONGEST_STEP = 1.5  # in any variable; ours are logarithms, so a factor of 4.5


def minimise(
    function: Callable[[Array], tuple[float, Array]],
    start: Array,
    max_evaluations: int = 60,
    tolerance: float = 1e-4,
) -> Array:
    """Return the best point found from start by BFGS with backtracking.

    function: point -> (value, gradient); may give inf where it is undefined, but not at start.
    tolerance: ends once a step gains less.
    Source: Nocedal and Wright, Numerical Optimization, chapter 6.
    """
    x, (value, slope) = start, function(start)
    inverse_hessian = np.eye(len(x)) / max(1.0, 2.0 * float(np.abs(slope).max()))
    is_fresh = True
    evaluations = 1
    while evaluations < max_evaluations:
        step = -inverse_hessian @ slope
        step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-12))
        descent = float(slope @ step)
        shrink = 1.0
        while evaluations < max_evaluations:
            next_value, next_slope = function(x + shrink * step)
            evaluations += 1
            if next_value <= value + 1e-4 * shrink * descent:
                break
            shrink *= 0.35
        else:
            return x
        gain = value - next_value
        moved, turned = shrink * step, next_slope - slope
        x, value, slope = x + moved, next_value, next_slope
        if gain < tolerance:
            return x
        curvature = float(moved @ turned)
        if curvature > 1e-10:
            if is_fresh:
                inverse_hessian = np.eye(len(x)) * curvature / float(turned @ turned)
                is_fresh = False
            swing = inverse_hessian @ turned
            inverse_hessian = (
                inverse_hessian
                + (1.0 + float(turned @ swing) / curvature) * np.outer(moved, moved) / curvature
                - (np.outer(swing, moved) + np.outer(moved, swing)) / curvature
            )
    return x
