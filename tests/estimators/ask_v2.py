"""Compile estimators of SDK 2.x, and capture the requests of the SDK itself. Runs in the SDK's environment.

stdin: {"cases": {name: {"class", "settings", "inputs"}}}. stdout: for each case the template or the error,
the request of `fit`, whether the object changed, and the attempted connections.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import time
from types import SimpleNamespace
from typing import Any

import sealed  # type: ignore[import-not-found]  # beside this script

asked = sealed.question()
sealed.seal()

import boto3  # noqa: E402  # after the seal
from sagemaker.amazon.amazon_estimator import RecordSet  # noqa: E402
from sagemaker.debugger import DebuggerHookConfig, ProfilerConfig  # noqa: E402
from sagemaker.huggingface import TrainingCompilerConfig  # noqa: E402
from sagemaker.inputs import TrainingInput  # noqa: E402
from sagemaker.local import LocalSession  # noqa: E402
from sagemaker.session import Session  # noqa: E402
from sagemaker.telemetry import telemetry_logging  # noqa: E402

from smsweep.errors import SmsweepError  # noqa: E402
from smsweep.sagemaker_sdk.compiled import template  # noqa: E402

telemetry_logging._send_telemetry_request = lambda *args, **more: None  # turns the telemetry of fit off
HOMES = {
    "Estimator": "sagemaker.estimator",
    "PyTorch": "sagemaker.pytorch",
    "HuggingFace": "sagemaker.huggingface",
    "TensorFlow": "sagemaker.tensorflow",
    "SKLearn": "sagemaker.sklearn",
    "XGBoost": "sagemaker.xgboost",
    "KMeans": "sagemaker.amazon.kmeans",
}
OBJECTS = {  # words of a case that are placeholders for objects
    "TrainingInput": lambda: TrainingInput("s3://data/images", content_type="image/png", input_mode="FastFile"),
    "DebuggerHookConfig": lambda: DebuggerHookConfig(hook_parameters={"save_interval": "7"}),
    "TrainingCompilerConfig": TrainingCompilerConfig,
    "RecordSet": lambda: RecordSet("s3://data/records/.amazon.manifest", num_records=90, feature_dim=4),
    "ProfilerConfig": lambda: ProfilerConfig(system_monitor_interval_millis=500),
}


def build(case: dict[str, Any], **more: Any) -> Any:
    make = LocalSession if case.get("session") == "local" else Session
    session = make(boto3.Session(), default_bucket="smsweep-test")
    kind = getattr(importlib.import_module(HOMES[case["class"]]), case["class"])
    settings = {key: objects(value) for key, value in case["settings"].items()}
    return kind(sagemaker_session=session, **{**settings, **more})


def objects(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: objects(item) for key, item in value.items()}
    return OBJECTS[value]() if isinstance(value, str) and value in OBJECTS else value


def compile_case(case: dict[str, Any]) -> dict[str, Any]:
    estimator = build(case)
    if case.get("fitted"):
        folder, estimator.source_dir = estimator.source_dir, "s3://smsweep-test/source.tar.gz"
        fit(estimator, None)
        estimator.source_dir = folder
    before = sealed.seen(estimator)
    sealed.calls.clear()
    started = time.perf_counter()
    try:
        compiled = template(estimator, objects(case.get("inputs")))
    except SmsweepError as err:
        return {"error": str(err), "changed": sealed.seen(estimator) != before, "calls": sealed.calls[:]}
    return {
        "template": dataclasses.asdict(compiled),
        "seconds": time.perf_counter() - started,
        "changed": sealed.seen(estimator) != before,
        "calls": sealed.calls[:],
        "again": dataclasses.asdict(template(estimator, objects(case.get("inputs"))))
        == dataclasses.asdict(compiled),
        "sent": None if case.get("session") == "local" else sent(case),
    }


def sent(case: dict[str, Any]) -> dict[str, Any]:
    """Return the request of the SDK's own `fit` with a source in S3. Sends no request."""
    more = {"source_dir": "s3://smsweep-test/source.tar.gz", "entry_point": "train.py"}
    has_source = "entry_point" in case["settings"]
    output = {
        "output_path": case["settings"].get("output_path") or "s3://smsweep-test"
    }  # otherwise the session calls AWS
    return fit(build(case, **output, **(more if has_source else {})), objects(case.get("inputs")))


def fit(estimator: Any, inputs: Any) -> dict[str, Any]:
    """Call the SDK's `fit` without sending anything, and return its request."""
    caught: list[dict[str, Any]] = []

    def catch(params: dict[str, Any], **rest: Any) -> tuple[Any, dict[str, str]]:
        caught.append(params)
        return SimpleNamespace(status_code=200), {"TrainingJobArn": "arn"}

    client = estimator.sagemaker_session.sagemaker_client
    client.meta.events.register("before-call.sagemaker.CreateTrainingJob", catch)
    estimator.fit(inputs, wait=False)
    request: dict[str, Any] = json.loads(caught[0]["body"])
    return request


sealed.answer({name: compile_case(case) for name, case in asked["cases"].items()})
