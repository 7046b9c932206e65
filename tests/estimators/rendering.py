"""Helpers that render and check the requests of both SDKs."""

from __future__ import annotations

from typing import Any

from smsweep.aws import request_model
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate, Site, TrainingJobRequest
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.job_request import training_job

ROLE = "arn:aws:iam::123456789012:role/trainer"
SITE = Site(
    assets_uri="s3://smsweep-test/assets/abc",
    output_uri="s3://smsweep-test/jobs",
    checkpoint_uri="s3://smsweep-test/checkpoints",
)
CONFIG = {
    "program": "train.py",
    "method": "grid",
    "parameters": {"lr": {"values": [0.1]}, "momentum": {"value": 0.9}},
}


def request_of(answer: dict[str, Any]) -> TrainingJobRequest:
    """Return the request of a trial with lr 0.1 and momentum 0.9."""
    compiled = answer["template"]
    kept = {name: value for name, value in compiled.items() if name != "texts"}  # of SdkTemplate
    template = JobTemplate(
        **{**kept, "metric_definitions": tuple(tuple(pair) for pair in compiled["metric_definitions"])}
    )
    sweep = Sweep(id="abcd1234", config=parse_sweep(CONFIG).config, seed=0)
    return training_job(template, sweep, Trial(number=3, params={"lr": 0.1, "momentum": 0.9}), SITE)


def violations(request: TrainingJobRequest) -> list[str]:
    """Return the violations of the API's rules, including patterns and maxima."""
    return [f"{found.path}: {found.rule}" for found in request_model.violations("CreateTrainingJob", request)]
