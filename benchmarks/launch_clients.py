"""Time one way to launch trials as training jobs. launch_cost.py runs this in the environment of each way.

    launch_clients.py WAY URL BUCKET SOURCE_DIR N KEY_ID SECRET_KEY     # for the ways, see WAYS

Launches one job as a warm-up and then N jobs, notifies the server of the start and the end, and prints the
milliseconds of each launch as JSON. `sealed` is tests/estimators/sealed.py, which blocks all connections to
other machines.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sealed  # type: ignore[import-not-found]  # put on the path by launch_cost.py

WAY, URL, BUCKET, SOURCE_DIR, N = *sys.argv[1:5], int(sys.argv[5])
ROLE = "arn:aws:iam::123456789012:role/trainer"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1"
OUTPUT = f"s3://{BUCKET}/out"
Launch = Callable[[int], object]  # number of the trial


def train(lr: float = 0.0) -> float:
    """Function that runs as a job. The SDK's client returns its value; smsweep records what it logs."""
    return lr * 2


def by_smsweep(*, is_function: bool) -> Launch:
    from smsweep.core.trial import Trial
    from smsweep.services import backends
    from smsweep.services.sweeps.create import sweep
    from smsweep.services.sweeps.function import send_function
    from smsweep.services.workspace import Workspace

    job = {
        "image_uri": IMAGE,
        "role": ROLE,
        "instance_type": "ml.m5.large",
        "output_path": OUTPUT,
        **({} if is_function else {"source_dir": SOURCE_DIR}),
    }
    config = {"method": "random", "parameters": {"lr": {"min": 0.0, "max": 1.0}}}
    if not is_function:
        config["program"] = "train.py"
    sweep_id = sweep(config, job=job)
    workspace = Workspace()
    with workspace.store() as store:
        stored = store.get_sweep(sweep_id)
        if is_function:
            sent = send_function(store, stored, train, None, "sagemaker", workspace)
            assert sent
            stored = sent.sweep
    render = backends.renderer(stored.job, stored, workspace, "sagemaker", upload=True)
    backend = backends.open_backend("sagemaker", workspace)
    return lambda number: backend.submit(render(Trial(number=number, params={"lr": number / 100})))


def by_v2(*, is_one_for_all: bool) -> Launch:
    import boto3
    from sagemaker.pytorch import PyTorch
    from sagemaker.session import Session
    from sagemaker.telemetry import telemetry_logging

    report_here(telemetry_logging)

    def make(number: int, **more: Any) -> Any:
        return PyTorch(
            framework_version="2.3.0",
            py_version="py311",
            role=ROLE,
            instance_count=1,
            instance_type="ml.m5.large",
            entry_point="train.py",
            source_dir=SOURCE_DIR,
            output_path=OUTPUT,
            code_location=OUTPUT,
            hyperparameters={"lr": number / 100},
            **more,
        )

    if not is_one_for_all:
        return lambda number: make(number).fit(wait=False)
    estimator = make(0, sagemaker_session=Session(boto3.Session(), default_bucket=BUCKET))

    def launch(number: int) -> None:
        estimator.set_hyperparameters(lr=number / 100)
        estimator.fit(wait=False)

    return launch


def by_v3(*, is_one_for_all: bool) -> Launch:
    import boto3
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.telemetry import telemetry_logging
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, OutputDataConfig, SourceCode

    report_here(telemetry_logging)

    def make(number: int, **more: Any) -> Any:
        return ModelTrainer(
            training_image=IMAGE,
            role=ROLE,
            compute=Compute(instance_type="ml.m5.large", instance_count=1),
            source_code=SourceCode(source_dir=SOURCE_DIR, entry_script="train.py"),
            output_data_config=OutputDataConfig(s3_output_path=OUTPUT),
            hyperparameters={"lr": number / 100},
            **more,
        )

    if not is_one_for_all:
        return lambda number: make(number).train(wait=False, logs=False)
    trainer = make(0, sagemaker_session=Session(boto3.Session(), default_bucket=BUCKET))

    def launch(number: int) -> None:
        trainer.hyperparameters = {"lr": number / 100}
        trainer.train(wait=False, logs=False)

    return launch


def by_remote(version: int, *, gets_result: bool = False) -> Launch:
    """Launch as a call of a function with `@remote` does, or get its result as such a call does after the job."""
    import boto3

    sdk = remote_sdk(version)
    report_here(sdk.telemetry_logging)
    session = sdk.Session(boto3.Session(), default_bucket=BUCKET)
    options = {"role": ROLE, "instance_type": "ml.m5.large", "image_uri": IMAGE, "s3_root_uri": OUTPUT}
    settings: Any = sdk.remote(sagemaker_session=session, **options)(train).job_settings
    if not gets_result:
        return lambda number: sdk.Job.start(settings, train, (number / 100,), {})
    jobs = [sdk.Job.start(settings, train, (number / 100,), {}) for number in range(N + 1)]
    for job in jobs:  # what the container does
        sdk.StoredFunction(sagemaker_session=session, s3_base_uri=f"{OUTPUT}/{job.job_name}").load_and_invoke()

    def get_result(number: int) -> None:
        job = jobs[number]
        assert job.describe()["TrainingJobStatus"] == "Completed"  # its polls before are not counted
        place = f"{OUTPUT}/{job.job_name}/results"
        result = sdk.serialization.deserialize_obj_from_s3(sagemaker_session=session, s3_uri=place)
        assert result == train(number / 100)

    return get_result


def remote_sdk(version: int) -> Any:
    if version == 2:
        from sagemaker.remote_function import remote
        from sagemaker.remote_function.core import serialization
        from sagemaker.remote_function.core.stored_function import StoredFunction
        from sagemaker.remote_function.job import _Job
        from sagemaker.session import Session
        from sagemaker.telemetry import telemetry_logging
    else:
        from sagemaker.core.helper.session_helper import Session
        from sagemaker.core.remote_function import remote
        from sagemaker.core.remote_function.core import serialization
        from sagemaker.core.remote_function.core.stored_function import StoredFunction
        from sagemaker.core.remote_function.job import _Job
        from sagemaker.core.telemetry import telemetry_logging
    return SimpleNamespace(
        remote=remote,
        serialization=serialization,
        StoredFunction=StoredFunction,
        Job=_Job,
        Session=Session,
        telemetry_logging=telemetry_logging,
    )


def all_to_url() -> None:
    """Send the calls for which the SDKs use a fixed AWS endpoint to the server, too."""
    import botocore.session

    create: Any = botocore.session.Session.create_client

    def create_here(self: Any, service: str, *args: Any, **more: Any) -> Any:
        return create(self, service, *args, **{**more, "endpoint_url": URL})

    botocore.session.Session.create_client = create_here  # type: ignore[method-assign, assignment]  # on purpose


def report_here(telemetry_logging: Any) -> None:
    """Send the telemetry of an SDK, which is on by default, to the server."""
    telemetry_logging._requests_helper = lambda url, timeout: urllib.request.urlopen(f"{URL}/telemetry").close()


WAYS: dict[str, Callable[[], Launch]] = {
    "smsweep": lambda: by_smsweep(is_function=False),
    "function": lambda: by_smsweep(is_function=True),
    "v2": lambda: by_v2(is_one_for_all=False),
    "v2-one": lambda: by_v2(is_one_for_all=True),
    "v2-config": lambda: by_v2(is_one_for_all=True),
    "v3": lambda: by_v3(is_one_for_all=False),
    "v3-one": lambda: by_v3(is_one_for_all=True),
    "v2-remote": lambda: by_remote(2),
    "v2-result": lambda: by_remote(2, gets_result=True),
    "v3-remote": lambda: by_remote(3),
}


def tell(what: str) -> None:
    urllib.request.urlopen(f"{URL}/benchmark/{what}").close()


def main() -> None:
    sealed.seal()
    os.environ.update(AWS_ENDPOINT_URL=URL, AWS_ACCESS_KEY_ID=sys.argv[6], AWS_SECRET_ACCESS_KEY=sys.argv[7])
    all_to_url()
    if WAY == "v2-config":  # any setting, for example one that an organisation sets for its users
        config = Path(SOURCE_DIR).with_name("config.yaml")
        config.write_text("SchemaVersion: '1.0'\nSageMaker: {TrainingJob: {EnableNetworkIsolation: false}}\n")
        os.environ["SAGEMAKER_USER_CONFIG_OVERRIDE"] = str(config)
    launch = WAYS[WAY]()
    launch(0)
    tell("begin")
    took_ms = []
    for number in range(1, N + 1):
        start = time.perf_counter()
        launch(number)
        took_ms.append((time.perf_counter() - start) * 1000)
    tell("end")
    sealed.answer(took_ms)


main()
