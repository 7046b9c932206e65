"""Trials compared by several metrics at once: none is best, some are not beaten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smsweep.core.sweep import Metric
from smsweep.core.trial import Scalar, Trial, TrialState, is_number

Outcome = tuple[float, ...]  # one for each metric; of each, lower is better


def last_value(trial: Trial, name: str) -> Scalar:
    """Return what the script stated as its summary of a metric, else the newest value."""
    if name in trial.summary:
        return trial.summary[name]
    stats = trial.metrics.get(name)
    return stats.last if stats is not None else None


def outcome(trial: Trial, metrics: Sequence[Metric]) -> Outcome | None:
    """Return a trial's last value of each metric; None when one is missing or not finite.

    The last and not the best: one metric is often best when another is not, and no model has both.
    """
    values = [last_value(trial, metric.name) for metric in metrics]
    if not all(map(is_number, values)):
        return None
    return tuple(metric.goal.sign * float(value or 0) for metric, value in zip(metrics, values, strict=True))


def dominates(a: Outcome, b: Outcome) -> bool:
    """Tell whether a is at least as good by every metric, and better by one."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def front(trials: Iterable[Trial], metrics: Sequence[Metric]) -> list[Trial]:
    """Return the trials that no other dominates, by ascending number; equals are all among them.

    Failed and crashed trials do not count, nor those without a value of each metric.
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
