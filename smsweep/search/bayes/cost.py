"""The predicted cost of a trial, so that the search can prefer cheap trials.

A second Gaussian process models the logarithm of the cost. The acquisition divides the expected improvement by
the predicted cost to the power of a weight. The weight decreases from 1 to 0 while the budget is spent, because
the end of a search must reach the best params, also if they are expensive.

Source: Lee, Perrone, Archambeau and Seeger, Cost-aware Bayesian Optimization, arXiv:2003.10870.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from smsweep.core.budget import SearchCost
from smsweep.core.trial import History, Trial, TrialState, is_number
from smsweep.search.bayes.gaussian_process import Posterior, fit
from smsweep.space.unit_cube import Array, Cube

MIN_KNOWN = 5  # trials with a cost before the search uses costs
MAX_FITTED = 90  # newest trials with a cost that the model uses
REFIT = 10  # the kernel is chosen again after so many more trials


class CostModel:
    """Tracks the costs of a history. An update costs as much as the changed trials."""

    def __init__(self, cost: SearchCost, cube: Cube) -> None:
        self._cost = cost
        self._cube = cube
        self._history: History | None = None

    def follow(self, history: History) -> None:
        """Read the changes of the history since the last call; read all trials of another history."""
        if history is not self._history:
            self._history, self._cursor = history, 0
            self._known: dict[int, tuple[Array, float]] = {}  # number -> point and logarithm of the cost
            self._spent: dict[int, float] = {}
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            trial = history.get(number)
            value = _cost_of(trial, self._cost.unit)
            self._spent[number] = value
            self._known.pop(number, None)
            if trial is not None and trial.state is TrialState.FINISHED and value > 0.0:
                self._known[number] = self._cube.encode(trial.params)[0], float(np.log(value))

    def weight(self, number: int) -> float:
        """Return the weight of the cost for the trial of that number, from 1 at the start to 0 at the end."""
        shares = [0.0]
        if self._cost.horizon:
            shares.append(sum(self._spent.values()) / self._cost.horizon)
        if self._cost.n_trials:
            shares.append(number / self._cost.n_trials)
        return max(1.0 - max(shares), 0.0) if len(self._known) >= MIN_KNOWN else 0.0

    def predictor(self) -> Callable[[Array], Array]:
        """Return the function that maps [n, d] points to their expected log cost, up to a constant."""
        numbers = sorted(self._known)[-MAX_FITTED:]
        settled = numbers[: max(len(numbers) - len(self._known) % REFIT, MIN_KNOWN)]
        points = np.array([self._known[number][0] for number in numbers])
        logs = np.array([self._known[number][1] for number in numbers])
        unit = float(logs.std()) or 1.0
        y = (logs - logs.mean()) / unit
        n, nothing = len(settled), np.zeros(len(numbers))
        model = fit(points[:n], y[:n], nothing[:n], self._cube.kinds).likeliest()
        posterior = Posterior(model, points, y, nothing, self._cube.kinds)
        return lambda at: posterior.predict(at)[0] * unit


def _cost_of(trial: Trial | None, unit: str) -> float:
    value = trial.usage.get(unit) if trial is not None else None
    return float(value) if is_number(value) else 0.0
