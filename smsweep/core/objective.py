"""The objective of a trial: the number by which the trials of a sweep are compared."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from smsweep.core.sweep import Goal, Metric
from smsweep.core.trial import Trial, TrialState, is_number


def objective(trial: Trial, metric: Metric) -> float | None:
    """Return the best finite value of a metric in a trial's history and summary.

    W&B's bayes search also uses the best value, not the last one.

    Returns:
        The value; None if the trial reported no finite value.
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
    """Return the mean of one or more values, also if their sum is too large for a float."""
    try:
        return statistics.fmean(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def is_better(a: float, b: float, goal: Goal) -> bool:
    """Return True if a is better than b."""
    return a * goal.sign < b * goal.sign


def best_trial(trials: Iterable[Trial], metric: Metric) -> Trial | None:
    """Return the trial with the best objective.

    Failed and crashed trials are ignored, because their values may not be reproducible.

    Returns:
        The best trial, the first one of equal trials; None if no trial has an objective.
    """
    best, best_objective = None, 0.0
    for trial in trials:
        value = objective(trial, metric)
        if value is None or trial.state in (TrialState.FAILED, TrialState.CRASHED):
            continue
        if best is None or is_better(value, best_objective, metric.goal):
            best, best_objective = trial, value
    return best
