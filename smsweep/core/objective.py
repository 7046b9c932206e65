"""A trial's objective: the one number by which trials of a sweep are compared."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from smsweep.core.sweep import Goal, Metric
from smsweep.core.trial import Trial, TrialState, is_number


def objective(trial: Trial, metric: Metric) -> float | None:
    """Return the best finite value the trial reported of the metric, over its history and its own summary.

    None when there is none. Best over the history, not last, is also what W&B's bayes search uses.
    """
    values = []
    stats = trial.metrics.get(metric.name)
    if stats is not None and stats.count:
        values.append(stats.min if metric.goal is Goal.MINIMIZE else stats.max)
    stated = trial.summary.get(metric.name)
    if is_number(stated):
        values.append(float(stated))
    return min(values, key=lambda value: metric.goal.sign * value, default=None)


def mean(values: Sequence[float]) -> float:
    """Return the mean of one value or more, also where no float holds their sum."""
    try:
        return statistics.fmean(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def is_better(a: float, b: float, goal: Goal) -> bool:
    return a * goal.sign < b * goal.sign


def best_trial(trials: Iterable[Trial], metric: Metric) -> Trial | None:
    """Return the trial with the best objective, the earlier one of equals; None when no trial has any.

    A failed or crashed trial never wins: what it reported before it broke cannot be had again.
    """
    best, best_objective = None, 0.0
    for trial in trials:
        value = objective(trial, metric)
        if value is None or trial.state in (TrialState.FAILED, TrialState.CRASHED):
            continue
        if best is None or is_better(value, best_objective, metric.goal):
            best, best_objective = trial, value
    return best
