"""What a trial at some point promises."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smsweep.space.unit_cube import Array

LOW, HIGH, KNOTS = -40.0, 8.0, 9601  # of the table behind log_expected_improvement
FAITH = 10.0  # observations that weigh as much as the belief that the optimum lies inside
AT_THE_SIDE = 0.1  # how likely it is at a side of the cube, compared with the middle


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Return log E[max(best - f, 0)] where f is normal with that mean and deviation, lower being better.

    The logarithm keeps an order among points whose improvement is far below the smallest float.
    Source: Ament et al., Unexpected Improvements to Expected Improvement, arXiv:2310.20708.
    """
    return np.log(deviation) + _log_h((best - mean) / deviation)


def log_belief_inside(points: Array, is_nominal: NDArray[np.bool_], n_observed: int) -> Array:
    """Return, up to a constant, the log weight of the belief that the optimum is not at a side of the cube.

    Users choose ranges around what they expect, while a model is least certain at the sides: left alone, it puts a
    third of all early coordinates there. The belief fades with 1 / n_observed, and what was seen decides.
    Source: Hvarfner et al., piBO: Augmenting Acquisition Functions with User Beliefs, arXiv:2204.11051.
    """
    u = points[:, ~is_nominal]
    density = AT_THE_SIDE + (1.0 - AT_THE_SIDE) * 4.0 * u * (1.0 - u)
    log_weight: Array = (FAITH / n_observed) * np.log(density).sum(axis=1)
    return log_weight


def _log_h(u: Array) -> Array:
    """Return log(phi(u) + u * Phi(u)), phi and Phi being the normal density and its integral."""
    inside = np.interp(u, _U, _LOG_H)
    tail = -0.5 * u * u - 0.5 * math.log(2 * math.pi) - 2.0 * np.log(np.maximum(-u, 1.0))
    return np.where(u < LOW, tail, np.where(u > HIGH, np.log(np.maximum(u, 1.0)), inside))


def _exact_log_h(u: float) -> float:
    if u > -5.0:
        return math.log(math.exp(-0.5 * u * u) / math.sqrt(2 * math.pi) + 0.5 * u * math.erfc(-u / math.sqrt(2)))
    # the two terms nearly cancel: take the first terms of their asymptotic series
    v = u**-2
    return (
        -0.5 * u * u
        - 0.5 * math.log(2 * math.pi)
        + math.log(v * (1 - 3 * v + 15 * v**2 - 105 * v**3 + 945 * v**4))
    )


_U = np.linspace(LOW, HIGH, KNOTS)
_LOG_H = np.array([_exact_log_h(u) for u in _U.tolist()])
