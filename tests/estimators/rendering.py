"""What the tests of both SDKs do with an answer."""

from __future__ import annotations

from typing import Any

from smsweep import request_model
from smsweep.config.sweep_yaml import parse_sweep
from smsweep.jobs import JobTemplate, Site, TrainingJobRequest
from smsweep.render import training_job
from smsweep.sweeps import Sweep
from smsweep.trials import Trial

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
    template = JobTemplate(
        **{**compiled, "metric_definitions": tuple(tuple(pair) for pair in compiled["metric_definitions"])}
    )
    sweep = Sweep(id="abcd1234", config=parse_sweep(CONFIG).config, seed=0)
    return training_job(template, sweep, Trial(number=3, params={"lr": 0.1, "momentum": 0.9}), SITE)


def violations(request: TrainingJobRequest) -> list[str]:
    """Return what the API would refuse, patterns and maxima included."""
    return [f"{found.path}: {found.rule}" for found in request_model.violations("CreateTrainingJob", request)]
