"""Forecasts the final value of a running training from the learning curves of complete trainings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from smsweep.space.unit_cube import Array, Kinds, gaps, matern

MIN_COMPLETE = 2  # complete trainings, longer than the running one, that a forecast needs
MAX_COMPLETE = 60  # complete trainings that are used: the better half, and an even selection of the others
MAX_MARK = 200.0  # on the scale, which is logarithmic there

# The prior of the regression, in units of the noise of a forecast.
PRIOR_MEAN = np.array([0.0, 0.9, -0.5, 0.0])  # of the weights of a curve's features
PRIOR_DEVIATION = np.array([3.0, 1.0, 3.0, 3.0])  # standard deviations of these weights
SHAPE = 3.0  # variance explained by the shape of the curve, relative to that of the params
SHAPE_SCALES = (1.0, 0.7, 0.7)  # length scales of the features
PARAMS_SCALE = 0.7  # length scale of each coordinate of the unit cube
SIGNAL_RATIOS = (0.3, 3.0, 30.0)  # candidate ratios of signal to noise; the complete curves weight them
NOISE = 0.4  # prior standard deviation of a forecast
NOISE_SHAPE = 1.5  # shape of the prior of the noise variance: half the number of observations it counts for


class TrainingCurve(Protocol):
    """The curve of one training so far. Lower values are better."""

    @property
    def point(self) -> Array:
        """The params, as a point in the unit cube."""

    @property
    def best(self) -> Array:
        """The best value so far, after each point of the curve."""

    @property
    def end(self) -> float:
        """The objective. It is used only for a complete training."""


def first_spread(spreads: Sequence[float], value: float) -> float:
    """Return the first spread that is larger than the rounding error of the value; 1 if none is."""
    return next((spread for spread in spreads if spread > max(1e-12 * abs(value), 1e-200)), 1.0)


class ValueScale:
    """A scale for values: 0 is the best complete training, 1 is the median one.

    If half of the trainings are as good as the best, 1 is the worst one. Above 1 the scale is logarithmic, so
    that a diverged training does not hide the differences between the others.
    """

    def __init__(self, ends: Array) -> None:
        """Make the scale.

        Args:
            ends: Final values of complete trainings, at least one.
        """
        self._best = float(ends.min())
        spreads = (float(np.median(ends)) - self._best, float(ends.max()) - self._best)
        self._unit = first_spread(spreads, self._best)

    def mark(self, values: Array) -> Array:
        """Return the marks of values on the scale."""
        distance = (values - self._best) / self._unit
        return np.where(distance > 1.0, 1.0 + np.log(np.maximum(distance, 1.0)), np.maximum(distance, -1.0))

    def value(self, marks: Array) -> Array:
        """Return the values of marks, the inverse of `mark`."""
        beyond = np.exp(np.clip(marks - 1.0, 0.0, MAX_MARK))
        return self._best + self._unit * np.where(marks > 1.0, beyond, marks)


class Forecaster:
    """Predicts the final value of a training from the begin of its curve and its params.

    The model is a Gaussian process. Its mean is linear in the current value and in the gains so far. Its kernel
    compares the shapes of curves, and the params, one parameter at a time. So a slow training is predicted like
    earlier slow trainings, and a training unlike all others has a wide prediction. The noise variance is
    integrated out, and the ratios of signal to noise are weighted by their evidence.

    Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, sections 2.7 and 5.4; Domhan et al.,
    Speeding up Automatic Hyperparameter Optimization of Deep Neural Networks by Extrapolation of Learning Curves,
    IJCAI 2015.
    """

    def __init__(self, whole: Sequence[TrainingCurve], kinds: Kinds) -> None:
        """Make the model.

        Args:
            whole: Complete trainings, at least one.
            kinds: How each dimension of the unit cube measures distances, see `gaps`.
        """
        self._whole = whole
        self._kinds = kinds
        self.yardstick = ValueScale(np.array([course.end for course in whole]))

    def __call__(self, begun: Sequence[TrainingCurve]) -> tuple[Array, Array]:
        """Return the marks at which trainings will end, and their deviations, on the yardstick.

        Never worse than they are. Where too few whole trainings are as long, a training is taken as it is, with
        an infinite deviation.
        """
        now = self.yardstick.mark(
            np.array([course.best[-1] if len(course.best) else course.end for course in begun])
        )
        mean, deviation = now.copy(), np.full(len(begun), np.inf)
        lengths = np.array([len(course.best) for course in begun], dtype=int)
        for length in sorted(set(lengths.tolist()) - {0}):
            longer = _spread([course for course in self._whole if len(course.best) > length])
            if len(longer) >= MIN_COMPLETE:
                which = np.flatnonzero(lengths == length)
                mean[which], deviation[which] = self._regression(
                    longer, [begun[i] for i in which.tolist()], length
                )
        return np.minimum(mean, now), deviation

    def _regression(
        self, whole: Sequence[TrainingCurve], begun: Sequence[TrainingCurve], length: int
    ) -> tuple[Array, Array]:
        known, query = self._features(whole, length), self._features(begun, length)
        points, places = (np.array([course.point for course in courses]) for courses in (whole, begun))
        off = self.yardstick.mark(np.array([course.end for course in whole])) - known @ PRIOR_MEAN
        linear, linear_query = (known * PRIOR_DEVIATION**2) @ known.T, (known * PRIOR_DEVIATION**2) @ query.T
        free, free_query = (
            self._likeness(known, points, known, points),
            self._likeness(known, points, query, places),
        )
        own, n = ((query * PRIOR_DEVIATION) ** 2).sum(axis=1), len(whole)
        plausible, means, variances = [], [], []
        for trust in SIGNAL_RATIOS:
            factor = np.linalg.cholesky(linear + trust * free + np.eye(n))
            whitener = np.linalg.inv(factor)
            surprise, cross = whitener @ off, whitener @ (linear_query + trust * free_query)
            faith = NOISE_SHAPE + n / 2.0
            scale = (NOISE_SHAPE * NOISE**2 + 0.5 * float(surprise @ surprise)) / faith  # of the noise variance
            plausible.append(-faith * math.log(scale) - float(np.log(factor.diagonal()).sum()))
            means.append(query @ PRIOR_MEAN + cross.T @ surprise)
            variances.append(scale * (1.0 + own + trust * (1.0 + SHAPE) - (cross**2).sum(axis=0)))
        weights = np.exp(np.array(plausible) - max(plausible))
        weights /= weights.sum()
        mean = weights @ np.array(means)
        spread: Array = np.sqrt(weights @ (np.array(variances) + (np.array(means) - mean) ** 2))
        return mean, spread

    def _features(self, courses: Sequence[TrainingCurve], length: int) -> Array:
        """Return [n, 4]: one, where each is after so many points, its gain in the last two thirds, and third."""
        cuts = [length, max(length // 3, 1), max(2 * length // 3, 1)]
        latest, *before = (
            self.yardstick.mark(np.array([course.best[cut - 1] for course in courses])) for cut in cuts
        )
        return np.stack([np.ones(len(courses)), latest, *(earlier - latest for earlier in before)], axis=1)

    def _likeness(self, a: Array, a_points: Array, b: Array, b_points: Array) -> Array:
        """Return the similarity of curves by shape and params, at most 1 + SHAPE."""
        square = np.zeros((len(a), len(b)))
        for j, scale in enumerate(SHAPE_SCALES, 1):
            square += ((a[:, j, None] - b[:, j]) / scale) ** 2
        alike = SHAPE * matern(np.sqrt(square), square)
        d = a_points.shape[1]
        for gap in gaps(a_points, b_points, self._kinds):
            r = gap / PARAMS_SCALE
            alike += matern(r, r * r) / d
        return alike


def _spread(whole: Sequence[TrainingCurve]) -> Sequence[TrainingCurve]:
    if len(whole) <= MAX_COMPLETE:
        return whole
    order = np.argsort([course.end for course in whole], kind="stable")
    n_best = MAX_COMPLETE // 2
    rest = np.linspace(n_best, len(order) - 1, MAX_COMPLETE - n_best).astype(int)
    return [whole[i] for i in (*order[:n_best], *order[rest])]
