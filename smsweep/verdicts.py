"""What a job's end means for its trial: one total table."""

from __future__ import annotations

from smsweep.jobs import JobStatus
from smsweep.trials import TrialState

# (job's status, who asked it to end) -> the trial's state. Statuses that are not here are not an end.
VERDICTS = {
    ("Completed", ""): TrialState.FINISHED,
    ("Completed", "rule"): TrialState.FINISHED,  # it was done before the order reached it
    ("Completed", "person"): TrialState.FINISHED,
    ("Completed", "agent"): TrialState.FINISHED,
    ("Failed", ""): TrialState.FAILED,
    ("Failed", "rule"): TrialState.STOPPED,
    ("Failed", "person"): TrialState.KILLED,
    ("Failed", "agent"): TrialState.PENDING,
    ("Stopped", ""): TrialState.KILLED,  # somebody stopped the job behind our back
    ("Stopped", "rule"): TrialState.STOPPED,
    ("Stopped", "person"): TrialState.KILLED,
    ("Stopped", "agent"): TrialState.PENDING,  # the agent had to leave: the trial goes back to the queue
}

TIMEOUTS = {
    "MaxRuntimeExceeded": "ran longer than its limit (max_run)",
    "MaxWaitTimeExceeded": "waited and ran longer than its limit (max_wait)",
}


def verdict(status: JobStatus, asked_by: str) -> tuple[TrialState, str]:
    """Return the end state of a trial whose job has ended, and the reason for a person.

    asked_by: who asked the trial to end, as in Trial.asked_by. Raises KeyError for a job that has not ended.
    """
    state = VERDICTS[(status.status, asked_by)]
    if status.status == "Stopped" and not asked_by:
        if status.secondary_status in TIMEOUTS:
            return TrialState.FAILED, TIMEOUTS[status.secondary_status]
        return state, "its job was stopped from outside"
    if status.is_lost and state is TrialState.FAILED:
        return TrialState.CRASHED, status.failure_reason
    return state, "" if state is TrialState.FINISHED else status.failure_reason
