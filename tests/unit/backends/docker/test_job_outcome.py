"""The status of a job, derived from the ends of its containers."""

from __future__ import annotations

import pytest

from smsweep.backends.docker.engine import engine_time
from smsweep.backends.docker.job_outcome import HostEnd, host_end, judge


def end(exit_code: int = 0, reason: str = "", *, host: str = "algo-1", is_out_of_memory: bool = False) -> HostEnd:
    return HostEnd(host=host, exit_code=exit_code, is_out_of_memory=is_out_of_memory, reason=reason)


@pytest.mark.parametrize(
    ("ends", "stopped_by", "expected"),
    [
        ([end()], "", ("Completed", "Completed", 0, False)),
        ([end(3, "no")], "", ("Failed", "Failed", 3, False)),
        ([end(0)], "person", ("Stopped", "Stopped", 0, False)),
        ([end(143)], "person", ("Stopped", "Stopped", 143, False)),
        ([end(137)], "max_runtime", ("Stopped", "MaxRuntimeExceeded", 137, False)),
        ([end(137)], "", ("Failed", "Failed", 137, True)),
        ([end(255)], "", ("Failed", "Failed", 255, True)),
        ([end(143)], "", ("Failed", "Failed", 143, True)),
        ([end(143, "exit code 143")], "", ("Failed", "Failed", 143, False)),
        ([end(0, "stopped: was sent SIGTERM, ended with exit code 0")], "", ("Failed", "Failed", 0, True)),
        ([end(0, "no")], "", ("Completed", "Completed", 0, False)),
        ([end(1, "stopped: was sent SIGTERM, ended with exit code 1")], "", ("Failed", "Failed", 1, True)),
        ([end(137, "the script was killed")], "", ("Failed", "Failed", 137, False)),
        ([end(137, is_out_of_memory=True)], "", ("Failed", "Failed", 137, False)),
    ],
)
def test_job_status_matches_sagemaker(
    ends: list[HostEnd], stopped_by: str, expected: tuple[str, str, int, bool]
) -> None:
    verdict = judge(ends, stopped_by, 0)
    assert (verdict.status, verdict.secondary_status, verdict.exit_code, verdict.is_lost) == expected


def test_exit_code_255_is_the_scripts_own_when_the_container_was_watched() -> None:
    verdict = judge([end(255)], "", 0, was_watched=True)
    assert (verdict.is_lost, verdict.failure_reason) == (
        False,
        "exit code 255, without /opt/ml/output/failure",
    )


def test_failure_reason_names_the_first_failed_host() -> None:
    ends = [end(0), end(5, "out of luck", host="algo-3"), end(137, host="algo-2")]
    verdict = judge(ends, "", 0)
    assert (verdict.exit_code, verdict.failure_reason) == (5, "algo-3: out of luck")


def test_out_of_memory_reason_has_the_limit_and_the_fix() -> None:
    verdict = judge([end(137, is_out_of_memory=True)], "", 512 << 20)
    assert "its limit of 512 MiB; raise SMSWEEP_DOCKER_MEMORY" in verdict.failure_reason
    assert verdict.failure_class == "oom"


def test_script_that_survives_out_of_memory_completes() -> None:
    assert judge([end(0, is_out_of_memory=True)], "", 512 << 20).status == "Completed"


def test_failure_reason_is_the_engines_error_if_there_is_one() -> None:
    state = {"ExitCode": 128, "OOMKilled": False, "Error": "driver failed"}
    assert judge([host_end("algo-1", state, "")], "", 0).failure_reason == "driver failed (exit code 128)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T14:55:09.808398123Z", "2026-11-25T14:55:09.808398+00:00"),
        ("2026-11-25T14:55:09.8Z", "2026-11-25T14:55:09.800000+00:00"),
        ("2026-11-25T14:55:09Z", "2026-11-25T14:55:09+00:00"),
        ("0001-01-01T00:00:00Z", "None"),
        ("", "None"),
    ],
)
def test_engine_time_is_parsed(text: str, expected: str) -> None:
    found = engine_time(text)
    assert (found.isoformat() if found else "None") == expected
