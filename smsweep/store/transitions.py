"""The columns of a trial that change with its state."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from smsweep.core.job import job_name
from smsweep.core.trial import Trial, TrialState


def started(trial: Trial, now: datetime) -> dict[str, Any]:
    """Return the changes of a trial that becomes running."""
    return {
        "state": TrialState.RUNNING,
        "reason": "",
        "job_name": job_name(trial.sweep_id, trial.number, trial.attempt),
        "started_at": now,
    }


def moved(trial: Trial, to: TrialState, now: datetime, lasted_s: float | None = None) -> dict[str, Any]:
    """Return the changes of a trial that gets a new state.

    Args:
        trial: The trial before.
        to: The new state. If it is running, the lease ends now, so that any agent can claim the trial.
        now: The current time, aware UTC.
        lasted_s: See `Store.move`.
    """
    changes: dict[str, Any] = {"state": to}
    if to is TrialState.RUNNING:
        return started(trial, now) | {"lease_expires_at": now}
    if to is TrialState.STOPPING:
        return changes
    changes |= {"agent_id": "", "lease_expires_at": None}
    if to is TrialState.PENDING:
        return changes | {
            "attempt": trial.attempt + 1,
            "asked_by": "",
            "job_name": "",
            "place": "",
            "cursor": "",
            "started_at": None,
            "ended_at": None,
        }
    if lasted_s is not None and trial.started_at is not None:
        return changes | {"ended_at": trial.started_at + timedelta(seconds=lasted_s)}
    return changes | {"ended_at": now}
