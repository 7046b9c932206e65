"""Functions that run as training jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import smsweep
from smsweep.errors import JobRejected
from smsweep.services.workspace import Workspace
from tests.sagemaker.conftest import Account

SWEEP = {"method": "grid", "parameters": {"x": {"values": [1, 2]}}}


def test_function_runs_as_training_jobs(account: Account) -> None:
    factor = 3

    def train() -> None:
        smsweep.log({"loss": smsweep.init().config.x * factor, "is_job": int(Path("/.dockerenv").exists())})

    smsweep.run(SWEEP, function=train, job=account.job, backend="sagemaker", parallel=2)
    assert [trial.metrics["loss"].last for trial in account.trials()] == [3, 6]
    assert sorted(account.created().values()) == [1, 1]


def test_image_with_another_python_is_refused_before_the_sweep_exists(account: Account) -> None:
    other = "py39" if sys.version_info[:2] != (3, 9) else "py310"
    image = f"763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.13.1-cpu-{other}-ubuntu20.04"
    with pytest.raises(JobRejected, match=r"image 7631\S+ has Python 3.*; set image_uri in job.yaml to "):
        smsweep.run(SWEEP, function=print, job={**account.job, "image_uri": image}, backend="sagemaker")
    assert not Workspace().has_store
