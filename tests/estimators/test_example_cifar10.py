"""Tests of examples/sagemaker-pytorch-cifar10: its three job descriptions and its script."""

from __future__ import annotations

import functools
import io
import os
import pickle
import py_compile
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
SAME = ("RoleArn", "ResourceConfig", "StoppingCondition", "EnableManagedSpotTraining")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_example_scripts_compile(script: Path, tmp_path: Path) -> None:
    py_compile.compile(str(script), cfile=str(tmp_path / "compiled"), doraise=True)


def test_example_sweep_is_valid() -> None:
    parsed = read_sweep(EXAMPLE / "sweep.yaml")
    assert (parsed.warnings, parsed.config.program, parsed.config.run_cap) == ((), "train.py", 12)


@pytest.mark.oracle
@pytest.mark.parametrize("sdk", [2, 3])
def test_job_yaml_estimator_and_model_trainer_agree(sdk: int) -> None:
    result = ask(sdk)["template"]
    job = read_job(EXAMPLE / "job.yaml").template
    assert {name: result["request"][name] for name in SAME} == {name: job.request[name] for name in SAME}
    assert (result["source_dir"], result["program"]) == (job.source_dir, "train.py")


@pytest.mark.oracle
@pytest.mark.parametrize("sdk", [2, 3])
def test_example_image_equals_image_of_job_yaml(sdk: int) -> None:
    image = ask(sdk)["template"]["request"]["AlgorithmSpecification"]["TrainingImage"]
    assert image == "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:2.3.0-gpu-py311"


@pytest.mark.oracle
@pytest.mark.parametrize("backend", ["process", "sagemaker"])
def test_example_trials_reach_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    example = shutil.copytree(EXAMPLE, tmp_path / "example")
    (example / "source" / "requirements.txt").unlink()
    monkeypatch.chdir(example)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = {
        "program": "train.py",
        "method": "grid",
        "command": [str(oracle("torch").python), "${program}", "${args}"],
        "metric": {"name": "test_accuracy", "goal": "maximize"},
        "parameters": {"lr": {"value": 0.02}, "batch_size": {"values": [64, 128]}, "epochs": {"value": 5}},
    }
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
    assert outcome.ended == {TrialState.FINISHED: 2}
    assert all((run.objective or 0) > 0.5 for run in Api().sweep(ids[0]).runs)  # a random guess has 0.1


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
def ask(sdk: int) -> dict[str, Any]:
    question = {"sdk": sdk, "script": str(EXAMPLE / f"run_v{sdk}.py")}
    result: dict[str, Any] = oracle(f"sagemaker{sdk}").ask(Path(__file__).with_name("ask_example.py"), question)
    assert result["calls"] == []
    return result
