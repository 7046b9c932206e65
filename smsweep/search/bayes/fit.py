"""Choosing the kernel and the noise: the most probable ones, given what was observed."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smsweep.search.bayes.kernel import SQRT5, Array, Kernel, gaps
from smsweep.search.bayes.minimise import minimise

JITTER = 1e-6  # added to every variance, so that equal points stay invertible


@dataclass(frozen=True, kw_only=True, slots=True)
class Priors:
    """Normal densities of logarithms. They fit any sweep: targets are standardised, the cube has edges of 1."""

    scale: float = -0.2  # mean of log scale
    shared: float = 1.0  # deviation of what all scales have in common: how wiggly the objective is
    own: float = 0.5  # deviation of each scale around that: how much more one parameter matters than another
    main: float = -0.7  # mean of log amplitude (square root of a variance) of the main effects
    joint: float = -0.3  # and of the interaction
    amplitude: float = 0.7  # deviation of both
    noise: float = -2.0  # mean of log noise deviation
    noise_spread: float = 1.2  # its deviation


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """What is learnt apart from the observations themselves."""

    kernel: Kernel
    noise: float  # variance of one observation around the objective


PRIORS = Priors()


def fit(x: Array, y: Array, doubt: Array, is_nominal: NDArray[np.bool_]) -> Model:
    """Return the model of the highest posterior density.

    x: [n, d] points of the cube, n >= 1. y: [n] standardised targets. doubt: [n] variances that are known
    beforehand, on top of the common noise. Recent answers are remembered, as the same data often serve several
    trials.
    """
    return _fit(x.shape, x.tobytes(), y.tobytes(), doubt.tobytes(), is_nominal.tobytes())


@functools.lru_cache(maxsize=16)
def _fit(shape: tuple[int, int], x: bytes, y: bytes, doubt: bytes, is_nominal: bytes) -> Model:
    density = _Density(
        np.frombuffer(x).reshape(shape),
        np.frombuffer(y),
        np.frombuffer(doubt),
        np.frombuffer(is_nominal, dtype=bool),
        PRIORS,
    )
    return _model(minimise(density, density.mean))


def _model(theta: Array) -> Model:
    """theta: logarithms of the scales, of both amplitudes and of the noise deviation."""
    scales, (main, joint, noise) = np.exp(theta[:-3]), np.exp(2.0 * theta[-3:])
    return Model(kernel=Kernel(scales=scales, main=float(main), joint=float(joint)), noise=float(noise))


class _Density:
    """Minus the log posterior density as a function of theta, with its gradient."""

    def __init__(self, x: Array, y: Array, doubt: Array, is_nominal: NDArray[np.bool_], priors: Priors) -> None:
        n, d = x.shape
        self._pairs = np.triu_indices(n, 1)  # the covariance is symmetric: half of it will do
        self._gaps = [gap[self._pairs] for gap in gaps(x, x, is_nominal)]
        self._y = y
        self._doubt = doubt
        self.mean = np.r_[np.full(d, priors.scale), priors.main, priors.joint, priors.noise]
        self._precision = np.diag(np.r_[np.zeros(d), [priors.amplitude**-2] * 2, priors.noise_spread**-2])
        # scales vary each on its own and all together
        self._precision[:d, :d] = np.linalg.inv(priors.own**2 * np.eye(d) + priors.shared**2)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        model, n, d = _model(theta), len(self._y), len(self._gaps)
        squares = [
            (gap * (1.0 / scale)) ** 2 for gap, scale in zip(self._gaps, model.kernel.scales.tolist(), strict=True)
        ]
        parts = [_matern_and_slope(square) for square in squares]
        main = sum(value for value, _ in parts) * (model.kernel.main / d)
        joint, joint_slope = _matern_and_slope(sum(squares) / d)
        joint, joint_slope = model.kernel.joint * joint, (model.kernel.joint / d) * joint_slope
        covariance = np.empty((n, n))
        covariance[self._pairs] = model.kernel.bias + main + joint
        covariance.T[self._pairs] = covariance[self._pairs]
        own_variance = model.noise + self._doubt + JITTER
        covariance.flat[:: n + 1] = model.kernel.variance + own_variance
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return math.inf, np.zeros_like(theta)
        inverse = np.linalg.inv(covariance)
        weights = inverse @ self._y
        off = theta - self.mean
        pull = self._precision @ off
        value = 0.5 * float(self._y @ weights) + float(np.log(factor.diagonal()).sum()) + 0.5 * float(off @ pull)

        # of the value by each covariance: half of this on the diagonal, and as much for either of a pair
        sensitivity = inverse - np.outer(weights, weights)
        alone, paired = float(sensitivity.trace()) / 2, sensitivity[self._pairs]
        gradient = np.empty_like(theta)
        for j, (square, (_, slope)) in enumerate(zip(squares, parts, strict=True)):
            # d square / d log scale = -2 square
            gradient[j] = -2.0 * float((((model.kernel.main / d) * slope + joint_slope) * square) @ paired)
        gradient[d] = 2.0 * (float(main @ paired) + model.kernel.main * alone)
        gradient[d + 1] = 2.0 * (float(joint @ paired) + model.kernel.joint * alone)
        gradient[d + 2] = 2.0 * model.noise * alone
        return value, gradient + pull


def _matern_and_slope(square: Array) -> tuple[Array, Array]:
    """Return the correlation at the squared distances, and its derivative by them."""
    t = SQRT5 * np.sqrt(square)
    decay = np.exp(-t)
    return (1.0 + t + t * t / 3.0) * decay, (-5.0 / 6.0) * (1.0 + t) * decay
