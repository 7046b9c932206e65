"""Failure reasons of the emulator."""

from __future__ import annotations

from smsweep.core.job import JobStatus
from smsweep.emulator.jobs import lifecycle


def failed(**more: object) -> str:
    return lifecycle.failure_reason(JobStatus(name="job", status="Failed", **more))  # type: ignore[arg-type]  # by the test


def test_failure_reason_has_message_and_exit_code() -> None:
    assert failed(exit_code=3, failure_reason="ValueError: no") == "AlgorithmError: ValueError: no, exit code: 3"


def test_long_failure_reason_is_cut_and_keeps_the_exit_code() -> None:
    output = failed(exit_code=3, failure_reason="x" * 5_000)
    assert len(output) == 1_024
    assert output.endswith("x, exit code: 3")


def test_killed_script_is_reported_as_out_of_memory() -> None:
    assert failed(exit_code=137, failure_reason="OutOfMemory").startswith("AlgorithmError: Please use an instance")


def test_job_that_never_ran_has_a_client_error() -> None:
    assert failed(failure_reason="image x cannot be pulled") == "ClientError: image x cannot be pulled"


def test_lost_job_has_an_internal_error() -> None:
    assert failed(is_lost=True, failure_reason="its machine went down") == lifecycle.INTERNAL
