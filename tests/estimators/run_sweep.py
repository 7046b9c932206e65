"""Run a complete sweep of an SDK object against a local SageMaker endpoint, in the SDK's environment.

stdin: {"sdk": 2 or 3, "environ": {"AWS_ENDPOINT_URL": ..., ...}, "bucket": ..., "source_dir": ..., "home":
..., "way": "run", "agent", "sweep" or "local"}. With "image" instead of "source_dir", the object has no script.
"local" is the SDK's local mode. stdout: the sweep, the states and metrics of its trials, and the attempted
connections.
"""

from __future__ import annotations

import os
from typing import Any

import sealed  # type: ignore[import-not-found]  # beside this script

asked = sealed.question()
sealed.seal()
os.environ.update(
    asked["environ"],
    SMSWEEP_DIR=asked["home"],
    SMSWEEP_SAGEMAKER_POLL_S="0.05",
    SMSWEEP_SAGEMAKER_LOG_LAG_S="2",
    SMSWEEP_SAGEMAKER_RATES="create=1000,list=1000,describe=1000,stop=1000,logs=1000",
)

import boto3  # noqa: E402  # after the seal

import smsweep  # noqa: E402

ROLE = "arn:aws:iam::123456789012:role/trainer"
IMAGE = asked.get("image") or "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1"
SOURCE = asked.get("source_dir")
METRICS = {"loss": r"loss=([0-9.]+);"}  # of an image
CONFIG = {
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"values": [1, 2, 3]}},
}
FIXED = {"epochs": 2, "name": "it's"} if SOURCE else {"decay": "1e3", "nesterov": True}


def estimator() -> Any:
    from sagemaker.estimator import Estimator
    from sagemaker.local import LocalSession
    from sagemaker.session import Session

    is_local = asked["way"] == "local"
    definitions = [{"Name": name, "Regex": regex} for name, regex in METRICS.items()]
    script = {"entry_point": "train.py", "source_dir": SOURCE} if SOURCE else {"metric_definitions": definitions}
    return Estimator(
        IMAGE,
        role=ROLE,
        instance_count=1,
        instance_type="local" if is_local else "ml.m5.large",
        output_path=f"s3://{asked['bucket']}/out",
        hyperparameters=FIXED,
        sagemaker_session=(LocalSession if is_local else Session)(boto3.Session(), default_bucket=asked["bucket"]),
        **script,
    )


def trainer() -> Any:
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.shapes import MetricDefinition
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, OutputDataConfig, SourceCode

    made = ModelTrainer(
        training_image=IMAGE,
        role=ROLE,
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        source_code=SourceCode(source_dir=SOURCE, entry_script="train.py") if SOURCE else None,
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{asked['bucket']}/out"),
        hyperparameters=FIXED,
        sagemaker_session=Session(boto3.Session(), default_bucket=asked["bucket"]),
    )
    if not SOURCE:
        made.with_metric_definitions([MetricDefinition(name=name, regex=regex) for name, regex in METRICS.items()])
    return made


def main() -> None:
    boto3.client("s3").create_bucket(Bucket=asked["bucket"])
    created = estimator() if asked["sdk"] == 2 else trainer()
    sealed.calls.clear()
    if asked["way"] in ("run", "local"):
        ids: list[str] = []
        smsweep.run(CONFIG, estimator=created, parallel=2, on_created=ids.append)
    elif asked["way"] == "sweep":  # stored with the sweep
        ids = [smsweep.sweep(CONFIG, estimator=created)]
        smsweep.agent(ids[0], parallel=2, backend="sagemaker")
    else:  # as with W&B: the sweep is created first, without a program
        ids = [smsweep.sweep(CONFIG)]
        smsweep.agent(ids[0], estimator=created, parallel=2)
    runs = smsweep.Api().sweep(ids[0]).runs
    sealed.answer(
        {
            "id": ids[0],
            "states": [run.state for run in runs],
            "loss": [run.summary["loss"] for run in runs],
            "hosts": sorted({address.rsplit(",", 1)[0] for address in sealed.calls}),
        }
    )


main()
