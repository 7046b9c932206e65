"""Metric definitions of an SDK's object are checked when a sweep is created, as those of a job.yaml are."""

from __future__ import annotations

from pathlib import Path

import pytest

import smsweep
from smsweep.errors import ConfigError
from smsweep.services.sweeps.load import EstimatorJob
from smsweep.services.workspace import Workspace
from tests.support.desk import grid, use_own_workspace


def estimator(regex: str) -> EstimatorJob:
    """Return what is made of an Estimator or a ModelTrainer with that metric definition."""
    request = {"AlgorithmSpecification": {"MetricDefinitions": [{"Name": "loss", "Regex": regex}]}}
    return EstimatorJob(document={"request": request}, program="train.py", command=(), backend="process")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text("")
    return use_own_workspace(tmp_path, monkeypatch)


def test_an_estimators_regex_that_nests_repeats_is_warned_of(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep_id = smsweep.sweep(grid(None, x=1), estimator=estimator("loss=([0-9]+)+"))
    assert "MetricDefinitions[0].Regex: '([0-9]+)+' repeats a group that contains a repetition" in caplog.text
    caplog.clear()
    smsweep.agent(sweep_id, count=1)
    assert "repeats a group" not in caplog.text, "it was warned of when the sweep was created"


def test_an_estimators_regex_that_needs_backtracking_is_refused_before_there_is_a_sweep(folder: Path) -> None:
    with pytest.raises(ConfigError, match="uses look-behind, which is not supported"):
        smsweep.sweep(grid(None, x=1), estimator=estimator("(?<=loss=)([0-9]+)"))
    assert not Workspace().has_store
