"""The cost of a sweep before its first job, and its confirmation."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
import typer

from smsweep.cli.run_agent import confirm
from smsweep.cli.text import launch_rows
from smsweep.config_files.job_yaml import parse_job
from smsweep.core.json_documents import LaunchDocument
from smsweep.core.trial import Trial
from smsweep.errors import UsageError
from smsweep.services.sweeps.costs import worst_case

LAUNCH: LaunchDocument = {
    "backend": "sagemaker",
    "endpoint": "",
    "region": "eu-west-1",
    "account": "123456789012",
    "role": "arn:aws:iam::123456789012:role/trainer",
    "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1",
    "instances": [{"type": "ml.g5.xlarge", "count": 2}],
    "is_spot": False,
    "source": {"files": 3, "bytes": 12_345},
    "max_run_s": 3600,
    "max_wait_s": None,
    "parallel": 4,
    "trials": 10,
    "price_per_hour": 1.5,
    "price_from": "job.yaml",
    "worst_case": {"hours": 20.0, "usd": 30.0},
    "estimate": {
        "usd": 2.5,
        "usd_per_trial": 0.25,
        "seconds_per_trial": 300.0,
        "trials": 7,
        "sweeps": ["abcd1234"],
    },
    "quota": 4.0,
    "budget": {},
    "run_cap": 10,
    "count": None,
    "places": [],
    "unknown": {},
}


def launch(**changes: Any) -> LaunchDocument:
    changed: Any = {**LAUNCH, **changes}
    document: LaunchDocument = changed
    return document


class Terminal(io.StringIO):
    """A terminal's input."""

    def isatty(self) -> bool:
        return True


def test_rows_show_what_is_known() -> None:
    assert dict(launch_rows(LAUNCH)) == {
        "region": "eu-west-1",
        "account": "123456789012",
        "role": "arn:aws:iam::123456789012:role/trainer",
        "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1",
        "instances of a job": "2 x ml.g5.xlarge",
        "source": "3 files, 12 KiB",
        "trials": "10",
        "price per hour": "$1.50 (price_per_hour in job.yaml)",
        "worst case": "$30.00 (20.00 instance hours; 10 trials of max_run 1h00m; retries are not included)",
        "estimate": "$2.50; $0.25 and 5m00s per trial (mean of 7 earlier trials)",
        "quota": "4 instances, so 2 of --parallel 4 trials can run at a time",
        "limits": "run_cap 10",
    }


def test_quota_is_not_compared_with_the_slots_of_all_places() -> None:
    place: Any = {"name": "desk", "backend": "process", "slots": 4, "region": "", "instances": []}
    place |= {"is_spot": False, "price_per_hour": 0, "worst_usd_per_trial": 0}
    assert dict(launch_rows(launch(places=[place])))["quota"] == "4 instances"


def test_rows_show_how_to_find_what_is_unknown() -> None:
    unknown = {
        "account": "AWS credentials: there are none",
        "price_per_hour": "set price_per_hour in job.yaml",
        "worst_case": "the sweep has no end; set run_cap",
        "estimate": "no earlier trial",
        "quota": "access denied\n  allow it",
    }
    nothing: dict[str, Any] = dict.fromkeys(
        ("account", "price_per_hour", "estimate", "quota", "trials", "run_cap")
    )
    rows = dict(launch_rows(launch(**nothing, worst_case={"hours": None, "usd": None}, unknown=unknown)))
    assert rows["account"] == "unknown: AWS credentials: there are none"
    assert rows["price per hour"] == "unknown: set price_per_hour in job.yaml"
    assert rows["worst case"] == "unknown: the sweep has no end; set run_cap"
    assert rows["quota"] == "unknown: access denied allow it"
    assert rows["trials"] == "unlimited"
    assert rows["limits"] == "none; set budget in job.yaml, or run_cap in sweep.yaml"


def test_spot_has_a_row_of_its_own() -> None:
    rows = dict(launch_rows(launch(is_spot=True, max_wait_s=7200)))
    assert rows["instances of a job"] == "2 x ml.g5.xlarge, spot"
    assert "(max_wait 2h00m) costs nothing" in rows["spot"]


def test_quota_below_the_instances_of_a_job_is_reported() -> None:
    assert "1 instance, but a job needs 2; request more" in dict(launch_rows(launch(quota=1.0)))["quota"]


@pytest.mark.parametrize("changes", [{"budget": {"usd": 20.0}}, {"endpoint": "http://127.0.0.1:8471"}])
def test_budget_or_emulator_needs_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    confirm(launch(**changes), yes=False)
    output = capsys.readouterr()
    assert output.out == ""
    assert "worst case" in output.err


def test_without_a_terminal_a_run_needs_yes_or_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    confirm(LAUNCH, yes=True)
    confirm(None, yes=False)  # a free backend
    with pytest.raises(UsageError, match=r"add --yes, or a limit in job.yaml such as budget: \{hours: 10\}"):
        confirm(LAUNCH, yes=False)


@pytest.mark.parametrize("budget", [{}, {"usd": 20.0}])
def test_terminal_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], budget: dict[str, float]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    confirm(launch(budget=budget), yes=False)
    assert "Start the jobs, which cost up to $30.00? [y/N]" in capsys.readouterr().err
    for answer in ("n\n", "\n"):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        with pytest.raises(typer.Abort):
            confirm(launch(budget=budget), yes=False)


JOB = {"instance_type": "ml.m5.large", "instance_count": 2, "max_run": 1800, "price_per_hour": 2.0}


@pytest.mark.parametrize(
    ("job", "n_trials", "expected"),
    [
        ({}, 3, (3.0, 6.0)),
        ({}, None, (None, None)),
        ({"keep_alive_period_in_seconds": 1800}, 3, (6.0, 12.0)),
        ({"budget": {"hours": 2}}, 3, (1.5, 3.0)),  # half an hour was used
        ({"budget": {"usd": 4}}, None, (None, 3.0)),
        ({"budget": {"usd": 4}}, 3, (3.0, 3.0)),
        ({"use_spot_instances": True, "max_wait": 7200}, 3, (3.0, 6.0)),  # the wait costs nothing
    ],
)
def test_worst_case_follows_from_max_run_and_budget(
    job: dict[str, Any], n_trials: int | None, expected: tuple[float | None, float | None]
) -> None:
    template = parse_job({**JOB, **job}).template
    used = Trial(number=0, params={}, usage={"instance_s": 1800.0, "usd": 1.0})
    assert worst_case(template, template.price, n_trials, [used]) == expected


def test_worst_case_in_dollars_is_unknown_without_a_price() -> None:
    template = parse_job({name: value for name, value in JOB.items() if name != "price_per_hour"}).template
    assert worst_case(template, None, 3, []) == (3.0, None)
