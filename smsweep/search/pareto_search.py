"""Search for the Pareto front of several metrics: each trial improves its own mixture of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from smsweep.core.learning_curve import first_spread
from smsweep.core.objective import outcome
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, MetricStats, Params, Trial
from smsweep.errors import SpaceError
from smsweep.search.bayes.observations import EXTREME
from smsweep.search.bayes.search import BayesSearch
from smsweep.space.belief import Belief
from smsweep.space.space import SearchSpace
from smsweep.space.unit_cube import Array

MIXTURE = Metric(name="\0mixture")  # the metric that the Bayesian search minimises
OUTLYING = 10.0  # values farther from the best than this multiple of the median distance are outliers
RHO = 0.05  # weight of the plain weighted sum, which separates weakly dominated points


class ParetoSearch:
    """Minimises another mixture of the metrics for each trial, with a Bayesian search.

    The weights of trial number N depend only on (seed, N). Values are scaled to the range of the values so far,
    without outliers, so that diverged trainings do not compress the other values. The mixture is such that each
    point of the front is the best point of some mixture, also if the front is not convex. A trial that lacks a
    metric counts as the worst.

    Args:
        space: The parameters.
        metrics: Two or more metrics.
        seed: The seed of all draws.
        beliefs: Name of a parameter, nested names joined by dots -> where its best values are expected.
        constraints: The outcome constraints that the trials of the front must meet.

    Raises:
        SpaceError: There are fewer than two metrics.

    Source: ParEGO, Knowles 2006, doi:10.1109/TEVC.2005.851274.
    """

    def __init__(
        self,
        space: SearchSpace,
        metrics: Sequence[Metric],
        seed: int = 0,
        beliefs: Mapping[str, Belief] | None = None,
        constraints: Sequence[str] = (),
    ) -> None:
        if len(metrics) < 2:
            raise SpaceError(
                "a search for a front needs two metrics or more; for one, use metric and method bayes"
            )
        self._metrics = metrics
        self._seed = seed
        self._bayes = BayesSearch(space, MIXTURE, seed, beliefs=beliefs, constraints=constraints)

    def suggest(self, history: History, n: int) -> list[Params]:
        trials, n_prior = [*history.prior, *history], len(history.prior)
        marks = self._marks(trials)
        suggested: list[Params] = []
        for number in range(history.next_number, history.next_number + n):
            begun = (Trial(number=history.next_number + i, params=params) for i, params in enumerate(suggested))
            weights = np.random.default_rng([self._seed, number, 1]).dirichlet(np.ones(len(self._metrics)))
            mixed = [_mixed(trial, mark, weights) for trial, mark in zip(trials, marks, strict=True)]
            view = History([*mixed[n_prior:], *begun], prior=mixed[:n_prior])
            view.next_number = number  # also if the last trials were removed
            suggested += self._bayes.suggest(view, 1)
        return suggested

    def _marks(self, trials: Sequence[Trial]) -> list[Array | None]:
        """Return each trial's distance from the best, by metric; None if it has not ended or lacks a metric."""
        outcomes = [outcome(trial, self._metrics) if trial.state.is_terminal else None for trial in trials]
        ended = [numbers for numbers in outcomes if numbers is not None]
        columns = np.clip(np.array(ended).reshape(-1, len(self._metrics)), -EXTREME, EXTREME).T
        marks = iter(np.array([_distances(values) for values in columns if len(values)]).T)
        return [next(marks) if numbers is not None else None for numbers in outcomes]


def _distances(values: Array) -> Array:
    """Return the scaled distance of each value from the best: 1 for the worst, logarithmic for outliers."""
    distances = values - values.min()
    usual = distances[distances <= OUTLYING * np.median(distances)]
    shares: Array = distances / first_spread((float(usual.max()), float(distances.max())), float(values.min()))
    shares[shares > 1.0] = 1.0 + np.log(shares[shares > 1.0])
    return shares


def _mixed(trial: Trial, mark: Array | None, weights: Array) -> Trial:
    """Return the trial with the mixture as a further metric."""
    if mark is None:
        return replace(trial, curve=())
    parts = weights * mark
    value = float(parts.max() + RHO * parts.sum())
    return replace(trial, metrics={**trial.metrics, MIXTURE.name: MetricStats().add(value)}, curve=())
