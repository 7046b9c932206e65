"""Objectives as targets of a model: two views of them, which the search takes by turns.

A Gaussian process expects targets of one scale, roughly normal. Objectives are not: one diverged training is a
thousand times worse than the rest, and late in a search all that matters happens in a sliver at the good end.
Each view is a monotone map that keeps the good end in proportion and compresses the bad. Alone, one is slow to
close in and the other closes in too soon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from smsweep.core.learning_curve import first_spread
from smsweep.search.bayes.observations import Observations
from smsweep.space.unit_cube import Array

View = Callable[[Array], Array]  # whole values in order of trial, lower is better -> targets

N_START = 10  # values that set the unit of by_distance
FAR = 8.0  # a target that is as good as infinite, some thousand units from the best
UNSURE = 1.0  # variance of a target of which next to nothing is known


def by_distance(values: Array) -> Array:
    """Measure from the best, in units of how far the first few are from it; linear up to 1, logarithmic beyond.

    Beyond FAR logarithmic once more: no model fits targets of hundreds, and all that counts there is to be bad.
    The unit stays while the search closes in: sees the whole landscape, however long it has dwelt in one valley.
    """
    best = float(values.min())
    usual = max(float(np.median(values[:N_START])), float(np.median(values)))
    unit = first_spread((usual - best, float(values.max()) - best), best)
    target = _eased((values - best) / unit)
    return FAR * _eased(target / FAR) - 0.8


def by_rank(values: Array) -> Array:
    """Standardise the better half around the median; give the worse half the normal scores of its ranks.

    The unit shrinks with the spread of the better half: zooms in as the search closes in.
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
    """Return a target for each observation and the variance by which it is in doubt.

    The view is made from the values that set the scale. All others are read off it between them, and so are never
    better than the best nor worse than the worst.
    """
    values, spreads = observations.values, observations.spreads
    scale = values[observations.sets_scale]
    scale_targets = view(scale)
    order = np.argsort(scale, kind="stable")

    def read(others: Array) -> Array:
        read_off = np.interp(others, scale[order], scale_targets[order])
        # the slope between two values that only the smallest floats tell apart is infinite
        return np.clip(read_off, scale_targets.min(), scale_targets.max())

    y = read(values)
    y[observations.sets_scale] = scale_targets
    is_blind = np.isinf(spreads)
    finite = np.where(is_blind, 0.0, spreads)
    width = (read(values + finite) - read(values - finite)) / 2.0
    return y, np.where(is_blind, UNSURE, width**2)


def _eased(x: Array) -> Array:
    """Return x up to 1, and 1 plus its logarithm beyond."""
    return np.where(x > 1.0, 1.0 + np.log(np.maximum(x, 1.0)), x)
