"""The state of a trial after its job ended, and whether the trial is retried."""

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

# (job status, who asked the job to end) -> trial state. Statuses that are not in the table are not final.
FINAL_STATES = {
    ("Completed", ""): TrialState.FINISHED,
    ("Completed", "rule"): TrialState.FINISHED,  # the script finished before the stop arrived
    ("Completed", "pause"): TrialState.FINISHED,
    ("Completed", "person"): TrialState.FINISHED,
    ("Completed", "agent"): TrialState.FINISHED,
    ("Failed", ""): TrialState.FAILED,
    ("Failed", "rule"): TrialState.STOPPED,
    ("Failed", "pause"): TrialState.STOPPED,
    ("Failed", "person"): TrialState.KILLED,
    ("Failed", "agent"): TrialState.PENDING,
    ("Stopped", ""): TrialState.KILLED,  # stopped outside smsweep, for example in the console
    ("Stopped", "rule"): TrialState.STOPPED,
    ("Stopped", "pause"): TrialState.STOPPED,
    ("Stopped", "person"): TrialState.KILLED,
    ("Stopped", "agent"): TrialState.PENDING,  # the agent's machine shuts down: another agent retries the trial
}

TIMEOUTS = {
    "MaxRuntimeExceeded": "ran longer than its limit (max_run)",
    "MaxWaitTimeExceeded": "waited and ran longer than its limit (max_wait)",
}
LOST_CLASSES = (CRASHED, CAPACITY, INTERNAL)  # failure classes that say nothing about the script


@dataclass(frozen=True, kw_only=True, slots=True)
class NextState:
    """The next state of a trial whose job ended."""

    to: TrialState
    reason: str  # for the user; "" if there is none
    retries: Mapping[str, int] = field(default_factory=dict)  # failure class -> retries so far, with this one


def verdict(status: JobStatus, asked_by: str) -> tuple[TrialState, str]:
    """Return the final state of a trial whose job ended, before retries are considered.

    Args:
        status: The final status of the job.
        asked_by: Who asked the trial to end, as in `Trial.asked_by`.

    Returns:
        The state, and a reason for the user.

    Raises:
        KeyError: If the job has not ended.
    """
    state = FINAL_STATES[(status.status, asked_by)]
    if status.status == "Stopped" and not asked_by:
        if status.secondary_status in TIMEOUTS:
            return TrialState.FAILED, TIMEOUTS[status.secondary_status]
        return state, status.failure_reason or "its job was stopped from outside"
    failure = failure_class(status, asked_by)
    if failure in LOST_CLASSES:
        return TrialState.CRASHED, status.failure_reason
    return state, "" if state is TrialState.FINISHED else _with_advice(status.failure_reason, failure)


def failure_class(status: JobStatus, asked_by: str) -> str:
    """Return the failure class of a job that ended.

    Args:
        status: The final status of the job.
        asked_by: Who asked the trial to end, as in `Trial.asked_by`.

    Returns:
        A key of `failure_kind.RETRIES`; "" for a success, or if the end was asked for.
    """
    if status.status == "Completed" or asked_by:
        return ""
    if status.failure_class:
        return status.failure_class
    if status.status == "Stopped":
        return TIMEOUT if status.secondary_status in TIMEOUTS else EXTERNAL
    return classify(status.failure_reason, status.exit_code, is_lost=status.is_lost)


def decide(trial: Trial, status: JobStatus, allowed: Mapping[str, int]) -> NextState:
    """Return the next state of a trial whose job ended.

    Args:
        trial: The trial, in its last state.
        status: The final status of its job.
        allowed: Failure class -> number of retries, where it differs from `failure_kind.RETRIES`.

    Returns:
        The next state: pending if the trial is retried, else its final state.
    """
    to, reason = verdict(status, trial.asked_by)
    if trial.asked_by and to is not TrialState.FINISHED:
        reason = trial.reason  # the reason for the stop is more useful than the end of the job
    failure = failure_class(status, trial.asked_by)
    return retry(trial, failure, allowed, NextState(to=to, reason=reason, retries=trial.retries))


def retry(trial: Trial, failure: str, allowed: Mapping[str, int], otherwise: NextState) -> NextState:
    """Return a ruling that retries the trial if retries of its failure class are left, else `otherwise`.

    Args:
        trial: The trial, with the retries so far.
        failure: The failure class; "" if there was no failure.
        allowed: Failure class -> number of retries, where it differs from `failure_kind.RETRIES`.
        otherwise: The ruling if the trial is not retried.
    """
    so_far = trial.retries.get(failure, 0)
    if not failure or so_far >= allowed.get(failure, RETRIES[failure]):
        return otherwise
    return NextState(
        to=TrialState.PENDING, reason=otherwise.reason, retries={**trial.retries, failure: so_far + 1}
    )


def usage_after(trial: Trial, status: JobStatus, price: Price | None) -> dict[str, Any]:
    """Return the usage of a trial, including its job that just ended.

    Args:
        trial: The trial, with the usage of its earlier jobs.
        status: The final status of the job.
        price: Price of one instance; None if unknown, so that no dollars are counted.

    Returns:
        `n_jobs`, `billable_s`, `instance_s` (seconds times instances), `usd`, and facts about the last job.
    """
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

    The system clock can be set while the job runs. So the two times of the job are only compared with each
    other, and the start of the job only with the start of the trial, which is shortly before.

    Args:
        trial: The trial.
        status: The final status of its job.
        watched_s: Seconds since this agent started the trial, by a monotonic clock. None if another agent
            started it.

    Returns:
        The seconds; None if the times of the job are unknown. Then the trial ends now.
    """
    if trial.started_at is None or status.started_at is None or status.ended_at is None:
        return None
    ran_s = max(0.0, (status.ended_at - status.started_at).total_seconds())
    waited_s = max(0.0, (status.started_at - trial.started_at).total_seconds())
    return ran_s + waited_s if watched_s is None else max(ran_s, min(ran_s + waited_s, watched_s))


def _with_advice(reason: str, failure: str) -> str:
    advice = ADVICE.get(failure)
    if advice is None or "; " in reason.partition("\n")[0]:  # the backend gave more specific advice
        return reason
    first, newline, rest = reason.partition("\n")
    return f"{first} ({advice}){newline}{rest}"
