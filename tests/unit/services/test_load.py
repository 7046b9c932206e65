"""Tests of sweeps of converted SDK objects: checks of metric definitions, and the program that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.core.trial import TrialState
from smsweep.errors import ConfigError, UsageError
from smsweep.services.sweeps.load import EstimatorJob
from smsweep.services.workspace import Workspace
from tests.support.working_dir import grid, use_own_workspace


def estimator(regex: str) -> EstimatorJob:
    """Return a converted Estimator or ModelTrainer with a metric definition."""
    request = {"AlgorithmSpecification": {"MetricDefinitions": [{"Name": "loss", "Regex": regex}]}}
    return EstimatorJob(document={"request": request}, program="train.py", command=(), backend="process")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text("")
    return use_own_workspace(tmp_path, monkeypatch)


def test_estimator_regex_with_nested_repetitions_logs_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep_id = smsweep.sweep(grid(None, x=1), estimator=estimator("loss=([0-9]+)+"))
    assert "MetricDefinitions[0].Regex: '([0-9]+)+' repeats a group that contains a repetition" in caplog.text
    caplog.clear()
    smsweep.agent(sweep_id, count=1)
    assert "repeats a group" not in caplog.text, "the warning was logged when the sweep was created"


def test_estimator_regex_with_look_behind_is_rejected_before_the_sweep_is_created(folder: Path) -> None:
    with pytest.raises(ConfigError, match="uses look-behind, which is not supported"):
        smsweep.sweep(grid(None, x=1), estimator=estimator("(?<=loss=)([0-9]+)"))
    assert not Workspace().has_store


def image(**texts: str) -> EstimatorJob:
    """Return a converted Estimator without a script."""
    request = {
        "AlgorithmSpecification": {"TrainingImage": "own:1"},
        "HyperParameters": {name: json.dumps(text) for name, text in texts.items()},
    }
    return EstimatorJob(document={"request": request}, program="", command=(), backend="docker", texts=texts)


def without_program(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in grid(None, **values).items() if name != "program"}


def test_estimator_without_a_script_runs_the_program_of_its_image(folder: Path) -> None:
    job = smsweep.Api().sweep(smsweep.sweep(without_program(x=1), estimator=image(lr="1e3"))).sweep.job
    assert job.runs_image
    assert job.request["HyperParameters"] == {"lr": "1e3"}


def test_program_and_command_of_the_sweep_run_in_the_image_of_an_estimator(folder: Path) -> None:
    command = {**without_program(x=1), "command": ["python", "-c", "pass"]}
    for sweep_id in (
        smsweep.sweep(grid(None, x=1), estimator=image(lr="1e3")),
        smsweep.sweep(without_program(x=1), estimator=image(lr="1e3"), program="train.py"),
        smsweep.sweep(command, estimator=image(lr="1e3")),
    ):
        job = smsweep.Api().sweep(sweep_id).sweep.job
        assert (job.runs_image, job.request["HyperParameters"]) == (False, {"lr": '"1e3"'})


def test_function_runs_instead_of_the_program_of_the_image(folder: Path) -> None:
    found: list[str] = []
    result = smsweep.run(
        without_program(x=1),
        estimator=image(lr="1e3"),
        function=lambda: smsweep.log({"loss": 1}),
        backend="inline",
        on_created=found.append,
    )
    assert result.ended == {TrialState.FINISHED: 1}
    assert not smsweep.Api().sweep(found[0]).sweep.job.runs_image
    sweep_id = smsweep.sweep(without_program(x=1))
    smsweep.agent(sweep_id, lambda: smsweep.log({"loss": 1}), estimator=image(), backend="inline")


def test_function_for_a_sweep_that_runs_an_image_is_refused(folder: Path) -> None:
    sweep_id = smsweep.sweep(without_program(x=1), estimator=image())
    with pytest.raises(UsageError, match="give the estimator to the agent, not to the sweep"):
        smsweep.agent(sweep_id, lambda: None)
