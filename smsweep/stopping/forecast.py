"""The forecast rule: stop what, by all that earlier curves tell, will not end among the best."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from smsweep.core.learning_curve import Forecaster
from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.space.unit_cube import Array, Cube
from smsweep.stopping.base import told_apart
from smsweep.stopping.hyperband import bands

MIN_TRIALS = 6  # whole trainings to learn from, before anything is stopped
AMONG = 5  # "the best" are the best fifth of the whole trainings
MARGIN = 2.0  # deviations by which the forecast must miss them, where forecasts are as good as they say
LEAST = 1.0  # however much better they are
CHECKED = 30  # latest whole trainings, of which it is checked what would have been forecast
FAITH = 5.0  # forecasts that came out right, before any was checked
SPARED = 3  # one trial in so many always goes on to its end
EXTREME = 1e100  # values beyond count as this: their squares must stay finite


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """What the rule keeps of one trial: its course, see `forecasts.Course`."""

    point: Array
    best: Array
    end: float


class ForecastRule:
    """Stops a running trial that is forecast to end outside the best fifth of the whole trainings, with a margin.

    Looked at after min_iter points, and eta times as many each time, with all that it reported by then. What
    starts slowly goes on if others that did came far, or if nobody knows. Every third goes on in any case: a rule
    that stopped whatever it does not believe in would never hear that it is wrong. Nothing is stopped before
    min_trials whole trainings (6 unless given) are longer. The margin is two deviations of the forecast, more
    where trainings of this sweep ended better than forecast by as much, less where they did not. `Forecaster` says
    how curves are forecast.
    Raises ConfigError when the config names no metric or no min_iter.
    """

    def __init__(self, config: SweepConfig) -> None:
        rule, metric = config.early_terminate, config.metric
        if rule is None or metric is None:
            raise ConfigError("early_terminate: forecast compares trials by the sweep's metric; add `metric`")
        if rule.min_iter is None:
            raise ConfigError("early_terminate: forecast needs min_iter, the number of points at the first look")
        self._metric = metric
        self._min_trials = rule.min_trials or MIN_TRIALS
        self._bands = bands(replace(rule, max_iter=None))
        self._cube = Cube(config.space)
        self._history: History | None = None

    def judge(self, history: History) -> list[StopDecision]:
        if history is not self._history:
            self._history = history
            self._cursor = 0
            self._whole: dict[int, Seen] = {}  # by trial number
            self._running: dict[int, Seen] = {}  # as far as the last band that each has reached
            self._surprises: dict[tuple[int, ...], float] = {}
            self._decisions: list[StopDecision] = []
        changed, self._cursor = history.since(self._cursor)
        differences = [self._fold_in(number, history.get(number)) for number in changed]
        if any(differences):
            self._decisions = self._verdicts() if len(self._whole) >= self._min_trials else []
        return [decision for decision in self._decisions if self._is_behind(decision, history)]

    def _is_behind(self, decision: StopDecision, history: History) -> bool:
        """Tell whether a trial is still worse than the best fifth, with what it reported after its last band."""
        trial, sign = history.get(decision.number), self._metric.goal.sign
        threshold = sign * decision.evidence["threshold"]
        return trial is not None and all(sign * value > threshold for value in trial.curve)

    def _fold_in(self, number: int, trial: Trial | None) -> bool:
        """Take in a trial as it is now, and tell whether that makes a difference."""
        whole, running = self._whole.pop(number, None), self._running.pop(number, None)
        if whole is not None:
            self._surprises.clear()  # it may have been another curve
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
        """Return by how many deviations a forecast must miss the best, as good as forecasts have been so far.

        Each whole training is forecast from those begun before it, as it was at each band. What counts is by how
        much trainings ended better than that.
        """
        numbers, surprises = sorted(self._whole), {}
        for i in range(len(numbers))[-CHECKED:]:
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
        return max(MARGIN * math.sqrt((FAITH + luck) / (FAITH + len(surprises))), LEAST)

    def _surprise(self, course: Seen, length: int, before: Sequence[int]) -> float:
        """Return by how many deviations a training ended better than was to be expected of it at that length."""
        forecaster = Forecaster([self._whole[number] for number in before], self._cube.is_nominal)
        (mean,), (deviation,) = forecaster([replace(course, best=course.best[:length])])
        return float((mean - forecaster.yardstick.mark(np.array(course.end))) / deviation)

    def _at(self, length: int, numbers: Sequence[int], whole: Sequence[Seen], margin: float) -> list[StopDecision]:
        forecaster = Forecaster(whole, self._cube.is_nominal)
        mean, deviation = forecaster([self._running[number] for number in numbers])
        ends = np.sort([course.end for course in whole])
        threshold = float(ends[len(ends) // AMONG])
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
        end, limit = told_apart(sign * expected, sign * threshold)
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
