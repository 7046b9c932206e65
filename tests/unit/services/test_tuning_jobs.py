"""Tests of tuning jobs of images as sweeps, and back, without AWS."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.aws import request_model
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.errors import ConfigError, NotFound, UsageError
from smsweep.services.sweeps.tuning_jobs import read_tuner

# The tuning job of AWS's example for XGBoost.
XGBOOST: dict[str, Any] = {
    "HyperParameterTuningJobName": "xgboost",
    "HyperParameterTuningJobConfig": {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:auc"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 1},
        "ParameterRanges": {
            "IntegerParameterRanges": [
                {"Name": "max_depth", "MinValue": "1", "MaxValue": "10", "ScalingType": "Linear"}
            ],
            "ContinuousParameterRanges": [
                {"Name": "alpha", "MinValue": "0.01", "MaxValue": "2.0", "ScalingType": "Logarithmic"},
                {"Name": "eta", "MinValue": "0.1", "MaxValue": "0.9", "ScalingType": "Linear"},
            ],
            "CategoricalParameterRanges": [{"Name": "booster", "Values": ["gbtree", "dart"]}],
        },
        "TrainingJobEarlyStoppingType": "Off",
        "RandomSeed": 11,
    },
    "TrainingJobDefinition": {
        "StaticHyperParameters": {"eval_metric": "auc", "num_round": "100", "objective": "binary:logistic"},
        "AlgorithmSpecification": {
            "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
            "TrainingInputMode": "File",
        },
        "RoleArn": "arn:aws:iam::123456789012:role/trainer",
        "InputDataConfig": [
            {
                "ChannelName": name,
                "ContentType": "csv",
                "CompressionType": "None",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://bucket/{name}",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for name in ("train", "validation")
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 43_200},
    },
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory without a connection to AWS."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMSWEEP_DIR", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    return tmp_path


def test_tuning_job_without_a_script_runs_the_image() -> None:
    made = read_tuner(XGBOOST, None, {})
    template = parse_job(made.job.document).template
    assert template.runs_image
    assert template.request["HyperParameters"] == {
        "eval_metric": "auc",
        "num_round": "100",
        "objective": "binary:logistic",
        "_tuning_objective_metric": "validation:auc",
    }
    config = parse_sweep(made.sweep).config
    assert (config.program, config.method, config.run_cap) == (None, "bayes", 20)
    assert template.request["InputDataConfig"] == XGBOOST["TrainingJobDefinition"]["InputDataConfig"]


def test_tuning_job_of_an_image_comes_back_unchanged() -> None:
    sweep_id = smsweep.sweep(tuner=XGBOOST)
    smsweep.Api().sweep(sweep_id).export("request.json", "tuning-job")
    exported = json.loads(Path("request.json").read_text())
    assert exported.pop("HyperParameterTuningJobName") == f"xgboost-{sweep_id}"
    assert {"HyperParameterTuningJobName": "xgboost", **exported} == XGBOOST


def test_description_of_a_tuning_job_is_accepted_as_a_file(folder: Path) -> None:
    answer = {
        "HyperParameterTuningJobStatus": "Completed",
        "HyperParameterTuningJobArn": "arn",
        "CreationTime": "now",
    }
    (folder / "described.json").write_text(json.dumps({**XGBOOST, **answer}))
    assert read_tuner("described.json", None, {}) == read_tuner(XGBOOST, None, {})


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{", UsageError, "cannot be read as JSON"),
        ("[]", UsageError, "got a list"),
        (None, NotFound, "no such file"),
    ],
)
def test_invalid_file_is_reported(folder: Path, text: str | None, error: type[Exception], words: str) -> None:
    if text is not None:
        (folder / "request.json").write_text(text)
    with pytest.raises(error, match=words):
        read_tuner("request.json", None, {})


def test_secret_of_a_tuning_job_is_refused() -> None:
    document = copy.deepcopy(XGBOOST)
    document["TrainingJobDefinition"]["Environment"] = {"TOKEN": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"}
    with pytest.raises(smsweep.SmsweepError, match="TOKEN"):
        smsweep.sweep(tuner=document)


def test_export_names_features_of_the_search_that_tuning_jobs_do_not_have() -> None:
    sweep = {
        "method": "random",
        "metric": {"name": "validation:auc"},
        "parameters": {"a": {"distribution": "normal", "mu": 0.0, "sigma": 1.0}, "b": {"values": list(range(31))}},
    }
    job = read_tuner(XGBOOST, None, {}).job.document
    sweep_id = smsweep.sweep(sweep, job={key: value for key, value in job.items() if key != "role"})
    with pytest.raises(ConfigError) as caught:
        smsweep.Api().sweep(sweep_id).export("request.json", "tuning-job")
    for words in ("parameters.a: normal", "at most 30", "run_cap: missing", "RoleArn: missing; give role"):
        assert words in str(caught.value)


def test_exported_request_conforms_to_the_api_model() -> None:
    sweep_id = smsweep.sweep(tuner=XGBOOST, name="ä name with blanks that is too long for a tuning job")
    smsweep.Api().sweep(sweep_id).export("request.json", "tuning-job")
    exported = json.loads(Path("request.json").read_text())
    assert list(request_model.violations("CreateHyperParameterTuningJob", exported)) == []
