"""What a training that is not over will come to, judged by the learning curves of whole trainings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smsweep.space.unit_cube import Array, gaps, matern

MIN_WHOLE = 2  # whole trainings, longer than the one to forecast, before there is anything to go by
MAX_WHOLE = 60  # of them that are used: the better half, and an even choice of the others
FARTHEST = 200.0  # on the yardstick, which is logarithmic there

# What is believed before any curve was seen, in units of the noise around a forecast.
USUAL = np.array([0.0, 0.9, -0.5, 0.0])  # of a curve's features: most of where it is, less by how fast it came
UNUSUAL = np.array([3.0, 1.0, 3.0, 3.0])  # deviations of these
SHAPE = 3.0  # variance of what the curve's shape does beyond that, for each unit of what the params do
SHAPE_SCALES = (1.0, 0.7, 0.7)  # over which the features make a difference
PARAMS_SCALE = 0.7  # and each coordinate of the cube
TRUSTS = (0.3, 3.0, 30.0)  # how much shape and params may say, as a ratio to noise; the curves tell which is right
NOISE = 0.4  # deviation around a forecast, as a first guess
FAITH = 1.5  # observations, halved, that the guess is worth


class Course(Protocol):
    """One training as far as it went; of values, lower is better. Of many, few are asked for their point."""

    @property
    def point(self) -> Array:
        """Where its params lie in the cube."""

    @property
    def best(self) -> Array:
        """After each point of its curve, the best so far."""

    @property
    def end(self) -> float:
        """The objective; only a whole training's is used."""


def first_spread(spreads: Sequence[float], value: float) -> float:
    """Return the first spread that is more than rounding of the value; 1 where all values are as good as equal."""
    return next((spread for spread in spreads if spread > max(1e-12 * abs(value), 1e-200)), 1.0)


class Yardstick:
    """Measures values from the best whole training, in units of how far the median one is from it.

    Of how far the worst is, where half of them are as good as the best. Logarithmic beyond one unit, so that a
    training that diverges is not all that can be seen.
    """

    def __init__(self, ends: Array) -> None:
        """ends: of whole trainings, at least one."""
        self._best = float(ends.min())
        spreads = (float(np.median(ends)) - self._best, float(ends.max()) - self._best)
        self._unit = first_spread(spreads, self._best)

    def mark(self, values: Array) -> Array:
        distance = (values - self._best) / self._unit
        return np.where(distance > 1.0, 1.0 + np.log(np.maximum(distance, 1.0)), np.maximum(distance, -1.0))

    def value(self, marks: Array) -> Array:
        """Return what lies at the marks; undoes `mark`."""
        beyond = np.exp(np.clip(marks - 1.0, 0.0, FARTHEST))
        return self._best + self._unit * np.where(marks > 1.0, beyond, marks)


class Forecaster:
    """A regression from how trainings began, and with which params, to how they ended.

    A Gaussian process: linear in where a curve is and how fast it came there, and free to deviate with the shape
    of the curve and, one parameter at a time, with the params. So a slow learner is expected to go on as slow
    learners did, and one whose like was never seen to the end is in doubt. The scale of it all is unknown and
    integrated out, the weight of shape and params chosen by how well it explains the whole trainings.
    Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, sections 2.7 and 5.4; the question
    is that of Domhan et al., Speeding up Automatic Hyperparameter Optimization of Deep Neural Networks by
    Extrapolation of Learning Curves, IJCAI 2015.
    """

    def __init__(self, whole: Sequence[Course], is_nominal: NDArray[np.bool_]) -> None:
        """whole: trainings that went to their end, at least one. is_nominal: of the cube's dimensions."""
        self._whole = whole
        self._is_nominal = is_nominal
        self.yardstick = Yardstick(np.array([course.end for course in whole]))

    def __call__(self, begun: Sequence[Course]) -> tuple[Array, Array]:
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
            if len(longer) >= MIN_WHOLE:
                which = np.flatnonzero(lengths == length)
                mean[which], deviation[which] = self._regression(
                    longer, [begun[i] for i in which.tolist()], length
                )
        return np.minimum(mean, now), deviation

    def _regression(self, whole: Sequence[Course], begun: Sequence[Course], length: int) -> tuple[Array, Array]:
        known, asked = self._features(whole, length), self._features(begun, length)
        points, places = (np.array([course.point for course in courses]) for courses in (whole, begun))
        off = self.yardstick.mark(np.array([course.end for course in whole])) - known @ USUAL
        linear, linear_asked = (known * UNUSUAL**2) @ known.T, (known * UNUSUAL**2) @ asked.T
        free, free_asked = (
            self._likeness(known, points, known, points),
            self._likeness(known, points, asked, places),
        )
        own, n = ((asked * UNUSUAL) ** 2).sum(axis=1), len(whole)
        plausible, means, variances = [], [], []
        for trust in TRUSTS:
            factor = np.linalg.cholesky(linear + trust * free + np.eye(n))
            whitener = np.linalg.inv(factor)
            surprise, cross = whitener @ off, whitener @ (linear_asked + trust * free_asked)
            faith = FAITH + n / 2.0
            scale = (FAITH * NOISE**2 + 0.5 * float(surprise @ surprise)) / faith  # of the noise variance
            plausible.append(-faith * math.log(scale) - float(np.log(factor.diagonal()).sum()))
            means.append(asked @ USUAL + cross.T @ surprise)
            variances.append(scale * (1.0 + own + trust * (1.0 + SHAPE) - (cross**2).sum(axis=0)))
        weights = np.exp(np.array(plausible) - max(plausible))
        weights /= weights.sum()
        mean = weights @ np.array(means)
        spread: Array = np.sqrt(weights @ (np.array(variances) + (np.array(means) - mean) ** 2))
        return mean, spread

    def _features(self, courses: Sequence[Course], length: int) -> Array:
        """Return [n, 4]: one, where each is after so many points, its gain in the last two thirds, and third."""
        cuts = [length, max(length // 3, 1), max(2 * length // 3, 1)]
        here, *before = (
            self.yardstick.mark(np.array([course.best[cut - 1] for course in courses])) for cut in cuts
        )
        return np.stack([np.ones(len(courses)), here, *(earlier - here for earlier in before)], axis=1)

    def _likeness(self, a: Array, a_points: Array, b: Array, b_points: Array) -> Array:
        """Return how alike two beginnings are by shape and params, at most 1 + SHAPE."""
        square = np.zeros((len(a), len(b)))
        for j, scale in enumerate(SHAPE_SCALES, 1):
            square += ((a[:, j, None] - b[:, j]) / scale) ** 2
        alike = SHAPE * matern(np.sqrt(square), square)
        d = a_points.shape[1]
        for gap in gaps(a_points, b_points, self._is_nominal):
            r = gap / PARAMS_SCALE
            alike += matern(r, r * r) / d
        return alike


def _spread(whole: Sequence[Course]) -> Sequence[Course]:
    if len(whole) <= MAX_WHOLE:
        return whole
    order = np.argsort([course.end for course in whole], kind="stable")
    n_best = MAX_WHOLE // 2
    rest = np.linspace(n_best, len(order) - 1, MAX_WHOLE - n_best).astype(int)
    return [whole[i] for i in (*order[:n_best], *order[rest])]
