"""The targets of a sweep's metrics, after which no new trials start."""

from __future__ import annotations

from smsweep.core.objective import is_better, objective
from smsweep.core.pareto import outcome
from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import History, Trial, TrialState


class Targets:
    """Checks whether a trial has reached the targets. Only changed trials are checked again.

    With one metric, the objective of a trial in any state must be at least as good as the target. With several
    metrics, the last values of an ended trial must meet all targets at the same time.

    Args:
        config: The config of the sweep.
    """

    def __init__(self, config: SweepConfig) -> None:
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
