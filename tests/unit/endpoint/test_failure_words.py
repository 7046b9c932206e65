"""Failure reasons in SageMaker's words."""

from __future__ import annotations

from smsweep.core.job import JobStatus
from smsweep.emulator.jobs import lifecycle


def failed(**more: object) -> str:
    return lifecycle.failure_reason(JobStatus(name="job", status="Failed", **more))  # type: ignore[arg-type]  # by the test


def test_a_scripts_own_words_and_exit_code() -> None:
    assert failed(exit_code=3, failure_reason="ValueError: no") == "AlgorithmError: ValueError: no, exit code: 3"


def test_long_words_lose_their_end_but_not_the_exit_code() -> None:
    said = failed(exit_code=3, failure_reason="x" * 5_000)
    assert len(said) == 1_024
    assert said.endswith("x, exit code: 3")


def test_a_killed_script_needs_more_memory() -> None:
    assert failed(exit_code=137, failure_reason="OutOfMemory").startswith("AlgorithmError: Please use an instance")


def test_a_job_that_never_ran_is_the_clients_error() -> None:
    assert failed(failure_reason="image x cannot be pulled") == "ClientError: image x cannot be pulled"


def test_a_lost_job_is_an_internal_error() -> None:
    assert failed(is_lost=True, failure_reason="its machine went down") == lifecycle.INTERNAL
