"""Requests are shown and checked before they are sent, and are sent once."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from smsweep.aws.request_model import validate
from smsweep.backends.sagemaker.backend import SageMakerBackend
from smsweep.cli.commands import run as cli_plan
from smsweep.core.trial import TrialState
from smsweep.errors import JobRejected
from smsweep.services.agents import run_agent
from smsweep.services.agents.run_agent import run
from smsweep.services.sweeps import create, plan
from tests.sagemaker.conftest import ROLE, Account


def sent(account: Account) -> list[dict[str, Any]]:
    """Return the requests that the emulator accepted, by job name."""
    folder = account.emulator.ledger.path.parent / "jobs"
    jobs = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    return [
        {**job["request"], "Tags": [{"Key": key, "Value": value} for key, value in job["tags"].items()]}
        for job in jobs
    ]


def test_plan_shows_the_requests_that_are_sent(account: Account) -> None:
    sweep_id = create.sweep(account.sweep(3), job=account.job)
    planned = plan.plan_sweep(sweep_id, backend="sagemaker")
    run_agent.agent(sweep_id, backend="sagemaker")
    assert [trial.request for trial in planned.trials] == sent(account)


def test_planned_values_reach_the_script_unchanged(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    sweep_id = create.sweep(account.sweep(3), job=account.job)
    cli_plan.plan(Path(sweep_id), backend="sagemaker", as_json=True)
    printed = json.loads(capsys.readouterr().out)["trials"]
    run_agent.agent(sweep_id, backend="sagemaker", parallel=3)
    arrived = {
        entry["subject"]: entry["body_sha256"]
        for entry in account.emulator.ledger.read()
        if entry["action"] == "CreateTrainingJob"
    }
    bodies = {trial["request"]["TrainingJobName"]: json.dumps(trial["request"]) for trial in printed}
    assert arrived == {name: hashlib.sha256(body.encode()).hexdigest() for name, body in bodies.items()}


def test_plan_sends_and_writes_nothing(account: Account) -> None:
    before = account.emulator.ledger.read()
    planned = plan.plan(account.sweep(2), job=account.job, backend="sagemaker")
    assert [trial.request is not None for trial in planned.trials] == [True, True]
    assert account.emulator.ledger.read() == before
    assert not (account.folder / ".smsweep").exists()


def uploads(account: Account) -> list[str]:
    """Return the keys that were written below the assets, in order, without the markers of sweeps."""
    prefix = f"PUT /{account.bucket}/smsweep/assets/"
    written = [entry["action"] for entry in account.emulator.ledger.read() if entry["action"].startswith(prefix)]
    return [key for key in (each.removeprefix(prefix) for each in written) if not key.startswith("users/")]


def test_edited_sweep_config_uploads_nothing_and_edited_script_only_the_source(account: Account) -> None:
    config = account.folder / "sweep.yaml"
    text = "program: train.py\nmethod: grid\nparameters:\n  x:\n    values: [1]\n"
    config.write_text(text)
    run(config, job=account.job, backend="sagemaker")
    first = uploads(account)
    (runtime,) = [key for key in first if key.startswith("runtimes/")]
    folder = next(key for key in first if key.endswith("/source.tar.gz")).partition("/")[0]
    assert sorted(first) == sorted([runtime, f"{folder}/runtime.zip", f"{folder}/source.tar.gz"])
    assert len(account.objects()[f"smsweep/assets/{runtime}"]) < 100_000
    assert folder.startswith(runtime.removeprefix("runtimes/").removesuffix(".zip"))
    config.write_text(text.replace("[1]", "[2]"))
    run(config, job=account.job, backend="sagemaker")
    assert uploads(account) == first
    (account.folder / "train.py").write_text("print('changed')")
    run(config, job=account.job, backend="sagemaker")
    later = uploads(account)[len(first) :]
    assert [key.partition("/")[2] for key in later] == ["runtime.zip", "source.tar.gz"]  # S3 copies the first one
    assert {trial.state for trial in account.trials()} == {TrialState.FINISHED}


def test_invalid_request_is_rejected_with_all_fields(account: Account) -> None:
    (trial,) = plan.plan(account.sweep(1), job=account.job, backend="sagemaker").trials
    broken = {**(trial.request or {}), "TrainingJobName": "a_b", "RoleArn": None, "Colour": "red"}
    broken["Environment"] = {"KEY": "v" * 600}
    backend = SageMakerBackend(os.environ, time.time)
    with closing(backend), pytest.raises(JobRejected) as caught:
        backend.submit(broken)
    for words in (
        "TrainingJobName: pattern",
        "RoleArn is missing",
        "Environment.KEY: max 512, has 600",
        "Colour:",
    ):
        assert words in str(caught.value)
    assert account.created() == {}


def test_missing_role_starts_nothing_and_reports_the_fix(account: Account) -> None:
    document = {key: value for key, value in account.job.items() if key != "role"}
    with pytest.raises(JobRejected, match="give role: arn:aws:iam::ACCOUNT:role/NAME"):
        run(account.sweep(1), job=document, backend="sagemaker")


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"tags": {f"tag{n}": "x" for n in range(50)}}, "Tags: max 50, has 53"),
        ({"inputs": {f"c{n}": "s3://bucket/data" for n in range(20)}}, "InputDataConfig: max 20, has 21"),
        ({"inputs": {"train": "file:///data"}}, "give an s3:// URI"),
        ({"request": {"EnableManagedSpotTraining": True}}, "It must be present and be greater than or equal to"),
        (
            {"request": {"AlgorithmSpecification": {"AlgorithmName": "other"}}},
            "one of TrainingImage and Algorithm",
        ),
        (
            {"request": {"ResourceConfig": {"InstancePreferences": [{"InstanceType": "ml.m5.large"}]}}},
            "one of InstanceType, InstanceGroups and InstancePreferences",
        ),
        ({"request": {"StoppingCondition": {"MaxRuntimeInSeconds": 3_000_000}}}, "more than 28 days"),
    ],
)
def test_invalid_params_are_rejected_before_any_call(account: Account, job: dict[str, Any], words: str) -> None:
    before = account.emulator.ledger.read()
    with pytest.raises(JobRejected, match=words):
        plan.plan(account.sweep(1), job={**account.job, **job}, backend="sagemaker")
    with pytest.raises(JobRejected, match=words):
        account.run(1, job=job)
    assert account.emulator.ledger.read() == before  # not even the source is uploaded


def test_runtime_and_source_use_file_mode_for_any_input_mode(account: Account) -> None:
    (trial,) = plan.plan(account.sweep(1), job={**account.job, "input_mode": "Pipe"}, backend="sagemaker").trials
    (channel,) = (trial.request or {})["InputDataConfig"]
    assert channel["InputMode"] == "File"


def test_kms_key_of_results_is_used_with_the_default_bucket(account: Account) -> None:
    job = {key: value for key, value in account.job.items() if key != "output_path"} | {
        "output_kms_key": "alias/k"
    }
    (trial,) = plan.plan(account.sweep(1), job=job, backend="sagemaker").trials
    output = (trial.request or {})["OutputDataConfig"]
    assert output == {"S3OutputPath": "s3://sagemaker-us-east-1-123456789012/smsweep/jobs", "KmsKeyId": "alias/k"}


def test_instance_type_unknown_to_botocore_is_sent(account: Account) -> None:
    (trial,) = plan.plan(account.sweep(1), job=account.job, backend="sagemaker").trials
    request = dict(trial.request or {})
    validate({**request, "ResourceConfig": {**request["ResourceConfig"], "InstanceType": "ml.z9.large"}})
    with pytest.raises(JobRejected, match="the API has no value 'large'"):
        validate({**request, "ResourceConfig": {**request["ResourceConfig"], "InstanceType": "large"}})
    algorithm = {**request["AlgorithmSpecification"], "TrainingInputMode": "Files"}
    with pytest.raises(JobRejected, match=r"TrainingInputMode: the API has no value 'Files'; did you mean File\?"):
        validate({**request, "AlgorithmSpecification": algorithm})


def test_foreign_job_with_the_same_name_is_not_changed(account: Account) -> None:
    sweep_id = create.sweep(account.sweep(1), job=account.job)
    (planned,) = plan.plan_sweep(sweep_id, backend="sagemaker").trials
    assert planned.request is not None
    account.s3.put_object(Bucket=account.bucket, Key="theirs/x", Body=b"x")
    theirs = {
        "TrainingJobName": planned.request["TrainingJobName"],
        "AlgorithmSpecification": {"TrainingImage": account.job["image_uri"], "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{account.bucket}/theirs"},
        "ResourceConfig": planned.request["ResourceConfig"],
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    account.client("sagemaker").create_training_job(**theirs)
    assert run_agent.agent(sweep_id, backend="sagemaker").ended == {TrialState.FINISHED: 1}
    (trial,) = account.trials()
    assert (trial.attempt, trial.retries) == (1, {"name": 1})


def test_source_is_uploaded_once_for_all_trials_and_sweeps(account: Account) -> None:
    account.run(3)
    account.run(2)
    puts = [
        entry["action"]
        for entry in account.emulator.ledger.read()
        if entry["action"].startswith("PUT") and "/assets/" in entry["action"] and entry["outcome"] == "accepted"
    ]
    markers = [action for action in puts if "/assets/users/" in action]
    assert len(markers) == 2  # one per sweep
    uploads = sorted(action.rpartition("/")[2] for action in puts if action not in markers)
    assert uploads[1:] == ["runtime.zip", "source.tar.gz"]
    assert "/assets/runtimes/" in next(action for action in puts if action.endswith(uploads[0]))


def test_launch_is_one_call(account: Account) -> None:
    account.run(3)
    calls = account.calls() + account.calls(outcome="refused")
    assert calls["CreateTrainingJob"] == 3
    assert calls["DescribeTrainingJob"] == 3  # one call each, at the end


def test_default_bucket_of_the_sdk_is_used_without_a_bucket(account: Account) -> None:
    document = {key: value for key, value in account.job.items() if key != "output_path"}
    planned = plan.plan(account.sweep(1), job=document, backend="sagemaker").trials[0].request
    assert planned is not None
    assert planned["OutputDataConfig"]["S3OutputPath"] == "s3://sagemaker-us-east-1-123456789012/smsweep/jobs"


def test_missing_bucket_is_reported_with_the_command_to_create_it(account: Account) -> None:
    with pytest.raises(JobRejected, match="aws s3 mb s3://not-there-at-all"):
        account.run(1, job={"output_path": "s3://not-there-at-all/x"})
    assert not Path(".smsweep").exists()  # the error is raised before a sweep is created
