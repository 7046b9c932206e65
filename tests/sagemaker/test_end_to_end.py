"""Thirty trials with throttling, a quota, faults, and a launcher that is killed twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.trial import TrialState
from smsweep.services.sweeps import create
from tests.sagemaker.conftest import Account

N_TRIALS = 30
QUOTA = 3
TRAIN = """
import os, time, smsweep
run = smsweep.init()
file = os.environ.get("SMSWEEP_ML_ROOT", "/opt/ml") + "/checkpoints/step"
first = int(open(file).read()) if os.path.exists(file) else 0
for step in range(first, 3):
    smsweep.log({"loss": run.config["x"] + 3 - step}, step=step)
    with open(file, "w") as kept:
        kept.write(str(step + 1))
    time.sleep(0.3)
"""
FAULTS = {
    "quota": QUOTA,
    "throttle": {"CreateTrainingJob": 3, "ListTrainingJobs": 0.4, "DescribeTrainingJob": 5, "FilterLogEvents": 5},
    "no_capacity": [{}],
    "interrupt": [{"after_s": 0.5}],
    "lose_response": [{"action": "CreateTrainingJob"}],
}


@pytest.mark.slow
@pytest.mark.parametrize("account", ["process", pytest.param("docker", marks=pytest.mark.docker)], indirect=True)
def test_thirty_trials_survive_all_faults_at_once(account: Account) -> None:
    (account.folder / "train.py").write_text(TRAIN)
    job = {**account.job, "use_spot_instances": True, "max_wait": 900}
    sweep_id = create.sweep(account.sweep(N_TRIALS), job=job)
    account.emulator.faults.set(FAULTS)
    for n_created in (5, 15):  # number of jobs after which each launcher is killed
        run_until(sweep_id, account, n_created)
    assert launcher(sweep_id).wait(timeout=280) == 0

    trials = account.trials()
    assert [trial.state for trial in trials] == [TrialState.FINISHED] * N_TRIALS
    assert [trial.metrics["loss"].last for trial in trials] == [trial.params["x"] + 1 for trial in trials]
    assert sum(trial.retries.get("capacity", 0) for trial in trials) == 1
    created = account.created()
    assert set(created.values()) == {1}
    assert len(created) == N_TRIALS + 1  # one for each attempt
    jobs = jobs_of(account)
    assert {job["status"] for job in jobs} == {"Completed", "Failed"}  # no orphan is left
    assert sum(job["restarts"] for job in jobs) == 1
    assert most_alive(jobs) == QUOTA
    ledger = account.emulator.ledger.read()
    assert [entry["action"] for entry in ledger if entry.get("is_lost")] == ["CreateTrainingJob"]
    assert {"ThrottlingException", "ResourceLimitExceeded"} <= {entry.get("code") for entry in ledger}


def launcher(sweep_id: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "smsweep.cli.main", "-q", "agent", sweep_id, "--backend", "sagemaker"]
    return subprocess.Popen([*command, "--parallel", "8"], stdout=subprocess.DEVNULL)


def run_until(sweep_id: str, account: Account, n_created: int) -> None:
    """Start a launcher, and kill it with SIGKILL after this number of jobs was created."""
    process = launcher(sweep_id)
    deadline = time.monotonic() + 120
    while len(account.created()) < n_created:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()


def jobs_of(account: Account) -> list[dict[str, Any]]:
    folder = Path(account.emulator.ledger.path).parent / "jobs"
    return [json.loads(file.read_text()) for file in folder.glob("*.json")]


def most_alive(jobs: list[dict[str, Any]]) -> int:
    """Return the maximum number of concurrent jobs."""
    spans: list[tuple[float, float]] = [(job["created_at"], job["modified_at"]) for job in jobs]
    return max(sum(a <= at < b for a, b in spans) for at, _ in spans)
