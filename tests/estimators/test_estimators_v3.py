"""Tests of ModelTrainers of SDK 3.x, compiled by the SDK itself in a separate environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.estimators.cases_v3 import cases
from tests.estimators.rendering import ROLE, request_of, violations
from tools.environments import oracle

pytestmark = pytest.mark.oracle

SCRIPT = Path(__file__).with_name("ask_v3.py")
COMPILED = (
    "script",
    "image",
    "texts",
    "everything",
    "named inputs",
    "one input",
    "own and given inputs",
    "checkpoints anywhere",
    "torchrun",
)
REFUSED = {
    "no such script": "source_code.command: is not supported",
    "source in S3": "source_dir: expected a folder",
    "command": "source_code.command: is not supported",
    "requirements in another folder": "source_code.requirements: is not supported",
    "patterns": "write *.bin into .smsweepignore",
    "mpi": "distributed: is not supported in a sweep; mpi needs the number of processes",
}


@pytest.fixture(scope="module")
def source_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for name in ("train.py", "requirements.txt", "deep/gpu.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    return folder


@pytest.fixture(scope="module")
def answers(source_dir: Path) -> dict[str, Any]:
    result: dict[str, Any] = oracle("sagemaker3").ask(SCRIPT, {"cases": cases(source_dir)})
    return result


@pytest.mark.parametrize("name", [*COMPILED, *REFUSED])
def test_compiling_does_not_change_trainer(answers: dict[str, Any], name: str) -> None:
    assert not answers[name]["changed"]


@pytest.mark.parametrize("name", [*COMPILED, *REFUSED])
def test_compiling_sends_no_request(answers: dict[str, Any], name: str) -> None:
    assert answers[name]["calls"] == []


@pytest.mark.parametrize("name", COMPILED)
def test_compiling_twice_gives_same_template(answers: dict[str, Any], name: str) -> None:
    assert answers[name]["again"]


@pytest.mark.parametrize("name", [name for name in COMPILED if name != "named inputs"])
def test_trial_request_is_valid_for_api(answers: dict[str, Any], name: str) -> None:
    assert violations(request_of(answers[name])) == []


def test_template_has_all_settings_of_trainer(answers: dict[str, Any]) -> None:
    assert answers["everything"]["template"]["request"] == {
        "AlgorithmSpecification": {
            "TrainingImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        "HyperParameters": {
            "epochs": "3",
            "lr": "0.5",
            "name": '"it\'s; $(x)"',
            "digits": '"007"',
            "n": '"7"',
            "opt.beta": "0.9",
        },
        "InputDataConfig": [
            {
                "ChannelName": "training",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://data/train",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "InputMode": "File",
            }
        ],
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        "VpcConfig": {"SecurityGroupIds": ["sg-0a1b2c3d"], "Subnets": ["subnet-0a1b2c3d"]},
        "RoleArn": ROLE,
        "Tags": [{"Key": "team", "Value": "vision"}],
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
        "OutputDataConfig": {
            "S3OutputPath": "s3://results",
            "KmsKeyId": "alias/output",
            "CompressionType": "GZIP",
        },
        "CheckpointConfig": {"S3Uri": "s3://results/checkpoints", "LocalPath": "/opt/ml/checkpoints"},
        "Environment": {"NCCL_DEBUG": "INFO"},
        "EnableManagedSpotTraining": True,
    }


def test_entry_script_becomes_program_started_by_smsweep(answers: dict[str, Any], source_dir: Path) -> None:
    template = answers["script"]["template"]
    assert (template["source_dir"], template["program"]) == (str(source_dir), "train.py")
    algorithm = request_of(answers["script"])["AlgorithmSpecification"]
    assert algorithm["ContainerEntrypoint"] == ["python3", "/opt/ml/input/data/smsweep/runtime.zip"]


def test_image_gets_the_hyperparameters_that_the_sdk_sends(answers: dict[str, Any]) -> None:
    texts = {"a": "1e3", "b": "true", "c": "true", "d": "0.1", "e": '[64, "x"]'}
    assert answers["texts"]["template"]["texts"] == texts


def test_torchrun_launch_becomes_command(answers: dict[str, Any]) -> None:
    command = answers["torchrun"]["template"]["command"]
    assert command == ["torchrun", "--standalone", "--nproc_per_node=8", "${program}", "${args}"]


def test_files_of_sdk_are_not_uploaded(answers: dict[str, Any]) -> None:
    channels = [channel["ChannelName"] for channel in request_of(answers["script"])["InputDataConfig"]]
    assert channels == ["smsweep", "training"]


def test_numeric_text_reaches_script_as_text(answers: dict[str, Any]) -> None:
    params = json.loads(request_of(answers["everything"])["HyperParameters"]["smsweep"])["params"]
    assert (params["digits"], params["n"], params["opt.beta"]) == ("007", "7", 0.9)


def test_inputs_can_be_uris_and_folders(answers: dict[str, Any], source_dir: Path) -> None:
    channels = answers["named inputs"]["template"]["request"]["InputDataConfig"]
    assert {each["ChannelName"]: each["DataSource"]["S3DataSource"]["S3Uri"] for each in channels} == {
        "images": "s3://data/images",
        "labels": source_dir.as_uri(),
    }


def test_explicit_inputs_override_inputs_of_trainer(answers: dict[str, Any]) -> None:
    (channel,) = answers["own and given inputs"]["template"]["request"]["InputDataConfig"]
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == "s3://data/train"


def test_backend_chooses_missing_checkpoint_location(answers: dict[str, Any]) -> None:
    assert request_of(answers["checkpoints anywhere"])["CheckpointConfig"] == {
        "LocalPath": "/opt/ml/mine",
        "S3Uri": "s3://smsweep-test/checkpoints/abcd1234/3",
    }


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_setting_is_refused_by_key(answers: dict[str, Any], name: str) -> None:
    assert REFUSED[name] in answers[name]["error"]


def test_inputs_that_sdk_cannot_upload_are_reported(answers: dict[str, Any]) -> None:
    assert "use an ARN as the role, and data in S3" in (answers["inputs on this machine"]["error"])
