"""Tuning jobs as sweeps, as prior runs and as an export format, with the emulator."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.cli.main import main
from smsweep.errors import ConfigError, NotFound, UsageError
from smsweep.services.workspace import Workspace
from tests.sagemaker.conftest import ROLE, Account

SQUARE = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--width", type=float)
parser.add_argument("--kind")
parser.add_argument("--epochs", type=int)
args, _ = parser.parse_known_args()
assert args.epochs == 3 and args.kind in ("a", "b"), args
if args.width > 9.99:
    raise ValueError("too wide")
print(f"loss={(args.width - 3) ** 2};")
"""
ENDED = ("Completed", "Failed", "Stopped")
Command = Callable[..., str]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """A command of smsweep in this process, which returns its standard output."""

    def run(*args: str, code: int = 0) -> str:
        capsys.readouterr()
        ended = main(args)
        shown = capsys.readouterr()
        assert ended == code, shown.err
        return shown.out if code == 0 else shown.err

    return run


def source(account: Account) -> str:
    """Put train.py into an archive in S3, and return its URI."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("train.py")
        member.size = len(SQUARE)
        tar.addfile(member, io.BytesIO(SQUARE.encode()))
    account.s3.put_object(Bucket=account.bucket, Key="source/sourcedir.tar.gz", Body=packed.getvalue())
    return f"s3://{account.bucket}/source/sourcedir.tar.gz"


def request(account: Account, name: str, *, jobs: int = 3, **config: Any) -> dict[str, Any]:
    """Return the request that a tuner of a framework sends: values are JSON."""
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "width", "MinValue": "0.5", "MaxValue": "9"}],
                "CategoricalParameterRanges": [{"Name": "kind", "Values": ['"a"', '"b"']}],
            },
            "RandomSeed": 7,
            **config,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                "epochs": "3",
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": json.dumps(source(account)),
                "sagemaker_container_log_level": "20",
            },
            "AlgorithmSpecification": {
                "TrainingImage": account.job["image_uri"],
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.e+-]+);"}],
            },
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": f"s3://{account.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
        "Tags": [{"Key": "team", "Value": "vision"}],
    }


def tune(account: Account, name: str, **more: Any) -> list[dict[str, Any]]:
    """Run a tuning job, and return its training jobs."""
    client = account.client("sagemaker")
    client.create_hyper_parameter_tuning_job(**request(account, name, **more))
    deadline = time.monotonic() + 240
    while True:
        job = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        if job["HyperParameterTuningJobStatus"] in ENDED:
            listed = client.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
            return list(listed["TrainingJobSummaries"])
        assert time.monotonic() < deadline, job
        time.sleep(0.2)


def values(sweep_id: str) -> list[tuple[dict[str, Any], float]]:
    """Return the params and the loss of each trial."""
    return [(run.config, float(str(run.summary["loss"]))) for run in smsweep.Api().sweep(sweep_id).runs]


def test_existing_tuning_job_becomes_a_sweep(account: Account, command: Command) -> None:
    tune(account, "amt", jobs=1)
    Path("train.py").unlink()  # only S3 has the script
    sweep_id = command("sweep", "--from-tuner", "amt").strip()
    stored = smsweep.Api().sweep(sweep_id).sweep
    assert (stored.name, stored.seed, stored.config.run_cap) == ("amt", 7, 1)
    assert stored.job.source_dir == ""
    assert {"Key": "team", "Value": "vision"} in stored.job.request["Tags"]
    command("agent", sweep_id, "--backend", "sagemaker", "--yes")
    ((params, loss),) = values(sweep_id)
    assert params["kind"] in ("a", "b")
    assert loss == pytest.approx((params["width"] - 3) ** 2)
