"""Tests of examples/sagemaker-pytorch-cifar10: its three job descriptions and its script."""

from __future__ import annotations

import functools
import io
import os
import pickle
import py_compile
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from smsweep.api.api import Api
from smsweep.config_files.job_yaml import read_job
from smsweep.config_files.sweep_yaml import read_sweep
from smsweep.core.trial import TrialState
from smsweep.services.agents.run_agent import run
from tests.support.account import BUCKET, open_account
from tools.environments import ROOT, oracle

EXAMPLE = ROOT / "examples" / "sagemaker-pytorch-cifar10"
SCRIPTS = sorted(EXAMPLE.rglob("*.py"))
ARCHIVE = "cifar-10-python.tar.gz"
# A network and epochs that two cores train in seconds.
SMALL: dict[str, dict[str, Any]] = {
    "lr": {"value": 0.02},
    "batch_size": {"value": 20},
    "conv1_channels": {"value": 4},
    "conv2_channels": {"value": 8},
    "epochs": {"value": 2},
}
SAME = ("RoleArn", "ResourceConfig", "StoppingCondition", "EnableManagedSpotTraining")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_example_scripts_compile(script: Path, tmp_path: Path) -> None:
    py_compile.compile(str(script), cfile=str(tmp_path / "compiled"), doraise=True)


def test_example_sweep_is_valid() -> None:
    parsed = read_sweep(EXAMPLE / "sweep.yaml")
    assert (parsed.warnings, parsed.config.program, parsed.config.run_cap) == ((), "train.py", 12)


@pytest.mark.oracle
@pytest.mark.parametrize("sdk", [2, 3])
@pytest.mark.parametrize(("file", "gpu"), [("job.yaml", ""), ("job-gpu-spot.yaml", "1")])
def test_job_yaml_estimator_and_model_trainer_agree(sdk: int, file: str, gpu: str) -> None:
    result = ask(sdk, gpu)["template"]
    job = read_job(EXAMPLE / file).template
    assert {name: result["request"].get(name) or None for name in SAME} == {
        name: job.request.get(name) for name in SAME
    }
    assert (result["source_dir"], result["program"]) == (job.source_dir, "train.py")
    assert tuple(map(tuple, result["metric_definitions"])) == job.metric_definitions
    image = f"763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:2.3.0-{'gpu' if gpu else 'cpu'}-py311"
    assert result["request"]["AlgorithmSpecification"]["TrainingImage"] == image


def test_objective_is_a_metric_definition_of_both_jobs() -> None:
    metric = read_sweep(EXAMPLE / "sweep.yaml").config.metric
    assert metric is not None
    for name in ("job.yaml", "job-gpu-spot.yaml"):
        parsed = read_job(EXAMPLE / name)
        assert ([name for name, _ in parsed.template.metric_definitions], parsed.warnings) == ([metric.name], ())


def test_data_set_is_uploaded_once(tmp_path: Path) -> None:
    archive = tmp_path / ARCHIVE
    archive.write_bytes(b"data")
    command = [
        sys.executable,
        str(EXAMPLE / "upload_data.py"),
        f"s3://{BUCKET}/cifar10",
        "--archive",
        str(archive),
    ]
    with open_account(tmp_path / "endpoint", os.environ) as account:
        account.s3.create_bucket(Bucket=BUCKET)
        environ = {**os.environ, **account.emulator.environ}
        printed = [
            subprocess.run(command, check=True, env=environ, capture_output=True, text=True).stdout
            for _ in range(2)
        ]
        body = account.s3.get_object(Bucket=BUCKET, Key=f"cifar10/{ARCHIVE}")["Body"].read()
    uri = f"s3://{BUCKET}/cifar10/{ARCHIVE}"
    assert (printed, body) == ([f"uploaded {uri}\n", f"{uri} exists\n"], b"data")


@pytest.mark.oracle
@pytest.mark.parametrize("backend", ["process", "sagemaker"])
def test_example_trial_learns_and_logs_to_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    example = shutil.copytree(EXAMPLE, tmp_path / "example")
    (example / "source" / "requirements.txt").unlink()
    monkeypatch.chdir(example)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = yaml.safe_load((EXAMPLE / "sweep.yaml").read_text())
    config["command"] = [str(oracle("torch").python), "${program}", "${args}"]
    config["run_cap"] = 1
    config["parameters"] |= SMALL
    ids: list[str] = []
    with open_account(tmp_path / "endpoint", os.environ) as account:
        for name, value in account.emulator.environ.items():
            monkeypatch.setenv(name, value)
        with (example / "job.yaml").open("a") as job:
            job.write(f"output_path: s3://{BUCKET}/out\n")
            if backend == "sagemaker":
                account.s3.create_bucket(Bucket=BUCKET)
                account.s3.put_object(Bucket=BUCKET, Key=f"data/{ARCHIVE}", Body=small_data_set())
                job.write(f"inputs: {{training: s3://{BUCKET}/data}}\n")
        outcome = run(config, job=example / "job.yaml", backend=backend, on_created=ids.append)
    assert outcome.ended == {TrialState.FINISHED: 1}
    (trial,) = Api().sweep(ids[0]).runs
    accuracy = trial.summary["average test accuracy"]
    assert isinstance(accuracy, float)
    assert accuracy > 50  # a random guess has 10
    assert trial.summary["Test Acc"] == pytest.approx(accuracy, abs=1e-3)
    assert {f"Accuracy of {name}" for name in ("plane", "truck")} <= trial.summary.keys()
    assert "Loss" in trial.summary
    if backend == "process":
        images = list((tmp_path / "home").rglob("media/images/*.png"))
        assert len(images) >= 16


def small_data_set() -> bytes:
    """Return an archive in the format of CIFAR-10, with noisy copies of ten images."""
    chance = np.random.default_rng(0)
    labels = [number % 10 for number in range(200)]
    images = chance.integers(0, 256, (10, 3072))[labels]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
            noisy = np.clip(images + chance.normal(0, 30, images.shape), 0, 255).astype(np.uint8)
            batch = pickle.dumps({b"data": noisy, b"labels": labels}, protocol=2)
            batch = batch.replace(b"numpy._core", b"numpy.core")  # NumPy 1 wrote the real file; NumPy 2 reads both
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(batch)
            tar.addfile(member, io.BytesIO(batch))
    return archive.getvalue()


@functools.cache
def ask(sdk: int, gpu: str) -> dict[str, Any]:
    question = {"sdk": sdk, "gpu": gpu, "script": str(EXAMPLE / f"run_v{sdk}.py")}
    result: dict[str, Any] = oracle(f"sagemaker{sdk}").ask(Path(__file__).with_name("ask_example.py"), question)
    assert result["calls"] == []
    return result
