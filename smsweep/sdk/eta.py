"""How long a sweep will take yet, judged by the trials that have ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from statistics import fmean

from smsweep.trials import Trial, TrialState

LATEST = 100  # trials whose mean duration is taken: what a search tries later may take longer
WHOLE = (TrialState.FINISHED, TrialState.STOPPED)  # not cut off by a failure or a person


def seconds_left(trials: Collection[Trial], expected: int | None, now: datetime) -> float | None:
    """Return the seconds until `expected` trials have ended, if as many run at once as now.

    None while that cannot be told: there is no end to the sweep, none has ended as it should, or none runs.
    """
    starts = [trial.started_at for trial in trials if trial.state.is_active]
    active = [(now - start).total_seconds() for start in starts if start]
    each_s = mean_duration_s(trials)
    if expected is None or each_s is None or not active:
        return None
    n_ended = sum(trial.state.is_terminal for trial in trials)
    n_to_start = max(0, expected - n_ended - len(active))
    left = [max(0.0, each_s - max(0.0, for_s)) for for_s in active]
    return max(*left, (sum(left) + n_to_start * each_s) / len(active))


def mean_duration_s(trials: Iterable[Trial]) -> float | None:
    """Return how long the latest trials took that ended as they should; None while there are none."""
    ended = [(trial.ended_at, trial.started_at) for trial in trials if trial.state in WHOLE]
    spans = sorted((end, (end - start).total_seconds()) for end, start in ended if end and start)
    return fmean(max(0.0, seconds) for _, seconds in spans[-LATEST:]) if spans else None
