"""Create sweeps of estimators with secrets in their environment. Runs in the environment of SDK 2.x.

stdin: {"home": ..., "source_dir": ..., "environments": {name: {...}}}. stdout: for each environment the
stored job, or the error, of `sweep(estimator=)`, and of `agent(estimator=)` on a sweep without an
estimator.
"""

from __future__ import annotations

import os
from typing import Any

import sealed  # type: ignore[import-not-found]  # beside this script

asked = sealed.question()
sealed.seal()
os.environ["SMSWEEP_DIR"] = asked["home"]

import boto3  # noqa: E402  # after the seal
from sagemaker.estimator import Estimator  # noqa: E402
from sagemaker.session import Session  # noqa: E402

import smsweep  # noqa: E402
from smsweep.services.workspace import Workspace  # noqa: E402

CONFIG = {"method": "grid", "parameters": {"x": {"values": [1]}}}


def outcome(environment: dict[str, str]) -> dict[str, Any]:
    estimator = Estimator(
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1",
        role="arn:aws:iam::123456789012:role/trainer",
        instance_count=1,
        instance_type="ml.m5.large",
        entry_point="train.py",
        source_dir=asked["source_dir"],
        environment=environment,
        sagemaker_session=Session(boto3.Session(), default_bucket="smsweep-test"),
    )
    result: dict[str, Any] = {}
    try:
        sweep_id = smsweep.sweep(CONFIG, estimator=estimator)
        with Workspace().store() as store:
            result["job"] = store.get_sweep(sweep_id).job_yaml
    except smsweep.SmsweepError as err:
        result["refused"] = str(err)
        try:
            smsweep.agent(smsweep.sweep(CONFIG), estimator=estimator)
        except smsweep.SmsweepError as late:
            result["refused late"] = str(late)
    return result


sealed.answer({name: outcome(environment) for name, environment in asked["environments"].items()})
