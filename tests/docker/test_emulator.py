"""The emulator with real containers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from docker import DockerClient

from tests.docker.conftest import job_containers
from tests.support.account import BUCKET, OPEN_S3, Account, open_account
from tools.docker_engine import IMAGE

SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
}
# As a container's entrypoint argument: at most 256 characters, no line ends.
PATIENT = (
    "import signal, sys, time; "
    "signal.signal(signal.SIGTERM, lambda *_: (print('told', flush=True), sys.exit(0))); "
    "print('ready', flush=True); time.sleep(60)"
)
RESUMES = (
    "import os, signal, sys, time; p = '/opt/ml/checkpoints/s'; "
    "os.path.exists(p) and sys.exit(print('from', open(p).read())); "
    "signal.signal(15, lambda *_: sys.exit(open(p, 'w').write('7'))); "
    "print('ready', flush=True); time.sleep(60)"
)


@pytest.fixture(scope="module")
def account(docker_engine: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp("endpoint")
    with open_account(folder, os.environ, backend="docker") as opened:
        yield opened
    assert not job_containers(docker_engine, folder), "the emulator has not removed its containers"


def algorithm(code: str) -> dict[str, Any]:
    return {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python3", "-c", code],
    }


def test_container_reads_a_channel_and_writes_a_model(account: Account) -> None:
    account.s3.put_object(Bucket=BUCKET, Key="train/a.csv", Body=b"1,2")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train"}
    found = account.run(
        "d-trains",
        AlgorithmSpecification=algorithm(
            "print(open('/opt/ml/input/data/train/a.csv').read()); open('/opt/ml/model/weights', 'w').close()"
        ),
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
    )
    assert found["TrainingJobStatus"] == "Completed"
    assert account.lines("d-trains") == ["1,2"]
    assert account.names("output/d-trains/output/model.tar.gz") == ["weights"]


def test_container_reaches_the_emulator(account: Account) -> None:
    account.s3.put_object(Bucket=BUCKET, Key="seen", Body=b"from inside")
    code = f"{OPEN_S3}print(open_s3('{BUCKET}/seen').read().decode(), os.environ['TRAINING_JOB_ARN'])"
    # A part of a command has at most 256 characters, a hyperparameter at most one line.
    run_it = "import json; exec(eval(json.load(open('/opt/ml/input/config/hyperparameters.json'))['code']))"
    parameters = {"code": repr(code)}
    found = account.run("d-reaches", AlgorithmSpecification=algorithm(run_it), HyperParameters=parameters)
    assert account.lines("d-reaches") == [f"from inside {found['TrainingJobArn']}"]


def test_stopped_container_gets_sigterm(account: Account) -> None:
    account.create("d-stopped", AlgorithmSpecification=algorithm(PATIENT))
    account.wait_for_line("d-stopped", "ready")
    account.sagemaker.stop_training_job(TrainingJobName="d-stopped")
    assert account.wait("d-stopped")["SecondaryStatus"] == "Stopped"
    assert account.lines("d-stopped") == ["ready", "told"]


def test_interrupted_container_resumes_from_its_checkpoint(account: Account) -> None:
    account.emulator.faults.set({"interrupt": [{"job": "d-spot", "after_s": 2}]})
    found = account.run(
        "d-spot",
        AlgorithmSpecification=algorithm(RESUMES),
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/d-spot"},
        **SPOT,
    )
    assert "Interrupted" in account.statuses("d-spot")
    assert (found["TrainingJobStatus"], account.lines("d-spot")) == ("Completed", ["ready", "from 7"])


def test_missing_image_fails_the_job(account: Account) -> None:
    spec = {"TrainingImage": "localhost:1/no-such-image:1", "TrainingInputMode": "File"}
    found = account.run("d-image", AlgorithmSpecification=spec)
    assert found["FailureReason"].startswith("ClientError: image localhost:1/no-such-image:1")


def test_killed_container_has_sagemakers_out_of_memory_reason(account: Account) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL) or os._exit(137)"
    found = account.run("d-memory", AlgorithmSpecification=algorithm(code))
    assert found["FailureReason"].startswith("AlgorithmError: Please use an instance type with more memory")
