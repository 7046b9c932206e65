"""The metric definitions of an SDK object are checked when a sweep is created, like those of a job.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

import smsweep
from smsweep.errors import ConfigError
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
