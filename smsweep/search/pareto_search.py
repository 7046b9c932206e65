"""Search for the front of several metrics: each trial improves on its own mixture of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from smsweep.errors import SpaceError
from smsweep.fronts import Outcome, outcome
from smsweep.search.bayes_search import BayesSearch
from smsweep.space.likeness import Array
from smsweep.sweeps import Metric, SweepConfig
from smsweep.trials import History, MetricStats, Params, Trial

MIXTURE = Metric(name="mixture")  # what the bayes search is told to make smaller
RHO = 0.05  # share of the plain weighted sum, which tells weakly dominated points apart


class ParetoSearch:
    """Lets a bayes search minimise, for each trial, another mixture of the metrics.

    The weights of trial number N follow from (seed, N). Values are scaled to what was seen so far, and mixed so
    that every point of the front is the best of some mixture, also where the front is not convex. A trial that
    lacks a metric counts as the worst.
    Raises SpaceError for fewer than two metrics.
    Source: ParEGO, Knowles 2006, doi:10.1109/TEVC.2005.851274.
    """

    def __init__(self, config: SweepConfig, seed: int = 0) -> None:
        if len(config.metrics) < 2:
            raise SpaceError(
                "a search for a front needs two metrics or more; for one, use metric and method bayes"
            )
        self._metrics = config.metrics
        self._seed = seed
        self._bayes = BayesSearch(replace(config, method="bayes", metric=MIXTURE, metrics=()), seed)

    def suggest(self, history: History, n: int) -> list[Params]:
        mixed = self._mixer([*history.prior, *history])
        suggested: list[Params] = []
        for number in range(history.next_number, history.next_number + n):
            begun = (Trial(number=history.next_number + i, params=params) for i, params in enumerate(suggested))
            weights = np.random.default_rng([self._seed, number, 1]).dirichlet(np.ones(len(self._metrics)))
            view = History(
                [*(mixed(trial, weights) for trial in history), *begun],
                prior=(mixed(trial, weights) for trial in history.prior),
            )
            view.next_number = number  # also where the last trials were removed
            suggested += self._bayes.suggest(view, 1)
        return suggested

    def _mixer(self, trials: Iterable[Trial]) -> Callable[[Trial, Array], Trial]:
        """Return what gives a trial the mixture as its only metric, on the scale that these trials span."""
        outcomes = [found for trial in trials if (found := self._outcome(trial)) is not None]
        values = np.array(outcomes).reshape(-1, len(self._metrics))
        low = values.min(axis=0, initial=np.inf)
        span = values.max(axis=0, initial=-np.inf) - low
        span[span <= 0] = 1.0

        def mixed(trial: Trial, weights: Array) -> Trial:
            found = self._outcome(trial)
            if found is None:
                return replace(trial, metrics={}, summary={}, curve=())
            parts = weights * (np.array(found) - low) / span
            value = float(parts.max() + RHO * parts.sum())
            return replace(trial, metrics={MIXTURE.name: MetricStats().add(value)}, summary={}, curve=())

        return mixed

    def _outcome(self, trial: Trial) -> Outcome | None:
        return outcome(trial, self._metrics) if trial.state.is_terminal else None
