"""The acquisition function: how promising a trial at a point is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smsweep.space.unit_cube import Array

LOW, HIGH, KNOTS = -40.0, 8.0, 9601  # of the table for log_expected_improvement
PRIOR_COUNT = 10.0  # observations with the same weight as the prior that the optimum is inside
SIDE_DENSITY = 0.1  # prior density at a side of the cube, relative to the middle


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Return log E[max(best - f, 0)] for a normal f, where lower values are better.

    The logarithm orders points also if their improvement is less than the smallest float.

    Args:
        mean: [n] means of f.
        deviation: [n] standard deviations of f.
        best: The value to improve on.

    Source: Ament et al., Unexpected Improvements to Expected Improvement, arXiv:2310.20708.
    """
    return np.log(deviation) + _log_h((best - mean) / deviation)


def log_belief_inside(points: Array, is_nominal: NDArray[np.bool_], n_observed: int) -> Array:
    """Return the log weight, up to a constant, of the prior that the optimum is not at a side of the cube.

    Users choose ranges around the values that they expect, but a model is least certain at the sides. Without the
    prior, a third of all early coordinates is at a side. The weight of the prior decreases with 1 / n_observed.

    Args:
        points: [n, d] points of the cube.
        is_nominal: [d] True for dimensions without an order.
        n_observed: The number of observations.

    Source: Hvarfner et al., piBO: Augmenting Acquisition Functions with User Beliefs, arXiv:2204.11051.
    """
    u = points[:, ~is_nominal]
    density = SIDE_DENSITY + (1.0 - SIDE_DENSITY) * 4.0 * u * (1.0 - u)
    log_weight: Array = (PRIOR_COUNT / n_observed) * np.log(density).sum(axis=1)
    return log_weight


def _log_h(u: Array) -> Array:
    """Return log(phi(u) + u * Phi(u)), with the normal density phi and its integral Phi."""
    inside = np.interp(u, _U, _LOG_H)
    tail = -0.5 * u * u - 0.5 * math.log(2 * math.pi) - 2.0 * np.log(np.maximum(-u, 1.0))
    return np.where(u < LOW, tail, np.where(u > HIGH, np.log(np.maximum(u, 1.0)), inside))


def _exact_log_h(u: float) -> float:
    if u > -5.0:
        return math.log(math.exp(-0.5 * u * u) / math.sqrt(2 * math.pi) + 0.5 * u * math.erfc(-u / math.sqrt(2)))
    # the two terms nearly cancel, so use the first terms of their asymptotic series
    v = u**-2
    return (
        -0.5 * u * u
        - 0.5 * math.log(2 * math.pi)
        + math.log(v * (1 - 3 * v + 15 * v**2 - 105 * v**3 + 945 * v**4))
    )


_U = np.linspace(LOW, HIGH, KNOTS)
_LOG_H = np.array([_exact_log_h(u) for u in _U.tolist()])
