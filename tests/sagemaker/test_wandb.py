"""Unmodified W&B scripts and W&B sweeps as training jobs, with both servers emulated."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from smsweep.core.trial import TrialState
from smsweep.services import aws_setup
from smsweep.services.agents import run_agent
from smsweep.services.views import json_views
from smsweep.services.wandb import hosted, sync
from tests.sagemaker.conftest import Account
from tests.support.wandb_server import FakeWandb, fake_wandb
from tools.environments import oracle

pytestmark = pytest.mark.oracle

TRAIN = """
import wandb
run = wandb.init(config={"x": 7, "epochs": 2})
for epoch in range(run.config.epochs):
    run.log({"loss": run.config.x + 1 / (epoch + 1), "deep": {"epoch": epoch}})
"""


@pytest.fixture(autouse=True)
def _wandb_in_jobs(account: Account) -> None:
    (account.folder / "train.py").write_text(TRAIN)
    account.job["environment"] = {"PATH": f"{oracle('wandb').python.parent}:{os.environ['PATH']}"}


@pytest.fixture
def server(account: Account) -> Iterator[FakeWandb]:
    with fake_wandb(sweep=account.sweep(2)) as served:
        yield served


def test_wandb_script_runs_as_a_training_job(account: Account) -> None:
    outcome = account.run(2)
    assert outcome.ended == {TrialState.FINISHED: 2}
    assert [trial.metrics["loss"].last for trial in account.trials()] == [0.5, 1.5]
    assert [trial.metrics["deep.epoch"].last for trial in account.trials()] == [1, 1]


def test_offline_wandb_run_can_be_uploaded_later(
    account: Account, server: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.run(2)
    sweep_id = account.trials()[0].sweep_id
    monkeypatch.setenv("PATH", account.job["environment"]["PATH"])
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    assert len(sync.sync(sweep_id)) == 2
    assert sync.sync(sweep_id) == []
    result = {name: (len(run.history), run.group) for name, run in server.runs.items()}
    assert result == {f"{sweep_id}-0": (2, sweep_id), f"{sweep_id}-1": (2, sweep_id)}


def test_sweep_of_the_wandb_server_runs_as_training_jobs(
    account: Account, server: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    stored = aws_setup.auth()
    account.job["environment"]["WANDB_BASE_URL"] = server.url
    sweep_id = hosted.attach(
        f"team/digits/{server.sweep_id}", job={**account.job, "secrets": {"WANDB_API_KEY": stored.arn}}
    )
    outcome = run_agent.agent(sweep_id, backend="sagemaker", parallel=2)
    assert outcome.ended == {TrialState.FINISHED: 2}
    found = sorted((trial["params"]["x"], trial["objective"]) for trial in json_views.list_trials(sweep_id))
    assert found == [(0, 0.5), (1, 1.5)]
    assert len(account.created()) == 2
    assert {name: len(run.history) for name, run in server.runs.items()} == {"run0": 2, "run1": 2}
