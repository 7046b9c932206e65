"""Search for the front of several metrics: each trial improves on its own mixture of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smsweep.core.learning_curve import first_spread
from smsweep.core.pareto import outcome
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, MetricStats, Params, Trial
from smsweep.errors import SpaceError
from smsweep.search.bayes.evidence import EXTREME
from smsweep.search.bayes.search import BayesSearch
from smsweep.space.space import SearchSpace
from smsweep.space.unit_cube import Array

MIXTURE = Metric(name="mixture")  # what the bayes search is told to make smaller
OUTLYING = 10.0  # times as far from the best as the median is
RHO = 0.05  # share of the plain weighted sum, which tells weakly dominated points apart


class ParetoSearch:
    """Lets a bayes search minimise, for each trial, another mixture of the metrics.

    The weights of trial number N follow from (seed, N). Values are scaled to what was seen so far, outliers apart,
    so that diverged trainings do not squash the rest, and mixed so that every point of the front is the best of
    some mixture, also where the front is not convex. A trial that lacks a metric counts as the worst.
    Raises SpaceError for fewer than two metrics.
    Source: ParEGO, Knowles 2006, doi:10.1109/TEVC.2005.851274.
    """

    def __init__(self, space: SearchSpace, metrics: Sequence[Metric], seed: int = 0) -> None:
        if len(metrics) < 2:
            raise SpaceError(
                "a search for a front needs two metrics or more; for one, use metric and method bayes"
            )
        self._metrics = metrics
        self._seed = seed
        self._bayes = BayesSearch(space, MIXTURE, seed)

    def suggest(self, history: History, n: int) -> list[Params]:
        trials, n_prior = [*history.prior, *history], len(history.prior)
        marks = self._marks(trials)
        suggested: list[Params] = []
        for number in range(history.next_number, history.next_number + n):
            begun = (Trial(number=history.next_number + i, params=params) for i, params in enumerate(suggested))
            weights = np.random.default_rng([self._seed, number, 1]).dirichlet(np.ones(len(self._metrics)))
            mixed = [_mixed(trial, mark, weights) for trial, mark in zip(trials, marks, strict=True)]
            view = History([*mixed[n_prior:], *begun], prior=mixed[:n_prior])
            view.next_number = number  # also where the last trials were removed
            suggested += self._bayes.suggest(view, 1)
        return suggested

    def _marks(self, trials: Sequence[Trial]) -> list[Array | None]:
        """Return how far each trial is from the best by each metric; None where it has not ended, or lacks one."""
        outcomes = [outcome(trial, self._metrics) if trial.state.is_terminal else None for trial in trials]
        ended = [found for found in outcomes if found is not None]
        columns = np.clip(np.array(ended).reshape(-1, len(self._metrics)), -EXTREME, EXTREME).T
        marks = iter(np.array([_distances(values) for values in columns if len(values)]).T)
        return [next(marks) if found is not None else None for found in outcomes]


def _distances(values: Array) -> Array:
    """Return how far each value is from the best one; 1 for the worst, but outliers lie beyond by a logarithm."""
    distances = values - values.min()
    usual = distances[distances <= OUTLYING * np.median(distances)]
    shares: Array = distances / first_spread((float(usual.max()), float(distances.max())), float(values.min()))
    shares[shares > 1.0] = 1.0 + np.log(shares[shares > 1.0])
    return shares


def _mixed(trial: Trial, mark: Array | None, weights: Array) -> Trial:
    """Return the trial with the mixture as its only metric."""
    if mark is None:
        return replace(trial, metrics={}, summary={}, curve=())
    parts = weights * mark
    value = float(parts.max() + RHO * parts.sum())
    return replace(trial, metrics={MIXTURE.name: MetricStats().add(value)}, summary={}, curve=())
