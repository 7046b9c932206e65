"""Tuning jobs as sweeps, as prior runs and as an export format, with the emulator."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.cli.main import main
from smsweep.core.trial import TrialState
from smsweep.errors import ConfigError, NotFound, SmsweepError, UsageError
from smsweep.services import aws_setup
from smsweep.services.sweeps.create import read_prior
from smsweep.services.sweeps.tuning_jobs import read_tuner, write_files
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
print(f"size={args.width * 10};")
print(f"loss={(args.width - 3) ** 2};")
"""
ENDED = ("Completed", "Failed", "Stopped")
Command = Callable[..., str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """A command of smsweep in this process, which returns its standard output."""

    def run(*args: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["smsweep", *args])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        shown = capsys.readouterr()
        assert ending.value.code == code, shown.err
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
                "MetricDefinitions": [
                    {"Name": name, "Regex": f"{name}=([0-9.e+-]+);"} for name in ("loss", "size")
                ],
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
    account.client("sagemaker").create_hyper_parameter_tuning_job(**request(account, name, **more))
    return wait(account, name)


def wait(account: Account, name: str) -> list[dict[str, Any]]:
    """Wait until a tuning job has ended, and return its training jobs."""
    client, deadline = account.client("sagemaker"), time.monotonic() + 240
    while True:
        job = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        if job["HyperParameterTuningJobStatus"] in ENDED:
            listed = client.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
            return [dict(item) for item in listed["TrainingJobSummaries"]]
        assert time.monotonic() < deadline, job
        time.sleep(0.2)


def values(sweep_id: str) -> list[tuple[dict[str, Any], float]]:
    """Return the params and the loss of each trial."""
    return [(run.config, float(str(run.summary["loss"]))) for run in smsweep.Api().sweep(sweep_id).runs]


def test_existing_tuning_job_becomes_a_sweep(account: Account, command: Command) -> None:
    tune(account, "amt", jobs=2)
    Path("train.py").unlink()  # only S3 has the script
    sweep_id = command("sweep", "--from-tuner", "amt").strip()
    stored = smsweep.Api().sweep(sweep_id).sweep
    assert (stored.name, stored.seed, stored.config.run_cap) == ("amt", 7, 2)
    assert stored.job.source_dir == ""
    command("agent", sweep_id, "--backend", "sagemaker", "--yes")
    (params, loss), _ = values(sweep_id)
    assert params["kind"] in ("a", "b")
    assert loss == pytest.approx((params["width"] - 3) ** 2)


def test_finished_tuning_job_informs_the_search(account: Account, command: Command) -> None:
    jobs = tune(account, "earlier", jobs=3)
    sweep = {
        "program": "train.py",
        "method": "bayes",
        "metric": {"name": "loss"},
        "parameters": {
            "width": {"min": 0.5, "max": 9.0},
            "kind": {"values": ["a", "b"]},
            "epochs": {"value": 3},
        },
        "run_cap": 4,
    }
    Path("sweep.json").write_text(json.dumps(sweep))
    sweep_id = command("sweep", "sweep.json", "-R", "tuning-job/earlier").strip()
    with Workspace().store() as store:
        prior = read_prior(store, store.get_sweep(sweep_id))
    expected = {
        float(job["TunedHyperParameters"]["width"]): job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for job in jobs
    }
    assert {trial.params["width"]: trial.metrics["loss"].last for trial in prior} == pytest.approx(expected)
    assert {trial.params["kind"] for trial in prior} <= {"a", "b"}
    assert [trial.state for trial in prior] == [TrialState.FINISHED] * 3
    del sweep["metric"]
    several = smsweep.sweep(
        {
            **sweep,
            "method": "custom",
            "metrics": [{"name": "loss"}, {"name": "size"}],
        },
        prior_runs="tuning-job/earlier",
    )
    with Workspace().store() as store:
        prior = read_prior(store, store.get_sweep(several))
    assert [trial.metrics["size"].last for trial in prior] == pytest.approx(
        [trial.params["width"] * 10 for trial in prior]
    )
    assert [trial.metrics["loss"].last for trial in prior] == pytest.approx(
        [expected[trial.params["width"]] for trial in prior]
    )


def test_failed_training_jobs_are_prior_runs_without_a_value(account: Account) -> None:
    ranges: dict[str, Any] = {
        "ContinuousParameterRanges": [{"Name": "width", "MinValue": "9.991", "MaxValue": "20"}]
    }
    ranges["CategoricalParameterRanges"] = [{"Name": "kind", "Values": ["a"]}]
    assert {job["TrainingJobStatus"] for job in tune(account, "failing", jobs=2, ParameterRanges=ranges)} == {
        "Failed"
    }
    config = account.sweep(method="random", parameters={"width": {"min": 0.0, "max": 20.0}})
    sweep_id = smsweep.sweep(config, prior_runs="tuning-job/failing")
    with Workspace().store() as store:
        prior = read_prior(store, store.get_sweep(sweep_id))
    assert [(trial.state, dict(trial.metrics)) for trial in prior] == [(TrialState.FAILED, {})] * len(prior)
    assert prior


def test_unknown_tuning_job_is_reported(account: Account, command: Command) -> None:
    text = command("sweep", "--from-tuner", "nothing", code=2)
    assert "nothing: SageMaker in us-east-1 has no such tuning job; check the name and the region" in text
    with pytest.raises(NotFound, match="no such tuning job"):
        smsweep.sweep(account.sweep(), prior_runs=["tuning-job/nothing"])
    with pytest.raises(UsageError, match="write tuning-job/NAME"):
        smsweep.sweep(account.sweep(), prior_runs=["tuning-job/"])
    assert not Path(".smsweep").exists()


def test_print_writes_the_files_of_the_sweep(account: Account, command: Command) -> None:
    Path("request.json").write_text(json.dumps(request(account, "amt")))
    Path("train.py").unlink()
    assert command("sweep", "--from-tuner", "request.json", "--print").split() == [
        "source",
        "job.yaml",
        "sweep.yaml",
    ]
    assert Path("source/train.py").read_text() == SQUARE
    assert "exists; move it" in command("sweep", "--from-tuner", "request.json", "--print", code=2)
    sweep_id = command("sweep", "sweep.yaml", "--job", "job.yaml", "--seed", "7").strip()
    sweep = smsweep.Api().sweep(sweep_id).sweep
    assert sweep.config.program == "train.py"
    assert sweep.job.request["Tags"] == [{"Key": "team", "Value": "vision"}]
    assert dict(sweep.job.metric_definitions)["loss"] == "loss=([0-9.e+-]+);"
    command("agent", sweep_id, "--count", "1")
    ((params, loss),) = values(sweep_id)
    assert loss == pytest.approx((params["width"] - 3) ** 2)


def test_existing_tuning_job_with_several_instance_types_becomes_a_sweep(
    account: Account, command: Command
) -> None:
    described = request(account, "flexible", jobs=1)
    described["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxParallelTrainingJobs"] = 1
    definition = described["TrainingJobDefinition"]
    del definition["ResourceConfig"]
    types = ["ml.m5.large", "ml.m5.xlarge"]
    definition["HyperParameterTuningResourceConfig"] = {
        "InstanceConfigs": [{"InstanceType": name, "InstanceCount": 1, "VolumeSizeInGB": 5} for name in types]
    }
    account.client("sagemaker").create_hyper_parameter_tuning_job(**described)
    wait(account, "flexible")
    command("sweep", "--from-tuner", "flexible", "--print")
    assert all(name in Path("job.yaml").read_text() for name in types)


def test_sweep_is_exported_as_a_tuning_job_that_runs(account: Account, command: Command) -> None:
    original = request(account, "amt")
    sweep_id = smsweep.sweep(tuner=original)
    command("export", sweep_id, "--format", "tuning-job", "--to", "exported.json")
    exported = json.loads(Path("exported.json").read_text())
    name = exported["HyperParameterTuningJobName"]
    assert name == f"amt-{sweep_id}"
    static = exported["TrainingJobDefinition"].pop("StaticHyperParameters")
    assert (static["epochs"], static["sagemaker_program"]) == ("3", '"train.py"')
    original["TrainingJobDefinition"].pop("StaticHyperParameters")
    limits = exported["HyperParameterTuningJobConfig"]["ResourceLimits"]
    limits["MaxParallelTrainingJobs"] = 2  # an option of the agent
    (width,) = exported["HyperParameterTuningJobConfig"]["ParameterRanges"]["ContinuousParameterRanges"]
    assert width == {"Name": "width", "MinValue": "0.5", "MaxValue": "9.0", "ScalingType": "Linear"}
    width.pop("ScalingType")
    width["MaxValue"] = "9"
    original["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] = "Off"
    assert {**exported, "HyperParameterTuningJobName": "amt"} == original
    exported["TrainingJobDefinition"]["StaticHyperParameters"] = static
    client = account.client("sagemaker")
    client.create_hyper_parameter_tuning_job(**exported)
    assert [job["TrainingJobStatus"] for job in wait(account, name)] == ["Completed"] * 3


def test_export_names_all_features_without_a_counterpart(account: Account) -> None:
    job = {**account.job, "stop_if": ["loss > 5"], "budget": {"trials": 3}}
    sweep_id = smsweep.sweep(account.sweep(command=["python3", "${program}"]), job=job)
    with pytest.raises(ConfigError) as caught:
        smsweep.Api().sweep(sweep_id).export("request.json", "tuning-job")
    for part in ("stop_if", "budget", "command", "metric.name"):
        assert f"\n{part}" in f"\n{caught.value}", part
    assert not Path("request.json").exists()
    assert account.objects() == {}


def test_policy_with_tuning_jobs_allows_the_recorded_calls(account: Account) -> None:
    tune(account, "read", jobs=2)
    config: Any = account.sweep()
    config = {**config, "method": "custom", "metrics": [{"name": "loss"}, {"name": "size"}]}
    del config["metric"]
    before = account.calls()
    smsweep.sweep(config, prior_runs="tuning-job/read")
    without = aws_setup.policies(account.job)["launcher"]["Statement"]
    added = aws_setup.policies(account.job, with_tuning_jobs=True)["launcher"]["Statement"][len(without) :]
    calls = {f"sagemaker:{call}" for call, n in (account.calls() - before).items() if n}
    assert calls == {action for statement in added for action in statement["Action"]}
    assert [statement["Resource"] for statement in added] == [
        [f"arn:aws:sagemaker:us-east-1:123456789012:{kind}/*"]
        for kind in ("hyper-parameter-tuning-job", "training-job")
    ]


def test_parents_of_a_tuning_job_are_prior_runs_and_parents_again(account: Account, command: Command) -> None:
    tune(account, "parent", jobs=2)
    child = request(account, "child")
    parents = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}]}
    child["WarmStartConfig"] = {**parents, "WarmStartType": "IdenticalDataAndAlgorithm"}
    sweep_id = smsweep.sweep(tuner=child)
    with Workspace().store() as store:
        assert len(read_prior(store, store.get_sweep(sweep_id))) == 2
    exported = json.loads(command("export", sweep_id, "--format", "tuning-job"))
    assert exported["WarmStartConfig"] == child["WarmStartConfig"]


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_missing_or_damaged_source_creates_nothing(account: Account, content: bytes | None) -> None:
    document, key = request(account, "amt"), "source/sourcedir.tar.gz"
    if content is None:
        account.s3.delete_object(Bucket=account.bucket, Key=key)
    else:
        account.s3.put_object(Bucket=account.bucket, Key=key, Body=content)
    with pytest.raises(SmsweepError, match=r"sourcedir\.tar\.gz"):
        smsweep.sweep(tuner=document)
    made = read_tuner(document, None, os.environ)
    with pytest.raises(SmsweepError, match=r"sourcedir\.tar\.gz"):
        write_files(made, os.environ)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["train.py"]
    assert write_files(made, os.environ, program="train.py") == [Path("job.yaml"), Path("sweep.yaml")]
    smsweep.sweep(tuner=document, program="train.py")  # the script on this machine


def test_tuner_is_refused_beside_another_config(account: Account) -> None:
    document = request(account, "amt")
    with pytest.raises(UsageError, match="tuner and job cannot be combined"):
        smsweep.sweep(tuner=document, job=account.job)
    with pytest.raises(UsageError, match="give a sweep config, or a tuner"):
        smsweep.sweep()
    document["HyperParameterTuningJobConfig"]["Strategy"] = "Guess"
    del document["TrainingJobDefinition"]["RoleArn"]
    with pytest.raises(ConfigError) as caught:
        smsweep.sweep(tuner=document)
    assert "Strategy: the API has no value 'Guess'" in str(caught.value)
    assert "TrainingJobDefinition.RoleArn is missing" in str(caught.value)


def test_launcher_of_the_toolkit_becomes_a_distribution(account: Account) -> None:
    document = request(account, "amt")
    static = document["TrainingJobDefinition"]["StaticHyperParameters"]
    static["sagemaker_torch_distributed_enabled"] = "true"
    assert read_tuner(document, None, os.environ).job.document["distribution"] == {
        "torch_distributed": {"enabled": True}
    }
    static["sagemaker_distributed_dataparallel_enabled"] = "true"
    with pytest.raises(ConfigError, match="sagemaker_distributed_dataparallel_enabled: only AWS's toolkit"):
        read_tuner(document, None, os.environ)
