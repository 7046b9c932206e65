"""Request of a trial's job: valid for the API for any params."""

from __future__ import annotations

import json

import pytest

from smsweep.aws import request_model
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate, Site
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.job_request import training_job
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
