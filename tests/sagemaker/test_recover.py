"""Recovery of a lost store from the account's training jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from smsweep.services import aws_setup
from smsweep.services.agents import run_agent
from smsweep.services.recover import recover
from smsweep.services.sweeps import create
from tests.sagemaker.conftest import Account
from tests.sagemaker.test_iam import actions, called


@pytest.mark.parametrize("backend", ["sagemaker", "batch"])
def test_sweep_is_rebuilt_from_its_training_jobs(
    account: Account, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("SMSWEEP_BATCH_QUEUE", "gpus")
    job = {**account.job, "request": {"HyperParameters": {"depth": "3"}}}
    sweep_id = create.sweep(account.sweep(4), project="digits", job=job)
    run_agent.agent(sweep_id, backend=backend, count=3)
    before = account.trials()
    shutil.rmtree(Path(".smsweep"))
    account.emulator.faults.set({"throttle": {"DescribeTrainingJob": 1}})
    found = recover(sweep_id, account.sweep(4), job=job, backend=backend)
    account.emulator.faults.set({"throttle": {}})
    assert (found.n_trials, found.n_lost) == (3, 0)
    assert run_agent.agent(sweep_id, backend=backend, parallel=2).ended == {"finished": 4}
    after = account.trials()
    result = [
        [(t.params, t.state, t.attempt, t.metrics, t.usage) for t in trials] for trials in (before, after[:3])
    ]
    assert result[0] == result[1]
    assert [trial.params["x"] for trial in after] == [0, 1, 2, 3]
    assert len(account.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]) == 4
    assert called(account) <= actions(aws_setup.policies(job)["launcher"]) | actions(
        aws_setup.policies(job)["role"]
    )
