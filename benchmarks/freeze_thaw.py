"""Freeze-thaw: continue a paused trial, or start a new one, whichever promises more per epoch.

An experiment of curve_quality.py, as `random+asha-freeze_thaw`. smsweep does not offer it: docs/search.md has the
results. Source of the idea: Swersky, Snoek and Adams, Freeze-Thaw Bayesian Optimization, arXiv:1406.3896.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smsweep.core.learning_curve import Forecaster
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.search.bayes.acquisition import log_expected_improvement
from smsweep.space.space import SearchSpace
from smsweep.space.unit_cube import Cube
from smsweep.stopping.base import AshaOptions
from smsweep.stopping.forecast import Seen
from smsweep.stopping.successive_halving import Asha

MIN_COMPLETE = 4  # complete trainings before the first forecast; until then, ASHA decides
N_BEST = 5  # best trainings whose distances tell how much a new one can improve


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Course(Seen):
    """The data of one trial up to its last rung."""

    is_complete: bool


class FreezeThaw(Asha):
    """Promotes and pauses trials by the expected improvement of their final value per remaining epoch.

    The improvement of a paused trial comes from the forecast of its final value. That of a new trial comes from
    the distances between the best values: the next of n draws is the best with probability 1 / (n + 1). Its epochs
    are those of an average trial so far. Trials are compared at the rungs of ASHA.

    Args:
        metric: The metric that trials are compared by.
        space: The space of the params.
        options: The rungs.
        length: Number of epochs of a complete training.
    """

    def __init__(self, metric: Metric, space: SearchSpace, options: AshaOptions, length: int) -> None:
        self._cube, self._length = Cube(space), length
        super().__init__(metric, options)

    def _restart(self) -> None:
        super()._restart()
        self._courses: dict[int, Course] = {}  # up to the last rung of each trial
        self._n_epochs: dict[int, int] = {}
        self._is_current = False
        self._rates: dict[int, float] = {}  # expected improvement per remaining epoch
        self._new_rate = 0.0

    def _update(self, number: int, trial: Trial | None) -> None:
        super()._update(number, trial)
        if trial is None or not trial.curve:
            return
        self._n_epochs[number] = len(trial.curve)
        is_complete = trial.state is TrialState.FINISHED
        n_bands = len(self._standings[number].at_bands) if number in self._standings else 0
        length = len(trial.curve) if is_complete else self._bands[n_bands - 1] if n_bands else 0
        known = self._courses.get(number)
        if not length or (known and (len(known.best), known.is_complete) == (length, is_complete)):
            return
        best = np.minimum.accumulate(self._metric.goal.sign * np.array(trial.curve[:length]))
        point = self._cube.encode(trial.params)[0]
        self._courses[number] = Course(point=point, best=best, end=float(best[-1]), is_complete=is_complete)
        self._is_current = False

    def _compare(self) -> bool:
        """Compute the expected improvement per epoch of each begun trial and of a new one; False without model."""
        complete = [course for course in self._courses.values() if course.is_complete]
        if len(complete) < MIN_COMPLETE:
            return False
        if not self._is_current:
            self._is_current, self._rates = True, {}
            forecaster = Forecaster(complete, self._cube.kinds)
            ends = [float(forecaster.yardstick.mark(np.array(course.end))) for course in complete]
            best = min(ends)
            begun = {number: course for number, course in self._courses.items() if not course.is_complete}
            if begun:
                means, deviations = forecaster([*begun.values()])
                gains = np.where(
                    np.isfinite(deviations), np.exp(log_expected_improvement(means, deviations, best)), 0.0
                )
                for (number, course), gain in zip(begun.items(), gains.tolist(), strict=True):
                    self._rates[number] = gain / (self._length - len(course.best))
                ends += means.tolist()
            self._new_rate = improvement_of_draw(ends) * len(self._n_epochs) / sum(self._n_epochs.values())
        return True

    def judge(self, history: History) -> list[StopDecision]:
        self._follow(history)
        if not self._compare():
            return super().judge(history)
        limit = max([self._new_rate, *(self._rates[number] for number in self._paused)])
        return [
            StopDecision(
                number=number,
                evidence={"rule": "freeze_thaw", "band": len(self._courses[number].best)},
                is_pause=True,
                reason="freeze-thaw: another trial promises more per epoch",
            )
            for number in sorted(self._running)
            if self._rates[number] < limit
        ]

    def promotable(self, history: History) -> list[int]:
        self._follow(history)
        if not self._compare():
            return super().promotable(history)
        numbers = [number for number in self._paused if self._rates[number] >= self._new_rate]
        return sorted(numbers, key=lambda number: (-self._rates[number], number))


def improvement_of_draw(values: list[float]) -> float:
    """Return the expected improvement of the best value by one more independent draw; at least two values.

    Source: A. Rényi, On the theory of order statistics, 1953: the distances between ordered values of an
    exponential tail, times their rank, have the same mean.
    """
    ordered = sorted(values)
    n_gaps = min(N_BEST, len(ordered) - 1)
    gap = sum(rank * (ordered[rank] - ordered[rank - 1]) for rank in range(1, n_gaps + 1)) / n_gaps
    return gap / (len(ordered) + 1)
