"""The posterior distribution of the objective, given the model and the observations."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from smsweep.search.bayes.fit import JITTER, Model, inverse_of_factor
from smsweep.space.unit_cube import Array, gaps

CHUNK = 128  # points per batch: their distances to all observations fit the cache of a core


class Posterior:
    """A Gaussian process conditioned on observations. Source: Rasmussen and Williams, algorithm 2.1."""

    def __init__(self, model: Model, x: Array, y: Array, doubt: Array, is_nominal: NDArray[np.bool_]) -> None:
        self._model = model
        self._x = x
        self._is_nominal = is_nominal
        covariance = model.kernel(gaps(x, x, is_nominal))
        covariance.flat[:: len(x) + 1] += model.noise + doubt + JITTER
        # the inverse of the factor makes the prediction of many batches cheaper
        self._whitener = inverse_of_factor(np.linalg.cholesky(covariance))
        self._weights = self._whitener.T @ (self._whitener @ y)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the objective without noise at [n, d] points."""
        mean, variance = np.empty(len(points)), np.full(len(points), self._model.kernel.variance)
        for start in range(0, len(points), CHUNK):
            chunk = slice(start, start + CHUNK)
            cross = self._model.kernel(gaps(self._x, points[chunk], self._is_nominal))
            mean[chunk] = self._weights @ cross
            variance[chunk] -= ((self._whitener @ cross) ** 2).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, 1e-10))

    def believing(self, points: Array) -> Posterior:
        """Return the posterior after an observation of the mean at each point, for pending trials.

        The means do not change. The uncertainty near the points decreases.
        """
        kernel, n, m = self._model.kernel, len(self._x), len(points)
        shared = self._whitener @ kernel(gaps(self._x, points, self._is_nominal))
        own = kernel(gaps(points, points, self._is_nominal)) - shared.T @ shared
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
