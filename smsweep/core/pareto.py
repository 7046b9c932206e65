"""Comparison of trials by several metrics: the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smsweep.core.sweep import Metric
from smsweep.core.trial import Scalar, Trial, TrialState, is_number

Outcome = tuple[float, ...]  # one value for each metric; lower is better


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
        found = outcome(trial, metrics)
        if found is None or trial.state in (TrialState.FAILED, TrialState.CRASHED):
            continue
        if any(dominates(other, found) for other, _ in best):
            continue
        best = [(other, peer) for other, peer in best if not dominates(found, other)]
        best.append((found, trial))
    return sorted((trial for _, trial in best), key=lambda trial: trial.number)
