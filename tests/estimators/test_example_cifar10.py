"""examples/sagemaker-pytorch-cifar10: its three ways to say how a job runs, and its script."""

from __future__ import annotations

import functools
import py_compile
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from smsweep.config.job_yaml import read_job
from smsweep.config.sweep_yaml import read_sweep
from smsweep.sdk.api import Api
from smsweep.sdk.run import run
from smsweep.trials import TrialState
from tests.oracles import ROOT, oracle

EXAMPLE = ROOT / "examples" / "sagemaker-pytorch-cifar10"
SCRIPTS = sorted(EXAMPLE.rglob("*.py"))
SAME = ("RoleArn", "ResourceConfig", "StoppingCondition", "EnableManagedSpotTraining")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_its_scripts_compile(script: Path, tmp_path: Path) -> None:
    py_compile.compile(str(script), cfile=str(tmp_path / "compiled"), doraise=True)


def test_its_sweep_is_one_that_runs() -> None:
    parsed = read_sweep(EXAMPLE / "sweep.yaml")
    assert (parsed.warnings, parsed.config.program, parsed.config.run_cap) == ((), "train.py", 12)


@pytest.mark.oracle
@pytest.mark.parametrize("sdk", [2, 3])
def test_job_yaml_estimator_and_model_trainer_say_the_same(sdk: int) -> None:
    told = ask(sdk)["template"]
    job = read_job(EXAMPLE / "job.yaml").template
    assert {name: told["request"][name] for name in SAME} == {name: job.request[name] for name in SAME}
    assert (told["source_dir"], told["program"]) == (job.source_dir, "train.py")


@pytest.mark.oracle
@pytest.mark.parametrize("sdk", [2, 3])
def test_its_image_is_the_one_that_job_yaml_names(sdk: int) -> None:
    image = ask(sdk)["template"]["request"]["AlgorithmSpecification"]["TrainingImage"]
    assert image == "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:2.3.0-gpu-py311"


@pytest.mark.skipif(not (find_spec("torch") and find_spec("wandb")), reason="needs torch and wandb")
def test_two_of_its_trials_learn_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = shutil.copytree(EXAMPLE, tmp_path / "example")
    (example / "source" / "requirements.txt").unlink()
    monkeypatch.chdir(example)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = {
        "program": "train.py",
        "method": "grid",
        "metric": {"name": "test_accuracy", "goal": "maximize"},
        "parameters": {"lr": {"value": 0.02}, "batch_size": {"values": [64, 128]}, "epochs": {"value": 5}},
    }
    ids: list[str] = []
    outcome = run(config, job=example / "job.yaml", backend="process", on_created=ids.append)
    assert outcome.ended == {TrialState.FINISHED: 2}
    assert all((run.objective or 0) > 0.5 for run in Api().sweep(ids[0]).runs)  # 0.1 by chance


@functools.cache
def ask(sdk: int) -> dict[str, Any]:
    question = {"sdk": sdk, "script": str(EXAMPLE / f"run_v{sdk}.py")}
    told: dict[str, Any] = oracle(f"sagemaker{sdk}").ask(Path(__file__).with_name("ask_example.py"), question)
    assert told["calls"] == []
    return told
