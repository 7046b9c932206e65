"""Final state of a trial for each end of its job."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest

from smsweep.core.failure_kind import (
    CAPACITY,
    CRASHED,
    DISK,
    EXTERNAL,
    INTERNAL,
    OOM,
    RETRIES,
    TIMEOUT,
    USER,
)
from smsweep.core.job import JobResults, JobStatus, Price
from smsweep.core.outcome import FINAL_STATES, decide, duration_s, failure_class, usage_after
from smsweep.core.trial import MOVES, Trial, TrialState

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
RUNNING = Trial(number=0, params={}, state=TrialState.RUNNING)
ENDS = ("Completed", "Failed", "Stopped")


def stopping(by: str, reason: str = "") -> Trial:
    return dataclasses.replace(RUNNING, state=TrialState.STOPPING, asked_by=by, reason=reason)


def ended(status: str, **more: object) -> JobStatus:
    return JobStatus(name="job", status=status, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("by", "states"),
    [
        ("", ["finished", "failed", "killed"]),
        ("rule", ["finished", "stopped", "stopped"]),
        ("pause", ["finished", "stopped", "stopped"]),
        ("person", ["finished", "killed", "killed"]),
        ("agent", ["finished", "pending", "pending"]),
    ],
)
def test_final_state_depends_on_who_asked(by: str, states: list[str]) -> None:
    trial = stopping(by) if by else RUNNING
    rulings = [decide(trial, ended(status, exit_code=1), {}) for status in ENDS]
    assert [ruling.to.value for ruling in rulings] == states
    assert all(ruling.to in MOVES[trial.state] for ruling in rulings)


def test_every_final_status_has_a_state() -> None:
    assert set(FINAL_STATES) == {
        (status, by) for status in ENDS for by in ("", "rule", "pause", "person", "agent")
    }


def test_running_job_has_no_final_state() -> None:
    with pytest.raises(KeyError):
        decide(RUNNING, ended("InProgress"), {})


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ended("Completed"), ""),
        (ended("Failed", failure_reason="ValueError: no", exit_code=1), USER),
        (ended("Failed", failure_reason="CUDA out of memory", exit_code=1), OOM),
        (ended("Failed", exit_code=137), OOM),
        (ended("Failed", failure_reason="No space left on device", exit_code=1), DISK),
        (ended("Failed", exit_code=1, is_lost=True), CRASHED),
        (ended("Failed", failure_class=CAPACITY), CAPACITY),
        (ended("Stopped"), EXTERNAL),
        (ended("Stopped", secondary_status="MaxRuntimeExceeded"), TIMEOUT),
        (ended("Stopped", secondary_status="MaxWaitTimeExceeded"), TIMEOUT),
    ],
)
def test_failure_class_of_status(status: JobStatus, expected: str) -> None:
    assert failure_class(status, "") == expected
    assert failure_class(status, "person") == ""


@pytest.mark.parametrize("failure", [CRASHED, CAPACITY, INTERNAL])
def test_platform_failures_are_retried_as_often_as_the_default(failure: str) -> None:
    status, trial = ended("Failed", failure_class=failure, failure_reason="gone"), RUNNING
    for n in range(1, RETRIES[failure] + 1):
        ruling = decide(trial, status, {})
        assert (ruling.to, ruling.retries) == (TrialState.PENDING, {failure: n})
        trial = dataclasses.replace(trial, retries=ruling.retries)
    ruling = decide(trial, status, {})
    assert (ruling.to, ruling.reason, ruling.retries) == (TrialState.CRASHED, "gone", trial.retries)


def test_job_config_changes_number_of_retries() -> None:
    status = ended("Failed", failure_reason="ValueError: no", exit_code=1)
    assert decide(RUNNING, status, {USER: 1}).to is TrialState.PENDING
    once_more = dataclasses.replace(RUNNING, retries={USER: 1})
    assert decide(once_more, status, {USER: 1}).to is TrialState.FAILED
    assert decide(RUNNING, ended("Failed", is_lost=True), {CRASHED: 0}).to is TrialState.CRASHED


def test_stopped_trial_is_not_retried_and_keeps_its_reason() -> None:
    ruling = decide(stopping("rule", "hyperband: too slow"), ended("Failed", failure_reason="SIGTERM"), {USER: 9})
    assert (ruling.to, ruling.reason, ruling.retries) == (TrialState.STOPPED, "hyperband: too slow", {})


def test_trial_that_finished_before_the_stop_has_no_reason() -> None:
    ruling = decide(stopping("rule", "hyperband: too slow"), ended("Completed"), {})
    assert (ruling.to, ruling.reason) == (TrialState.FINISHED, "")


@pytest.mark.parametrize(
    ("secondary", "limit"), [("MaxRuntimeExceeded", "max_run"), ("MaxWaitTimeExceeded", "max_wait")]
)
def test_job_that_exceeded_its_limit_failed(secondary: str, limit: str) -> None:
    ruling = decide(RUNNING, ended("Stopped", secondary_status=secondary), {})
    assert ruling.to is TrialState.FAILED
    assert f"({limit})" in ruling.reason


def test_advice_is_added_to_first_line_without_advice() -> None:
    reason = decide(RUNNING, ended("Failed", failure_reason="MemoryError\n  line 3; in f"), {}).reason
    assert reason.startswith("MemoryError (memory ran out; ")
    assert reason.endswith(")\n  line 3; in f")
    advised = "out of memory; use a larger machine"
    assert decide(RUNNING, ended("Failed", failure_reason=advised), {}).reason == advised


def test_usage_is_summed_over_jobs_of_a_trial() -> None:
    results = JobResults(billable_s=90, instance_type="ml.a", instance_count=2)
    price = Price(per_hour=100.0, by_type={"ml.a": 20.0})
    status = ended("Completed", results=results)
    usage = usage_after(RUNNING, status, price)
    assert usage == {
        "n_jobs": 1,
        "billable_s": 90,
        "instance_s": 180,
        "usd": 1.0,
        "instance_type": "ml.a",
        "instance_count": 2,
    }
    again = usage_after(dataclasses.replace(RUNNING, usage=usage), status, price)
    assert (again["n_jobs"], again["billable_s"], again["instance_s"], again["usd"]) == (2, 180, 360, 2.0)


def test_billable_seconds_default_to_duration_of_job() -> None:
    status = ended("Completed", started_at=NOON, ended_at=NOON + timedelta(seconds=7))
    assert usage_after(RUNNING, status, None) == {"n_jobs": 1, "billable_s": 7, "instance_s": 7}
    assert usage_after(RUNNING, ended("Failed"), None)["billable_s"] == 0


@pytest.mark.parametrize(
    ("trial_start_s", "job_s", "watched_s", "expected_s"),
    [
        (0, (1, 41), 90, 41),  # read late
        (0, (1, 41), None, 41),  # by another agent
        (0, (600, 640), None, 640),  # after a long pull of the image
        (-86_400, (1, 41), 42, 42),  # the store's clock is a day behind
        (86_400, (1, 41), 42, 40),  # or a day ahead
        (86_400, (1, 41), None, 40),
        (0, (1, 41), 30, 40),  # a stopwatch that stops while the machine sleeps
    ],
)
def test_duration_is_from_trial_start_to_job_end(
    trial_start_s: float, job_s: tuple[float, float], watched_s: float | None, expected_s: float
) -> None:
    trial = dataclasses.replace(RUNNING, started_at=NOON + timedelta(seconds=trial_start_s))
    start, end = (NOON + timedelta(seconds=seconds) for seconds in job_s)
    assert duration_s(trial, ended("Completed", started_at=start, ended_at=end), watched_s) == expected_s


def test_duration_is_unknown_without_job_times() -> None:
    trial = dataclasses.replace(RUNNING, started_at=NOON)
    assert duration_s(trial, ended("Completed"), 5.0) is None
    assert duration_s(RUNNING, ended("Completed", started_at=NOON, ended_at=NOON), 5.0) is None
