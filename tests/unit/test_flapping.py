"""When an agent gives up on a sweep whose trials fail."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from smsweep.core.trial import Trial, TrialState
from smsweep.engine.failure_limit import Flapping

START = datetime(2026, 1, 2, tzinfo=timezone.utc)
LATE = START + timedelta(hours=1)
TRACEBACK = "KeyError: 'lr'\n  File \"train.py\", line 3"
PIP = "requirements.txt: pip ended with exit code 1:\nERROR: No matching distribution found for nosuch"


def failed(reason: str) -> Trial:
    return Trial(number=0, params={}, state=TrialState.FAILED, reason=reason)


def test_three_equal_tracebacks_are_enough_also_late_and_are_shown() -> None:
    flapping = Flapping(START)
    assert [bool(flapping.note(failed(TRACEBACK), LATE)) for _ in range(2)] == [False, False]
    trouble = flapping.note(failed(TRACEBACK), LATE)
    assert trouble.startswith("3 trials failed in the same way")
    assert TRACEBACK in trouble


def test_a_path_of_the_jobs_own_makes_no_difference() -> None:
    flapping = Flapping(START)
    reasons = [f"OSError: /jobs/smsweep-abcd1234-{n}-0/ml/code/x: no such file" for n in range(3)]
    troubles = [flapping.note(failed(reason), LATE) for reason in reasons]
    assert troubles[2].endswith(": 3 x OSError: /jobs/JOB/ml/code/x: no such file")


def test_different_tracebacks_go_on_until_the_fifth() -> None:
    flapping = Flapping(START)
    assert [bool(flapping.note(failed(f"KeyError: {n}"), LATE)) for n in range(5)] == [False] * 4 + [True]


def test_a_success_forgives_equal_tracebacks() -> None:
    flapping = Flapping(START)
    flapping.note(Trial(number=0, params={}, state=TrialState.FINISHED), LATE)
    assert not any(flapping.note(failed(TRACEBACK), LATE) for _ in range(9))


@pytest.mark.parametrize("prefix", ["", "AlgorithmError: "])  # of SageMaker
def test_requirements_that_cannot_be_installed_are_enough_once_and_are_shown(prefix: str) -> None:
    trouble = Flapping(START).note(failed(prefix + PIP), LATE)
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
def test_what_keeps_every_training_job_from_its_start_is_enough_once(reason: str) -> None:
    assert Flapping(START).note(failed(reason), LATE).startswith("no trial of this sweep can start")


def test_requirements_that_could_be_installed_before_are_not_what_is_broken() -> None:
    flapping = Flapping(START)
    flapping.note(Trial(number=0, params={}, state=TrialState.FINISHED), LATE)
    assert flapping.note(failed(PIP), LATE) == ""


def test_a_script_that_speaks_of_requirements_is_not_what_is_meant() -> None:
    assert Flapping(START).note(failed("ValueError: requirements.txt: pip ended badly"), LATE) == ""


def test_within_the_first_minute_three_different_failures_are_enough() -> None:
    flapping = Flapping(START)
    times = [START + timedelta(seconds=seconds) for seconds in (57, 58, 59)]
    troubles = [flapping.note(failed(f"KeyError: {at}"), at) for at in times]
    assert [bool(trouble) for trouble in troubles] == [False, False, True]
    assert troubles[2].startswith("the first 3 trials failed")


def test_after_the_first_minute_three_different_failures_are_not() -> None:
    flapping = Flapping(START)
    minute = START + timedelta(seconds=60)
    assert not any(flapping.note(failed(f"KeyError: {n}"), minute) for n in range(3))


def test_a_success_breaks_a_row_of_failures() -> None:
    flapping = Flapping(START, max_consecutive=2)
    well = Trial(number=0, params={}, state=TrialState.FINISHED)
    assert [flapping.note(trial, LATE) for trial in (well, failed("a"), well, failed("b"))] == [""] * 4
    assert flapping.note(failed("c"), LATE).startswith("2 trials in a row failed")


def test_what_a_person_killed_is_no_failure() -> None:
    flapping = Flapping(START, max_consecutive=1)
    assert flapping.note(Trial(number=0, params={}, state=TrialState.KILLED), LATE) == ""


@pytest.mark.parametrize(
    "environ", [{"WANDB_AGENT_DISABLE_FLAPPING": "True"}, {"WANDB_AGENT_MAX_INITIAL_FAILURES": "99"}]
)
def test_wandbs_variables_have_an_agent_go_on(environ: dict[str, str]) -> None:
    flapping = Flapping.from_environ(environ, START)
    assert not any(flapping.note(failed(f"KeyError: {n}"), LATE) for n in range(9))
    is_off = "WANDB_AGENT_DISABLE_FLAPPING" in environ
    assert bool(flapping.note(failed(PIP), LATE)) is not is_off


def test_even_where_flapping_is_off_a_row_may_be_too_long() -> None:
    flapping = Flapping.from_environ({"WANDB_AGENT_DISABLE_FLAPPING": "true"}, START, max_consecutive=1)
    assert flapping.note(failed(TRACEBACK), LATE).startswith("1 trial in a row failed")
