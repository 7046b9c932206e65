"""Failure reasons of the emulator."""

from __future__ import annotations

import pytest

from smsweep.core.job import JobStatus
from smsweep.emulator.jobs import lifecycle


def failed(**more: object) -> str:
    return lifecycle.failure_reason(JobStatus(name="job", status="Failed", **more))  # type: ignore[arg-type]  # by the test


def test_failure_reason_has_message_and_exit_code() -> None:
    assert failed(exit_code=3, failure_reason="ValueError: no") == "AlgorithmError: ValueError: no, exit code: 3"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exit code 3", "AlgorithmError: , exit code: 3"),
        ("exit code 3; last line: no data", "AlgorithmError: last line: no data, exit code: 3"),
        ("exit code 3, and nothing in /opt/ml", "AlgorithmError: nothing in /opt/ml, exit code: 3"),
        ("exit code 31 of a child", "AlgorithmError: exit code 31 of a child, exit code: 3"),
    ],
)
def test_failure_reason_has_the_exit_code_once(text: str, reason: str) -> None:
    assert failed(exit_code=3, failure_reason=text) == reason


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
