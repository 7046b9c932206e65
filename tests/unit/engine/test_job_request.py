"""Request of a trial's job: valid for the API for any params."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smsweep.aws import request_model
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate, Site
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.job_request import read_plain_params, training_job
from smsweep.errors import JobRejected
from smsweep.runtime.job.trial_document import KEY

SITE = Site(assets_uri="s3://a", output_uri="s3://b", checkpoint_uri="s3://c")
CONFIG = parse_sweep({"method": "grid", "program": "train.py", "parameters": {"prompt": {"values": ["x"]}}}).config


@pytest.mark.parametrize("text", ["two\nlines", "end\n", "\r\n", "a\u2028b", "a\x85b"])
def test_texts_of_several_lines_are_no_reason_to_refuse_a_trial(text: str) -> None:
    trial = Trial(sweep_id="s", number=0, params={"prompt": text, "plain": "one line"})
    request = training_job(JobTemplate(), Sweep(id="s", config=CONFIG, name=text), trial, SITE)
    result = {item.path for item in request_model.violations("CreateTrainingJob", request)}
    assert not [path for path in result if path[0] == "HyperParameters"]
    assert json.loads(request["HyperParameters"][KEY])["params"]["prompt"] == text
    assert json.loads(request["HyperParameters"]["prompt"]) == text
    assert request["HyperParameters"]["plain"] == "one line"


@pytest.mark.parametrize(
    ("fields", "uri", "expected"),
    [
        ({}, "s3://c", None),
        ({"EnableManagedSpotTraining": True}, "s3://c", "s3://c/s/3"),
        ({"CheckpointConfig": {"LocalPath": "/opt/ml/checkpoints"}}, "s3://c", "s3://c/s/3"),
        ({"CheckpointConfig": {"S3Uri": "s3://own/"}}, "s3://c", "s3://own/s/3"),
        ({}, "file:///c", "file:///c/s/3"),
    ],
)
def test_checkpoint_config_is_sent_only_for_jobs_with_checkpoints(
    fields: dict[str, object], uri: str, expected: str | None
) -> None:
    site = Site(assets_uri="s3://a", output_uri="s3://b", checkpoint_uri=uri)
    trial = Trial(sweep_id="s", number=3, params={"prompt": "x"})
    request = training_job(JobTemplate(request=fields), Sweep(id="s", config=CONFIG), trial, site)
    assert request.get("CheckpointConfig", {}).get("S3Uri") == expected


def image_request(params: dict[str, Any], **job: Any) -> dict[str, Any]:
    template = parse_job({"entrypoint": "image", "image_uri": "image:1", **job}).template
    trial = Trial(sweep_id="s", number=0, params=params)
    return dict(training_job(template, Sweep(id="s", config=CONFIG), trial, SITE))


def test_image_gets_its_params_as_plain_texts() -> None:
    params = {
        "lr": 0.1,
        "n": 3,
        "name": "adam",
        "bias": True,
        "layers": [1, 2],
        "net": {"depth": 4},
        "unset": None,
    }
    request = image_request(params, request={"HyperParameters": {"n": "9", "fixed": "1", "unset": "2"}})
    assert request["HyperParameters"] == {
        "lr": "0.1",
        "n": "3",
        "name": "adam",
        "bias": "True",
        "layers": "[1, 2]",
        "net.depth": "4",
        "fixed": "1",
    }
    assert request["AlgorithmSpecification"] == {"TrainingImage": "image:1", "TrainingInputMode": "File"}
    assert not request.keys() & {"InputDataConfig", "CheckpointConfig"}


def test_image_with_checkpoints_has_a_prefix_for_each_trial() -> None:
    assert image_request({}, checkpoint_local_path="/opt/ml/checkpoints")["CheckpointConfig"] == {
        "LocalPath": "/opt/ml/checkpoints",
        "S3Uri": "s3://c/s/0",
    }


@pytest.mark.parametrize(
    ("image", "is_sent"),
    [
        ("811284229777.dkr.ecr.us-east-1.amazonaws.com/blazingtext:1", False),
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", False),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1", True),
        ("xgboost:1", True),
    ],
)
def test_metric_definitions_are_not_sent_to_algorithms_of_aws(image: str, is_sent: bool) -> None:
    definitions = [{"Name": "auc", "Regex": "auc:([0-9.]+)"}]
    algorithm = image_request({}, image_uri=image, metric_definitions=definitions)["AlgorithmSpecification"]
    assert algorithm.get("MetricDefinitions") == (definitions if is_sent else None)


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"text": "two\nlines"}, "param text: a hyperparameter cannot have line breaks"),
        ({"text": "x" * 2501}, "param text: a hyperparameter has at most 256 characters in its name and 2500"),
        ({f"p{number}": 1 for number in range(101)}, "101 params, but a training job has at most 100"),
    ],
)
def test_params_that_no_hyperparameter_can_hold_are_rejected(params: dict[str, Any], error: str) -> None:
    with pytest.raises(JobRejected, match=error):
        image_request(params)


def test_plain_params_are_read_with_their_types() -> None:
    space = {
        "lr": {"min": 0.001, "max": 0.1},
        "n": {"min": 1, "max": 9},
        "name": {"values": ["adam", "1", None]},
        "flag": {"values": [True, False]},
        "layers": {"values": [[1, 2], [3]]},
        "net": {"parameters": {"depth": {"values": [2, 4]}}},
        "fixed": {"value": {"a": [1]}},
    }
    config = parse_sweep({"method": "random", "parameters": space}).config
    for name in ("adam", "1", None):
        params = {
            "lr": 0.02,
            "n": 3,
            "name": name,
            "flag": False,
            "layers": [3],
            "net": {"depth": 4},
            "fixed": {"a": [1]},
        }
        assert read_plain_params(image_request(params)["HyperParameters"], config.space) == params
