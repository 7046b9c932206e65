"""A Gaussian process: its kernel, the fit of its hyperparameters, and the posterior of the objective.

The covariance at two points has main effects plus an interaction, both Matérn 5/2. A small quasi-Newton
minimiser for about twelve variables finds the hyperparameters.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smsweep.space.unit_cube import SQRT5, Array, Kinds, gaps, matern

SMALL = 32  # rows of a triangle that is inverted without halving
JITTER = 1e-6  # added to each variance, so that the matrix stays invertible with equal points
CHUNK = 128  # points per batch: their distances to all observations fit the cache of a core
LONGEST_STEP = 1.5  # in any variable; the variables are logarithms, so this is a factor of 4.5
ENOUGH = 1e-4  # minimum share of the gain that the slope predicts, to accept a step
SHORTER = 0.35  # factor for a step that is not accepted


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Kernel:
    """k(x, x') = bias + main * mean_j m(r_j) + joint * m(r), r_j = |x_j - x'_j| / scale_j, r^2 = mean_j r_j^2.

    m is the Matérn 5/2 correlation, for an objective that is twice differentiable. The main effects model each
    parameter by itself, which needs few trials. The interaction models the joint effect. Both use one scale per
    parameter (automatic relevance determination). r is a mean and not a sum, so that a scale means the same in two
    dimensions and in twenty.

    Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, chapters 4 and 5; Duvenaud et al.,
    Additive Gaussian Processes, arXiv:1112.4394.
    """

    scales: Array  # [d], above 0, in units of the cube's edge
    main: float  # variance of the main effects together
    joint: float  # variance of the interaction
    bias: float = 1.0  # variance of the unknown mean

    @property
    def variance(self) -> float:
        """The variance of the objective at one point."""
        return self.bias + self.main + self.joint

    def __call__(self, gaps: Iterable[Array]) -> Array:
        """Return covariances of pairs of points. gaps: the distances of the pairs, one array per dimension."""
        main, square = np.zeros(1), np.zeros(1)
        for gap, scale in zip(gaps, self.scales.tolist(), strict=True):
            r = gap * (1.0 / scale)
            r_square = r * r
            main = main + matern(r, r_square)
            square = square + r_square
        d = len(self.scales)
        square = square / d
        return self.bias + (self.main / d) * main + self.joint * matern(np.sqrt(square), square)


@dataclass(frozen=True, kw_only=True, slots=True)
class Priors:
    """Normal densities of logarithms, for all sweeps: targets are standardised, and the cube has edges of 1."""

    scale: float = -0.2  # mean of log scale
    shared: float = 1.0  # standard deviation of the common part of all scales: how fast the objective varies
    own: float = 0.5  # standard deviation of each scale around it: how much the importance of parameters differs
    main: float = -0.7  # mean of log amplitude (square root of a variance) of the main effects
    joint: float = -0.3  # the same for the interaction
    amplitude: float = 0.7  # standard deviation of both
    noise: float = -2.0  # mean of the log standard deviation of the noise
    noise_spread: float = 1.2  # its standard deviation


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """The fitted kernel and noise."""

    kernel: Kernel
    noise: float  # variance of an observation around the objective


PRIORS = Priors()
INFORMATION = 1 / 160  # rough curvature that each observation adds
SKETCH = 40  # observations, evenly spread over the ranks, for a first approximate fit
SKETCH_FACTOR = 1.5  # use a sketch for more than this many times SKETCH observations
FINE, COARSE = 3e-3, 3e-2  # gain in log density below which the search for the best theta ends
MAX_DISTANCE = 6.0  # of a logarithm from its mean: floats cannot distinguish models beyond
MAX_VARIANCE = 0.5  # of a drawn logarithm, which limits the effect of a poor estimate


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Likely:
    """The posterior of the models: Laplace's approximation, a normal density over logarithms."""

    best: Array  # theta with the highest density
    covariance: Array  # of theta

    def likeliest(self) -> Model:
        """Return the model with the highest density."""
        return _model(self.best)

    def draw(self, rng: np.random.Generator) -> Model:
        """Return a model that is drawn from the posterior.

        Many models explain few observations equally well, so the best model alone is overconfident. The search
        draws another model for each trial.
        """
        variances, axes = np.linalg.eigh((self.covariance + self.covariance.T) / 2.0)
        steps = np.sqrt(np.clip(variances, 0.0, MAX_VARIANCE)) * rng.standard_normal(len(variances))
        return _model(self.best + axes @ steps)


def fit(x: Array, y: Array, doubt: Array, kinds: Kinds) -> Likely:
    """Return the posterior of the models.

    Recent results are cached, because several trials often use the same data.

    Args:
        x: [n, d] points of the cube, n >= 1.
        y: [n] standardised targets.
        doubt: [n] known variances, in addition to the common noise.
        kinds: [d] how each dimension measures distances, see `gaps`.
    """
    return _fit(x.shape, x.tobytes(), y.tobytes(), doubt.tobytes(), kinds.tobytes())


@functools.lru_cache(maxsize=16)
def _fit(shape: tuple[int, int], x: bytes, y: bytes, doubt: bytes, kinds: bytes) -> Likely:
    points, targets, doubts = np.frombuffer(x).reshape(shape), np.frombuffer(y), np.frombuffer(doubt)
    each_kind = np.frombuffer(kinds, dtype=np.int8)
    n = shape[0]
    start, inverse_hessian = None, None
    if n > SKETCH_FACTOR * SKETCH:
        # a few of the observations give a good start at a tenth of the cost
        few = np.sort(np.argsort(targets, kind="stable")[np.linspace(0, n - 1, SKETCH).astype(np.intp)])
        sketch = _Density(points[few], targets[few], doubts[few], each_kind, PRIORS)
        start, inverse_hessian = minimise(sketch, sketch.mean, sketch.guess, tolerance=FINE)
        inverse_hessian = inverse_hessian * math.sqrt(SKETCH / n)
    density = _Density(points, targets, doubts, each_kind, PRIORS)
    best, covariance = minimise(
        density,
        density.mean if start is None else start,
        density.guess if inverse_hessian is None else inverse_hessian,
        tolerance=COARSE if inverse_hessian is not None else FINE,
    )
    return Likely(best=best, covariance=covariance)


def _model(theta: Array) -> Model:
    """Return a model. theta: logarithms of the scales, both amplitudes and the noise's standard deviation."""
    scales, (main, joint, noise) = np.exp(theta[:-3]), np.exp(2.0 * theta[-3:])
    return Model(kernel=Kernel(scales=scales, main=float(main), joint=float(joint)), noise=float(noise))


class _Density:
    """The negative log posterior density as a function of theta, with its gradient."""

    def __init__(self, x: Array, y: Array, doubt: Array, kinds: Kinds, priors: Priors) -> None:
        n, d = x.shape
        rows, columns = np.triu_indices(n, 1)  # the covariance is symmetric: half of it is enough
        self._above, self._below = rows * n + columns, columns * n + rows  # the index of each pair in it
        self._gaps = np.array([gap.take(self._above) for gap in gaps(x, x, kinds)])
        self._rows, self._columns = rows, columns
        self._y = y
        self._doubt = doubt
        self.mean = np.r_[np.full(d, priors.scale), priors.main, priors.joint, priors.noise]
        self.precision = np.diag(np.r_[np.zeros(d), [priors.amplitude**-2] * 2, priors.noise_spread**-2])
        # scales vary separately and together
        self.precision[:d, :d] = np.linalg.inv(priors.own**2 * np.eye(d) + priors.shared**2)
        # a first estimate of the covariance of theta
        self.guess: Array = np.linalg.inv(self.precision + INFORMATION * n * np.eye(d + 3))

    def __call__(self, theta: Array) -> tuple[float, Array]:
        off = theta - self.mean
        if np.abs(off).max() > MAX_DISTANCE:
            return math.inf, np.zeros_like(theta)
        model, n, d = _model(theta), len(self._y), len(self._gaps)
        kernel = model.kernel
        r = self._gaps * (1.0 / kernel.scales)[:, None]
        squares = r * r
        correlations, rates = _matern_and_rate(r, squares)
        main = correlations.sum(axis=0) * (kernel.main / d)
        square = squares.sum(axis=0) / d
        joint, joint_rate = _matern_and_rate(np.sqrt(square), square)
        joint *= kernel.joint
        covariance = np.empty((n, n))
        cells = covariance.reshape(-1)
        cells[self._above] = cells[self._below] = kernel.bias + main + joint
        cells[:: n + 1] = kernel.variance + model.noise + self._doubt + JITTER
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return math.inf, np.zeros_like(theta)
        whitener = inverse_of_factor(factor)
        inverse = whitener.T @ whitener
        weights = inverse @ self._y
        pull = self.precision @ off
        value = 0.5 * float(self._y @ weights) + float(np.log(factor.diagonal()).sum()) + 0.5 * float(off @ pull)

        # derivative of the value by each covariance: half of it on the diagonal, because a pair has two entries
        paired = inverse.take(self._above) - weights.take(self._rows) * weights.take(self._columns)
        alone = 0.5 * float(inverse.trace() - weights @ weights)
        gradient = np.empty_like(theta)
        # d r^2 / d log scale = -2 r^2
        by_main, by_joint = (rates * squares) @ paired, squares @ (joint_rate * paired)
        gradient[:d] = (-2.0 / d) * (kernel.main * by_main + kernel.joint * by_joint)
        gradient[d] = 2.0 * (float(main @ paired) + kernel.main * alone)
        gradient[d + 1] = 2.0 * (float(joint @ paired) + kernel.joint * alone)
        gradient[d + 2] = 2.0 * model.noise * alone
        return value, gradient + pull


def inverse_of_factor(factor: NDArray[np.floating]) -> Array:
    """Return the inverse of a lower triangle, by halving: as exact as solving, and several times as fast."""
    n = len(factor)
    if n <= SMALL:
        inverse: Array = np.tril(np.linalg.inv(factor))
        return inverse
    half = n // 2
    inverse = np.zeros_like(factor)
    inverse[:half, :half] = inverse_of_factor(factor[:half, :half])
    inverse[half:, half:] = inverse_of_factor(factor[half:, half:])
    inverse[half:, :half] = -inverse[half:, half:] @ (factor[half:, :half] @ inverse[:half, :half])
    return inverse


def _matern_and_rate(r: Array, square: Array) -> tuple[Array, Array]:
    """Return the Matérn 5/2 correlation at the distances r, and its derivative by their squares."""
    t = SQRT5 * r
    decay = np.exp(-t)
    slope = (1.0 + t) * decay
    return slope + (5.0 / 3.0) * square * decay, (-5.0 / 6.0) * slope


class Posterior:
    """A Gaussian process conditioned on observations. Source: Rasmussen and Williams, algorithm 2.1."""

    def __init__(self, model: Model, x: Array, y: Array, doubt: Array, kinds: Kinds) -> None:
        self._model = model
        self._x = x
        self._kinds = kinds
        covariance = model.kernel(gaps(x, x, kinds))
        covariance.flat[:: len(x) + 1] += model.noise + doubt + JITTER
        # the inverse of the factor makes the prediction of many batches cheaper
        self._whitener = inverse_of_factor(np.linalg.cholesky(covariance))
        self._weights = self._whitener.T @ (self._whitener @ y)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the objective without noise at [n, d] points."""
        mean, variance = np.empty(len(points)), np.full(len(points), self._model.kernel.variance)
        for start in range(0, len(points), CHUNK):
            chunk = slice(start, start + CHUNK)
            cross = self._model.kernel(gaps(self._x, points[chunk], self._kinds))
            mean[chunk] = self._weights @ cross
            variance[chunk] -= ((self._whitener @ cross) ** 2).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, 1e-10))

    def believing(self, points: Array) -> Posterior:
        """Return the posterior after an observation of the mean at each point, for pending trials.

        The means do not change. The uncertainty near the points decreases.
        """
        kernel, n, m = self._model.kernel, len(self._x), len(points)
        shared = self._whitener @ kernel(gaps(self._x, points, self._kinds))
        own = kernel(gaps(points, points, self._kinds)) - shared.T @ shared
        own.flat[:: m + 1] += self._model.noise + JITTER
        # the factor grows by the rows [shared', factor of own], its inverse by the corresponding ones
        corner = inverse_of_factor(np.linalg.cholesky(own))
        wider = copy.copy(self)
        wider._x = np.vstack([self._x, points])
        wider._whitener = np.zeros((n + m, n + m))
        wider._whitener[:n, :n] = self._whitener
        wider._whitener[n:, :n] = -corner @ shared.T @ self._whitener
        wider._whitener[n:, n:] = corner
        # an observation equal to the mean has no weight
        wider._weights = np.r_[self._weights, np.zeros(m)]
        return wider


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
