"""Costs of trials, and budgets."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from smsweep.cli.commands import show
from smsweep.cli.main import main
from smsweep.core.json_documents import SweepDocument
from smsweep.core.trial import Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.services.sweeps import costs
from smsweep.services.views import json_views
from tests.sagemaker.conftest import Account
from tests.support.json_documents import check

PRICED = {"price_per_hour": 3.6, "max_run": 100}  # at most 10 cents per trial


def test_cost_follows_from_billable_seconds(account: Account) -> None:
    account.run(1, job=PRICED)
    (trial,) = account.trials()
    assert trial.usage["usd"] == round(trial.usage["billable_s"] * 0.001, 6)
    assert trial.usage["instance_type"] == "ml.m5.large"
    assert json_views.show(trial.sweep_id)["usage"]["usd"] == trial.usage["usd"]


def test_spot_trial_costs_its_billable_seconds(account: Account) -> None:
    (account.folder / "train.py").write_text("import smsweep, time; smsweep.log({'loss': 1}); time.sleep(3)")
    account.run(1, job={**PRICED, "use_spot_instances": True, "max_wait": 900})
    (trial,) = account.trials()
    assert 0 < trial.usage["billable_s"] <= 2


def test_active_trials_are_limited_by_the_worst_case_of_the_budget(account: Account) -> None:
    account.run(4, job={**PRICED, "budget": {"usd": 0.25}}, parallel=4)
    client = account.client("sagemaker")
    jobs = [client.describe_training_job(TrainingJobName=name) for name in account.created()]
    starts, ends = [job["CreationTime"] for job in jobs], [job["TrainingEndTime"] for job in jobs]
    most = max(sum(a <= at < b for a, b in zip(starts, ends, strict=True)) for at in starts)
    assert most == 2
    assert [trial.state for trial in account.trials()] == [TrialState.FINISHED] * 4


def test_worst_case_of_a_running_trial_is_reserved_and_shown(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    result: list[SweepDocument] = []

    def look(trial: Trial) -> None:
        if not result:
            result.append(json_views.show(trial.sweep_id))
            show.show_sweep(result[0])

    account.run(1, job={**PRICED, "budget": {"usd": 0.25, "hours": 1}}, on_change=look)
    usage = result[0]["usage"]
    assert usage["set_aside"] == {"usd": 0.1, "hours": round(100 / 3600, 6)}
    assert "$0.00 of $0.25; $0.10 and 0.03 hours reserved for running trials" in capsys.readouterr().out
    assert json_views.show(account.trials()[0].sweep_id)["usage"]["set_aside"] == {"usd": 0.0, "hours": 0.0}


def test_price_list_is_requested_when_the_job_enables_it(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.run(1, job={"price_per_hour": "aws", "max_run": 3600, "budget": {"usd": 1.5}})
    (trial,) = account.trials()
    assert trial.usage["usd"] == pytest.approx(trial.usage["billable_s"] / 3600, abs=1e-6)  # one dollar per hour
    data = json_views.show(trial.sweep_id)
    assert data["usage"]["price"] is not None
    assert data["usage"]["price"]["by_type"] == {"ml.m5.large": 1.0}
    show.show_sweep(data)
    assert "ml.m5.large $1 an hour (AWS price list, 20" in capsys.readouterr().out


def test_dollar_budget_needs_a_price(account: Account) -> None:
    account.emulator.faults.set({"deny": ["GetProducts"]})
    job = {"price_per_hour": "aws", "max_run": 60, "budget": {"usd": 5}}
    with pytest.raises(ConfigError, match="access denied to pricing:GetProducts") as caught:
        account.run(1, job=job)
    assert "set price_per_hour in dollars" in str(caught.value)
    assert account.created() == {}


def test_denied_price_is_unknown_without_a_budget(account: Account) -> None:
    account.emulator.faults.set({"deny": ["GetProducts"]})
    assert account.run(1, job={"price_per_hour": "aws"}).ended == {TrialState.FINISHED: 1}
    assert "usd" not in account.trials()[0].usage


def test_exhausted_budget_finishes_the_sweep(account: Account) -> None:
    (account.folder / "train.py").write_text("import smsweep, time; smsweep.log({'loss': 1}); time.sleep(2)")
    job = {"max_run": 3, "budget": {"hours": 4 / 3600}}
    assert account.run(4, job=job).ended == {TrialState.FINISHED: 1}
    (sweep,) = json_views.list_sweeps()
    assert sweep["state"] == "finished"


def smsweep(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command in this process, without a terminal, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["smsweep", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def write(account: Account, n: int, **job: Any) -> list[str]:
    """Write the files of a sweep, and return the arguments of `run` and `plan`."""
    (account.folder / "sweep.yaml").write_text(json.dumps(account.sweep(n)))
    (account.folder / "job.yaml").write_text(json.dumps({**account.job, **job}))
    return ["sweep.yaml", "--job", "job.yaml", "--backend", "sagemaker"]


def test_plan_shows_account_price_quota_and_cost(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account.emulator.faults.set({"quota": 3})
    budget = {"trials": 2, "usd": 5}
    arguments = write(account, 3, max_run=1800, price_per_hour="aws", budget=budget)
    assert smsweep(monkeypatch, "run", *arguments, "--parallel", "2", "--quiet") == 0
    sweep_id = capsys.readouterr().out.strip()
    assert smsweep(monkeypatch, "plan", *arguments, "--json") == 0
    planned = check("smsweep plan", capsys.readouterr().out)["launch"]
    account_facts = ("region", "account", "role", "image", "quota", "price_per_hour", "price_from", "trials")
    assert [planned[name] for name in account_facts] == [
        "us-east-1",
        "123456789012",
        account.job["role"],
        account.job["image_uri"],
        3.0,
        1.0,
        "aws",
        2,
    ]
    assert planned["endpoint"] == account.emulator.url
    assert planned["instances"] == [{"type": "ml.m5.large", "count": 1}]
    assert planned["worst_case"] == {"hours": 1.0, "usd": 1.0}  # the price list says one dollar per hour
    assert planned["unknown"] == {}
    estimate, trials = planned["estimate"], account.trials()
    mean = sum(trial.usage["billable_s"] for trial in trials) / 2
    assert (estimate["trials"], estimate["sweeps"]) == (2, [sweep_id])
    assert estimate["seconds_per_trial"] == round(mean, 3)
    assert estimate["usd"] == pytest.approx(2 * mean / 3600)
    assert smsweep(monkeypatch, "plan", sweep_id, "--backend", "sagemaker") == 0
    rows = capsys.readouterr().out.splitlines()
    assert "trials              0" in rows  # the budget allows two, which have ended
    assert "price per hour      $1.00 (AWS price list)" in rows


def test_denied_facts_are_unknown(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account.emulator.faults.set({"deny": ["ListServiceQuotas", "GetProducts"]})
    arguments = write(account, 1, price_per_hour="aws")
    assert smsweep(monkeypatch, "plan", *arguments, "--json") == 0
    planned = check("smsweep plan", capsys.readouterr().out)["launch"]
    assert planned["account"] == "123456789012"
    assert (
        planned["quota"]
        is planned["price_per_hour"]
        is planned["estimate"]
        is planned["worst_case"]["usd"]
        is None
    )
    assert "servicequotas:ListServiceQuotas" in planned["unknown"]["quota"]
    assert "pricing:GetProducts" in planned["unknown"]["price_per_hour"]
    assert planned["unknown"]["worst_case"] == "the price is unknown"


def test_first_job_on_aws_needs_consent(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write(account, 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://sagemaker.invalid")  # not on this machine
    assert smsweep(monkeypatch, "run", *arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "worst case" in output.err
    assert "there is no terminal to ask you; add --yes, or a limit in job.yaml" in output.err
    assert smsweep(monkeypatch, "sweep", "sweep.yaml", "--job", "job.yaml") == 0
    sweep_id = capsys.readouterr().out.strip()  # the run has created no sweep, and its agent starts no job either
    for more in ([], ["--detach=sagemaker"]):
        assert smsweep(monkeypatch, "agent", sweep_id, "--backend", "sagemaker", *more) == 2
        assert "add --yes" in capsys.readouterr().err
    assert [(trial.sweep_id, trial.job_name) for trial in account.trials()] == []
    monkeypatch.delenv("AWS_ENDPOINT_URL_SAGEMAKER")
    assert smsweep(monkeypatch, "agent", sweep_id, "--backend", "sagemaker") == 0  # the emulator costs nothing
    assert "worst case" not in capsys.readouterr().err
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://sagemaker.invalid")
    assert not costs.needs_consent(sweep_id, "sagemaker")  # its first job has started
    assert not costs.needs_consent(sweep_id, "docker")
