"""The probability that params meet the outcome constraints: one Gaussian process per constraint.

A process models the distance of a metric from the limit of its constraint, compressed for large distances. The
acquisition multiplies the expected improvement by the probability that all constraints hold.

Source: Gardner et al., Bayesian Optimization with Inequality Constraints, 2014.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from smsweep.core.condition import ENDED, Condition, parse_outcome_constraint, value_of_constraint
from smsweep.core.trial import History, Trial
from smsweep.search.bayes.gaussian_process import Posterior, fit
from smsweep.search.bayes.observations import EXTREME, N_START
from smsweep.space.unit_cube import Array, Cube

MIN_KNOWN = 3  # trials with a value before the search uses a constraint
MAX_FITTED = 90  # trials with a value that a model uses: the nearest to the limit, because they determine it
REFIT = 10  # the kernel is chosen again after so many more trials
LOW, HIGH, KNOTS = -30.0, 8.0, 4001  # of the table for the logarithm of the normal distribution
_X = np.linspace(LOW, HIGH, KNOTS)
_LOG_CDF = np.array([math.log(0.5 * math.erfc(-x / math.sqrt(2.0))) for x in _X.tolist()])


class FeasibilityModel:
    """Tracks the values of constrained metrics. An update costs as much as the changed trials.

    Args:
        constraints: The texts of the constraints.
        cube: The cube of the params.
    """

    def __init__(self, constraints: Sequence[str], cube: Cube) -> None:
        self._models = [_Model(parse_outcome_constraint(text), cube) for text in constraints]

    def follow(self, history: History) -> None:
        """Read the changes of the history since the last call; read all trials of another history."""
        for model in self._models:
            model.follow(history)

    def violating(self) -> set[bytes]:
        """Return the points, as bytes, of the trials that violate a constraint."""
        return {point.tobytes() for model in self._models for point in model.violating()}

    def log_probability(self) -> Callable[[Array], Array]:
        """Return the function that maps [n, d] points to the log probability that they meet all constraints."""
        known = [each for model in self._models if (each := model.predictor()) is not None]

        def total(points: Array) -> Array:
            return sum((each(points) for each in known), np.zeros(len(points)))

        return total


class _Model:
    """The values of the metric of one constraint."""

    def __init__(self, constraint: Condition, cube: Cube) -> None:
        assert constraint.bound is not None
        comparison, self._limit = constraint.bound
        self._sign = 1.0 if comparison.startswith("<") else -1.0
        self._constraint = constraint
        self._cube = cube
        self._history: History | None = None

    def follow(self, history: History) -> None:
        if history is not self._history:
            self._history, self._cursor = history, 0
            # number -> point, excess over the limit, True if the constraint is met
            self._known: dict[int, tuple[Array, float, bool]] = {}
            for i, trial in enumerate(history.prior):
                self._read(-1 - i, trial)
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            self._read(number, history.get(number))

    def _read(self, number: int, trial: Trial | None) -> None:
        self._known.pop(number, None)
        if trial is None or trial.state not in ENDED:
            return
        value = value_of_constraint(trial, self._constraint)
        if value is not None:
            excess = min(max(self._sign * (value - self._limit), -EXTREME), EXTREME)
            is_met = self._constraint.is_true_of(value)
            self._known[number] = self._cube.encode(trial.params)[0], excess, is_met

    def violating(self) -> list[Array]:
        return [point for point, _, is_met in self._known.values() if not is_met]

    def predictor(self) -> Callable[[Array], Array] | None:
        if len(self._known) < MIN_KNOWN:
            return None
        numbers = sorted(self._known)
        excesses = np.array([self._known[number][1] for number in numbers])
        first = np.abs(excesses[:N_START])  # later trials are near the limit, and the unit must not shrink
        unit = float(np.median(first)) or float(first.max()) or 1.0
        chosen = np.sort(np.argsort(np.abs(excesses), kind="stable")[:MAX_FITTED])
        points = np.array([self._known[numbers[i]][0] for i in chosen.tolist()])
        scaled = excesses[chosen] / unit
        y = np.sign(scaled) * np.log1p(np.abs(scaled))
        n, nothing = max(len(chosen) - len(chosen) % REFIT, MIN_KNOWN), np.zeros(len(chosen))
        model = fit(points[:n], y[:n], nothing[:n], self._cube.is_nominal).likeliest()
        posterior = Posterior(model, points, y, nothing, self._cube.is_nominal)

        def log_probability(at: Array) -> Array:
            mean, deviation = posterior.predict(at)
            return _log_cdf(-mean / deviation)

        return log_probability


def _log_cdf(x: Array) -> Array:
    """Return log Phi(x) of the standard normal distribution."""
    far = np.minimum(x, LOW)
    tail = -0.5 * far * far - np.log(-far) - 0.5 * math.log(2.0 * math.pi)
    inside: Array = np.where(x < LOW, tail, np.interp(x, _X, _LOG_CDF))
    return inside
