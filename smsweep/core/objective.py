"""The objective of a trial, the Pareto front of several metrics, and the targets that end a sweep."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from smsweep.core.sweep import Goal, Metric, SweepConfig
from smsweep.core.trial import History, Scalar, Trial, TrialState, is_number

Outcome = tuple[float, ...]  # one value for each metric; lower is better


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


def last_value(trial: Trial, name: str) -> Scalar:
    """Return the summary value of a metric if the script set one, else the newest value."""
    if name in trial.summary:
        return trial.summary[name]
    stats = trial.metrics.get(name)
    return stats.last if stats is not None else None


def outcome(trial: Trial, metrics: Sequence[Metric]) -> Outcome | None:
    """Return the last value of each metric of a trial.

    The last values belong to one model. The best values of two metrics can belong to different models.

    Returns:
        The values, negated for metrics to maximize; None if a value is missing or not finite.
    """
    values = [last_value(trial, metric.name) for metric in metrics]
    if not all(map(is_number, values)):
        return None
    return tuple(metric.goal.sign * float(value or 0) for metric, value in zip(metrics, values, strict=True))


def dominates(a: Outcome, b: Outcome) -> bool:
    """Return True if a is at least as good as b in every metric, and better in one."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def front(trials: Iterable[Trial], metrics: Sequence[Metric]) -> list[Trial]:
    """Return the Pareto front: the trials that no other trial dominates, sorted by number.

    Equal trials are all returned. Failed and crashed trials, and trials without a value of each metric, are
    ignored.
    """
    best: list[tuple[Outcome, Trial]] = []
    for trial in trials:
        candidate = outcome(trial, metrics)
        if candidate is None or trial.state in (TrialState.FAILED, TrialState.CRASHED):
            continue
        if any(dominates(other, candidate) for other, _ in best):
            continue
        best = [(other, peer) for other, peer in best if not dominates(candidate, other)]
        best.append((candidate, trial))
    return sorted((trial for _, trial in best), key=lambda trial: trial.number)


class Targets:
    """Checks whether a trial has reached the targets. Only changed trials are checked again.

    With one metric, the objective of a trial in any state must be at least as good as the target. With several
    metrics, the last values of an ended trial must meet all targets at the same time.

    Args:
        config: The config of the sweep.
        counts: Returns True for the trials that can reach a target; None for all trials.
    """

    def __init__(self, config: SweepConfig, counts: Callable[[Trial], bool] | None = None) -> None:
        self._counts = counts
        self._metric = config.metric
        self._metrics = config.metrics
        self._has_any = any(metric.target is not None for metric in config.all_metrics)
        self._history: History | None = None

    def are_reached(self, history: History) -> bool:
        """Return True if a trial of the history has reached the targets; False if the sweep has no target."""
        if not self._has_any:
            return False
        if history is not self._history:
            self._history, self._cursor, self._is_reached = history, 0, False
        changed, self._cursor = history.since(self._cursor)
        trials = [trial for trial in map(history.get, changed) if trial is not None]
        self._is_reached = self._is_reached or any(map(self._is_enough, trials))
        return self._is_reached

    def _is_enough(self, trial: Trial) -> bool:
        if self._counts is not None and not self._counts(trial):
            return False
        if self._metric is not None and self._metric.target is not None:
            value = objective(trial, self._metric)
            return value is not None and not is_better(self._metric.target, value, self._metric.goal)
        if trial.state not in (TrialState.FINISHED, TrialState.STOPPED):
            return False
        values = outcome(trial, self._metrics)
        return values is not None and all(
            metric.target is None or value <= metric.goal.sign * metric.target
            for metric, value in zip(self._metrics, values, strict=True)
        )
