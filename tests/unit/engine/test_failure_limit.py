"""Failures after which an agent stops working on a sweep."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from smsweep.core.trial import Trial, TrialState
from smsweep.engine.failure_limit import FailureLimit

START = datetime(2026, 1, 2, tzinfo=timezone.utc)
LATE = START + timedelta(hours=1)
TRACEBACK = "KeyError: 'lr'\n  File \"train.py\", line 3"
PIP = "requirements.txt: pip ended with exit code 1:\nERROR: No matching distribution found for nosuch"


def failed(reason: str) -> Trial:
    return Trial(number=0, params={}, state=TrialState.FAILED, reason=reason)


def test_three_equal_tracebacks_stop_the_agent_at_any_time() -> None:
    flapping = FailureLimit(START)
    assert [bool(flapping.note(failed(TRACEBACK), LATE)) for _ in range(2)] == [False, False]
    trouble = flapping.note(failed(TRACEBACK), LATE)
    assert trouble.startswith("3 trials failed in the same way")
    assert TRACEBACK in trouble


def test_job_names_in_paths_are_ignored() -> None:
    flapping = FailureLimit(START)
    reasons = [f"OSError: /jobs/smsweep-abcd1234-{n}-0/ml/code/x: no such file" for n in range(3)]
    troubles = [flapping.note(failed(reason), LATE) for reason in reasons]
    assert troubles[2].endswith(": 3 x OSError: /jobs/JOB/ml/code/x: no such file")


def test_five_different_tracebacks_stop_the_agent() -> None:
    flapping = FailureLimit(START)
    assert [bool(flapping.note(failed(f"KeyError: {n}"), LATE)) for n in range(5)] == [False] * 4 + [True]


def test_success_resets_equal_tracebacks() -> None:
    flapping = FailureLimit(START)
    flapping.note(Trial(number=0, params={}, state=TrialState.FINISHED), LATE)
    assert not any(flapping.note(failed(TRACEBACK), LATE) for _ in range(9))


@pytest.mark.parametrize("prefix", ["", "AlgorithmError: "])  # prefix of SageMaker
def test_requirements_that_cannot_be_installed_stop_the_agent_at_once(prefix: str) -> None:
    trouble = FailureLimit(START).note(failed(prefix + PIP), LATE)
    assert trouble.startswith("no trial of this sweep can start, so this agent starts no more: ")
    assert "No matching distribution found for nosuch" in trouble


@pytest.mark.parametrize(
    "reason",
    [
        "ClientError: Cannot pull algorithm container. Either the image does not exist or its permissions are "
        "incorrect.",
        "ClientError: Data download failed:Please ensure that the subnet's route table has a route to an S3 VPC "
        "endpoint or a NAT device",
    ],
)
def test_failure_before_every_start_stops_the_agent_at_once(reason: str) -> None:
    assert FailureLimit(START).note(failed(reason), LATE).startswith("no trial of this sweep can start")


def test_requirements_failure_after_a_success_does_not_stop_the_agent() -> None:
    flapping = FailureLimit(START)
    flapping.note(Trial(number=0, params={}, state=TrialState.FINISHED), LATE)
    assert flapping.note(failed(PIP), LATE) == ""


def test_script_message_about_requirements_does_not_stop_the_agent() -> None:
    assert FailureLimit(START).note(failed("ValueError: requirements.txt: pip ended badly"), LATE) == ""


def test_three_failures_within_the_first_minute_stop_the_agent() -> None:
    flapping = FailureLimit(START)
    times = [START + timedelta(seconds=seconds) for seconds in (57, 58, 59)]
    troubles = [flapping.note(failed(f"KeyError: {at}"), at) for at in times]
    assert [bool(trouble) for trouble in troubles] == [False, False, True]
    assert troubles[2].startswith("the first 3 trials failed")


def test_three_failures_after_the_first_minute_do_not_stop_the_agent() -> None:
    flapping = FailureLimit(START)
    minute = START + timedelta(seconds=60)
    assert not any(flapping.note(failed(f"KeyError: {n}"), minute) for n in range(3))


def test_success_resets_consecutive_failures() -> None:
    flapping = FailureLimit(START, max_consecutive=2)
    well = Trial(number=0, params={}, state=TrialState.FINISHED)
    assert [flapping.note(trial, LATE) for trial in (well, failed("a"), well, failed("b"))] == [""] * 4
    assert flapping.note(failed("c"), LATE).startswith("2 trials in a row failed")


def test_killed_trial_is_not_a_failure() -> None:
    flapping = FailureLimit(START, max_consecutive=1)
    assert flapping.note(Trial(number=0, params={}, state=TrialState.KILLED), LATE) == ""


@pytest.mark.parametrize(
    "environ", [{"WANDB_AGENT_DISABLE_FLAPPING": "True"}, {"WANDB_AGENT_MAX_INITIAL_FAILURES": "99"}]
)
def test_wandb_variables_change_the_limits(environ: dict[str, str]) -> None:
    flapping = FailureLimit.from_environ(environ, START)
    assert not any(flapping.note(failed(f"KeyError: {n}"), LATE) for n in range(9))
    is_off = "WANDB_AGENT_DISABLE_FLAPPING" in environ
    assert bool(flapping.note(failed(PIP), LATE)) is not is_off


def test_max_consecutive_holds_when_other_limits_are_off() -> None:
    flapping = FailureLimit.from_environ({"WANDB_AGENT_DISABLE_FLAPPING": "true"}, START, max_consecutive=1)
    assert flapping.note(failed(TRACEBACK), LATE).startswith("1 trial in a row failed")
