"""Objectives as targets of a model, in two views that the search alternates.

A Gaussian process needs targets that are roughly normal. Objectives are not normal: a diverged training can be a
thousand times worse than the rest, and late in a search only a small range of good values matters. Each view is a
monotone map that keeps the good values in proportion and compresses the bad values. One view alone converges too
slowly, the other too early.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from smsweep.core.learning_curve import first_spread
from smsweep.search.bayes.observations import Observations
from smsweep.space.unit_cube import Array

View = Callable[[Array], Array]  # values of complete trainings by trial, lower is better -> targets

N_START = 10  # values that set the unit of by_distance
FAR = 8.0  # a target beyond which values are compressed again, thousands of units from the best
UNKNOWN = 1.0  # variance of a target without a forecast


def by_distance(values: Array) -> Array:
    """Return the distance from the best value, linear up to one unit and logarithmic beyond.

    The unit is the median distance of the first values. Beyond FAR, the map is logarithmic again, because models
    do not fit targets of hundreds. The unit does not shrink during the search, so that this view keeps the
    global structure of the objective.
    """
    best = float(values.min())
    usual = max(float(np.median(values[:N_START])), float(np.median(values)))
    unit = first_spread((usual - best, float(values.max()) - best), best)
    target = _compressed((values - best) / unit)
    return FAR * _compressed(target / FAR) - 0.8


def by_rank(values: Array) -> Array:
    """Return the better half standardised around the median, and the normal scores of the worse half's ranks.

    The unit shrinks with the spread of the better half, so that this view resolves ever smaller differences.
    """
    median = float(np.median(values))
    is_better = values <= median
    spread = math.sqrt(float(np.mean((values[is_better] - median) ** 2)))
    unit = first_spread((spread, float(values.max()) - median), median)
    linear = (values - median) / unit
    scores = np.empty_like(values)
    scores[np.argsort(values, kind="stable")] = [
        NormalDist().inv_cdf((rank + 0.5) / len(values)) for rank in range(len(values))
    ]
    return np.where(is_better, linear, np.minimum(linear, scores))


VIEWS: tuple[View, ...] = (by_distance, by_rank)


def targets(observations: Observations, view: View) -> tuple[Array, Array]:
    """Return a target for each observation, and its extra variance.

    The values that set the scale define the view. The other values are interpolated between them, so that no
    target is better than the best or worse than the worst.
    """
    values, spreads = observations.values, observations.spreads
    scale = values[observations.sets_scale]
    scale_targets = view(scale)
    order = np.argsort(scale, kind="stable")

    def interpolate(others: Array) -> Array:
        between = np.interp(others, scale[order], scale_targets[order])
        # two values that differ by the smallest float have an infinite slope between them
        return np.clip(between, scale_targets.min(), scale_targets.max())

    y = interpolate(values)
    y[observations.sets_scale] = scale_targets
    is_unknown = np.isinf(spreads)
    finite = np.where(is_unknown, 0.0, spreads)
    width = (interpolate(values + finite) - interpolate(values - finite)) / 2.0
    return y, np.where(is_unknown, UNKNOWN, width**2)


def _compressed(x: Array) -> Array:
    """Return x up to 1, and 1 + log(x) beyond."""
    return np.where(x > 1.0, 1.0 + np.log(np.maximum(x, 1.0)), x)
