"""What a job's end means for its trial: one total table, and whether the trial is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smsweep.core.failure_kind import (
    ADVICE,
    CAPACITY,
    CRASHED,
    EXTERNAL,
    INTERNAL,
    RETRIES,
    TIMEOUT,
    classify,
)
from smsweep.core.job import JobStatus, Price
from smsweep.core.trial import Trial, TrialState

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
NO_VERDICT = (CRASHED, CAPACITY, INTERNAL)  # classes of failure in which the script did not have its say


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """What becomes of a trial whose job has ended."""

    to: TrialState
    reason: str  # for a person; "" when there is nothing to say
    retries: Mapping[str, int] = field(default_factory=dict)  # of the trial, this one included


def verdict(status: JobStatus, asked_by: str) -> tuple[TrialState, str]:
    """Return the end state of a trial whose job has ended, and the reason for a person.

    asked_by: who asked the trial to end, as in Trial.asked_by. Raises KeyError for a job that has not ended.
    """
    state = VERDICTS[(status.status, asked_by)]
    if status.status == "Stopped" and not asked_by:
        if status.secondary_status in TIMEOUTS:
            return TrialState.FAILED, TIMEOUTS[status.secondary_status]
        return state, status.failure_reason or "its job was stopped from outside"
    found = failure_class(status, asked_by)
    if found in NO_VERDICT:
        return TrialState.CRASHED, status.failure_reason
    return state, "" if state is TrialState.FINISHED else _with_advice(status.failure_reason, found)


def failure_class(status: JobStatus, asked_by: str) -> str:
    """Return what kind of failure an end is, a key of failures.RETRIES; "" for a success or an end asked for."""
    if status.status == "Completed" or asked_by:
        return ""
    if status.failure_class:
        return status.failure_class
    if status.status == "Stopped":
        return TIMEOUT if status.secondary_status in TIMEOUTS else EXTERNAL
    return classify(status.failure_reason, status.exit_code, is_lost=status.is_lost)


def rule(trial: Trial, status: JobStatus, allowed: Mapping[str, int]) -> Ruling:
    """Decide how a trial whose job has ended goes on. allowed: class of failure -> retries, where not as usual."""
    to, reason = verdict(status, trial.asked_by)
    if trial.asked_by and to is not TrialState.FINISHED:
        reason = trial.reason  # why it was asked to end says more than how its job did
    found = failure_class(status, trial.asked_by)
    return retry(trial, found, allowed, Ruling(to=to, reason=reason, retries=trial.retries))


def retry(trial: Trial, failure: str, allowed: Mapping[str, int], otherwise: Ruling) -> Ruling:
    """Send a trial back to the queue if its kind of failure may happen once more, else rule as said."""
    so_far = trial.retries.get(failure, 0)
    if not failure or so_far >= allowed.get(failure, RETRIES[failure]):
        return otherwise
    return Ruling(to=TrialState.PENDING, reason=otherwise.reason, retries={**trial.retries, failure: so_far + 1})


def usage_after(trial: Trial, status: JobStatus, price: Price | None) -> dict[str, Any]:
    """Return a trial's usage with that of its ended job added."""
    results = status.results
    span_s = (
        (status.ended_at - status.started_at).total_seconds() if status.started_at and status.ended_at else 0.0
    )
    billable_s = span_s if results is None or results.billable_s is None else results.billable_s
    instance_s = billable_s * (results.instance_count if results else 1)
    before = trial.usage
    usage = {
        "n_jobs": before.get("n_jobs", 0) + 1,
        "billable_s": round(before.get("billable_s", 0.0) + billable_s, 3),
        "instance_s": round(before.get("instance_s", 0.0) + instance_s, 3),
    }
    if price is not None:
        per_hour = price.of(results.instance_type if results else "")
        usage["usd"] = round(before.get("usd", 0.0) + instance_s * per_hour / 3600, 6)
    if results is not None:
        names = ("instance_type", "instance_count", "image", "model_uri", "output_uri", "log_url")
        usage |= {name: getattr(results, name) for name in names if getattr(results, name)}
    return usage


def duration_s(trial: Trial, status: JobStatus, watched_s: float | None) -> float | None:
    """Return the seconds from the start of a trial to the end of its job.

    The system time may have changed in between. The function therefore uses two differences: between the job's own
    times, which the backend keeps as far apart as the job ran, and between the starts of trial and job.

    Args:
        trial: The trial.
        status: The status of its job.
        watched_s: Seconds since this agent started the trial, by the monotonic clock; None if another agent did.

    Returns:
        The seconds, or None if the times of the job are unknown. The end is now in this case.
    """
    if trial.started_at is None or status.started_at is None or status.ended_at is None:
        return None
    ran_s = max(0.0, (status.ended_at - status.started_at).total_seconds())
    waited_s = max(0.0, (status.started_at - trial.started_at).total_seconds())
    return ran_s + waited_s if watched_s is None else max(ran_s, min(ran_s + waited_s, watched_s))


def _with_advice(reason: str, failure: str) -> str:
    advice = ADVICE.get(failure)
    if advice is None or "; " in reason.partition("\n")[0]:  # a backend that knew more has given its own
        return reason
    first, newline, rest = reason.partition("\n")
    return f"{first} ({advice}){newline}{rest}"
