"""The forecast rule: stop a trial that, judged by earlier curves, will not end among the best."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from smsweep.core.learning_curve import Forecaster
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.space.space import SearchSpace
from smsweep.space.unit_cube import Array, Cube
from smsweep.stopping.base import ForecastOptions, distinct_texts
from smsweep.stopping.successive_halving import bands_from

BEST_PART = 5  # "the best" are the best fifth of the complete trainings
MARGIN = 2.0  # standard deviations by which the forecast must miss the best, if forecasts are well calibrated
MIN_MARGIN = 1.0  # lower limit of the margin
N_CHECKED = 30  # latest complete trainings whose forecasts are compared with their ends
PRIOR_COUNT = 5.0  # weight of the assumption that forecasts are well calibrated, in checked forecasts
SPARED = 3  # one trial in this many is never stopped
EXTREME = 1e100  # larger values count as this value, so that squares stay finite


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """The data of one trial; a `Course` of core/learning_curve.py."""

    point: Array
    best: Array
    end: float


class ForecastRule:
    """Stops a running trial that is forecast to end outside the best fifth of the complete trainings.

    A trial is judged after min_iter points, then each time that the number of points has grown by the factor eta.
    The forecast must miss the best fifth by a margin of two standard deviations. The margin grows if trainings of
    this sweep ended better than forecast, and shrinks if they did not. A trial with a slow start continues if
    other slow trials ended well, or if there are no such trials. One trial in three is never stopped, so that the
    rule can observe its own errors. No trial is stopped before min_trials complete trainings are longer than it.
    `Forecaster` documents the forecast.

    Args:
        metric: The metric that trials are compared by.
        space: The space of the params.
        options: The keys of `early_terminate`.
    """

    def __init__(self, metric: Metric, space: SearchSpace, options: ForecastOptions) -> None:
        self._metric = metric
        self._min_trials = options.min_trials
        self._bands = bands_from(options.min_iter, options.eta)
        self._cube = Cube(space)
        self._history: History | None = None

    def judge(self, history: History) -> list[StopDecision]:
        if history is not self._history:
            self._history = history
            self._cursor = 0
            self._whole: dict[int, Seen] = {}  # by trial number
            self._running: dict[int, Seen] = {}  # up to the last band that each trial has reached
            self._surprises: dict[tuple[int, ...], float] = {}
            self._decisions: list[StopDecision] = []
        changed, self._cursor = history.since(self._cursor)
        differences = [self._update(number, history.get(number)) for number in changed]
        if any(differences):
            self._decisions = self._verdicts() if len(self._whole) >= self._min_trials else []
        return [decision for decision in self._decisions if self._is_behind(decision, history)]

    def _is_behind(self, decision: StopDecision, history: History) -> bool:
        """Return True if no value of the trial, also after its last band, is as good as the best fifth."""
        trial, sign = history.get(decision.number), self._metric.goal.sign
        threshold = sign * decision.evidence["threshold"]
        return trial is not None and all(sign * value > threshold for value in trial.curve)

    def _update(self, number: int, trial: Trial | None) -> bool:
        """Read the current state of a trial; return True if it can change a decision."""
        whole, running = self._whole.pop(number, None), self._running.pop(number, None)
        if whole is not None:
            self._surprises.clear()  # the curve may have changed
        if trial is not None and trial.state is TrialState.FINISHED and trial.curve:
            self._whole[number] = self._course(trial, len(trial.curve))
            return True
        n_bands = bisect.bisect_right(self._bands, len(trial.curve)) if trial is not None else 0
        is_judged = number % SPARED != SPARED - 1
        if trial is None or trial.state is not TrialState.RUNNING or not n_bands or not is_judged:
            return whole is not None or running is not None
        length = self._bands[n_bands - 1]
        is_known = running is not None and len(running.best) == length
        self._running[number] = running if running is not None and is_known else self._course(trial, length)
        return not is_known

    def _course(self, trial: Trial, length: int) -> Seen:
        curve = np.clip(self._metric.goal.sign * np.array(trial.curve[:length]), -EXTREME, EXTREME)
        best = np.minimum.accumulate(curve)
        return Seen(point=self._cube.encode(trial.params)[0], best=best, end=float(best[-1]))

    def _verdicts(self) -> list[StopDecision]:
        decisions = []
        margin = self._margin() if self._running else MARGIN
        for length in sorted({len(course.best) for course in self._running.values()}):
            longer = [course for _, course in sorted(self._whole.items()) if len(course.best) > length]
            if len(longer) >= self._min_trials:
                numbers = [number for number, course in self._running.items() if len(course.best) == length]
                decisions += self._at(length, sorted(numbers), longer, margin)
        return sorted(decisions, key=lambda decision: decision.number)

    def _margin(self) -> float:
        """Return the margin, in standard deviations, that follows from the errors of earlier forecasts.

        Each complete training is forecast at each band, from the trainings that were started before it. Only
        trainings that ended better than forecast raise the margin.
        """
        numbers, surprises = sorted(self._whole), {}
        for i in range(len(numbers))[-N_CHECKED:]:
            course = self._whole[numbers[i]]
            for length in self._bands:
                before = [number for number in numbers[:i] if len(self._whole[number].best) > length]
                if length >= len(course.best) or len(before) < self._min_trials:
                    break
                key = (numbers[i], length, *before)
                known = self._surprises.get(key)
                surprises[key] = known if known is not None else self._surprise(course, length, before)
        self._surprises = surprises
        luck = 2.0 * sum(max(surprise, 0.0) ** 2 for surprise in surprises.values())
        return max(MARGIN * math.sqrt((PRIOR_COUNT + luck) / (PRIOR_COUNT + len(surprises))), MIN_MARGIN)

    def _surprise(self, course: Seen, length: int, before: Sequence[int]) -> float:
        """Return by how many standard deviations a training ended better than its forecast at that length."""
        forecaster = Forecaster([self._whole[number] for number in before], self._cube.kinds)
        (mean,), (deviation,) = forecaster([replace(course, best=course.best[:length])])
        return float((mean - forecaster.yardstick.mark(np.array(course.end))) / deviation)

    def _at(self, length: int, numbers: Sequence[int], whole: Sequence[Seen], margin: float) -> list[StopDecision]:
        forecaster = Forecaster(whole, self._cube.kinds)
        mean, deviation = forecaster([self._running[number] for number in numbers])
        ends = np.sort([course.end for course in whole])
        threshold = float(ends[len(ends) // BEST_PART])
        limit = forecaster.yardstick.mark(np.array(threshold))
        expected = forecaster.yardstick.value(mean)
        return [
            self._decision(number, length, float(expected[i]), threshold, len(whole))
            for i, number in enumerate(numbers)
            if mean[i] - margin * deviation[i] > limit
        ]

    def _decision(self, number: int, length: int, expected: float, threshold: float, n_whole: int) -> StopDecision:
        name, sign = self._metric.name, self._metric.goal.sign
        value = sign * float(self._running[number].best[-1])
        end, limit = distinct_texts(sign * expected, sign * threshold)
        return StopDecision(
            number=number,
            evidence={
                "rule": "forecast",
                "metric": name,
                "band": length,
                "value": value,
                "forecast": sign * expected,
                "threshold": sign * threshold,
                "peers": n_whole,
            },
            reason=(
                f"forecast: after {length} points its best {name} is {value:g} and would end at about "
                f"{end}, clearly worse than {limit}, which the best fifth of "
                f"{n_whole} whole trainings reached"
            ),
        )
