"""Compile ModelTrainers of SDK 3.x, and capture the requests of the SDK itself. Runs in the SDK's environment.

stdin: {"cases": {name: {"settings", "inputs"}}}. stdout: for each case the template or the error, the
request of the SDK without a source, whether the object changed, and the attempted connections.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import sealed  # type: ignore[import-not-found]  # beside this script

asked = sealed.question()
sealed.seal()

import boto3  # noqa: E402  # after the seal
from sagemaker.core.helper.session_helper import Session  # noqa: E402
from sagemaker.core.shapes import MetricDefinition, Tag  # noqa: E402
from sagemaker.train import ModelTrainer  # noqa: E402
from sagemaker.train.configs import (  # noqa: E402
    CheckpointConfig,
    Compute,
    InputData,
    Networking,
    OutputDataConfig,
    SourceCode,
    StoppingCondition,
)
from sagemaker.train.distributed import MPI, Torchrun  # noqa: E402

from smsweep.errors import SmsweepError  # noqa: E402
from smsweep.sagemaker_sdk.compiled import template  # noqa: E402

SHAPES = {
    "source_code": SourceCode,
    "compute": Compute,
    "networking": Networking,
    "stopping_condition": StoppingCondition,
    "output_data_config": OutputDataConfig,
    "checkpoint_config": CheckpointConfig,
    "distributed": Torchrun,
}


def build(case: dict[str, Any]) -> Any:
    settings = {key: SHAPES[key](**value) if key in SHAPES else value for key, value in case["settings"].items()}
    if "mpi" in case:
        settings["distributed"] = MPI()
    if "tags" in settings:
        settings["tags"] = [Tag(**tag) for tag in settings["tags"]]
    if "input_data_config" in settings:
        settings["input_data_config"] = [InputData(**item) for item in settings["input_data_config"]]
    trainer = ModelTrainer(sagemaker_session=Session(boto3.Session(), default_bucket="smsweep-test"), **settings)
    if "metric_definitions" in case:
        trainer.with_metric_definitions([MetricDefinition(**item) for item in case["metric_definitions"]])
    return trainer


def data(inputs: Any) -> Any:
    if isinstance(inputs, list):
        return [InputData(**item) for item in inputs]
    return inputs


def compile_case(case: dict[str, Any]) -> dict[str, Any]:
    trainer = build(case)
    before = sealed.seen(trainer)
    sealed.calls.clear()
    started = time.perf_counter()
    try:
        compiled = template(trainer, data(case.get("inputs")))
    except SmsweepError as err:
        return {"error": str(err), "changed": sealed.seen(trainer) != before, "calls": sealed.calls[:]}
    return {
        "template": dataclasses.asdict(compiled),
        "seconds": time.perf_counter() - started,
        "changed": sealed.seen(trainer) != before,
        "calls": sealed.calls[:],
        "again": dataclasses.asdict(template(trainer, data(case.get("inputs")))) == dataclasses.asdict(compiled),
    }


sealed.answer({name: compile_case(case) for name, case in asked["cases"].items()})
