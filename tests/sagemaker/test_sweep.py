"""Complete sweeps on the SageMaker backend with the emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.core.trial import TrialState
from smsweep.services import emulator
from tests.sagemaker.conftest import Account


def test_three_trials_run_as_three_training_jobs(account: Account) -> None:
    outcome = account.run(3, parallel=2)
    assert outcome.ended == {TrialState.FINISHED: 3}
    assert [trial.metrics["loss"].last for trial in account.trials()] == [0, 2, 4]
    assert sorted(account.created().values()) == [1, 1, 1]


def test_broken_requirement_stops_the_sweep_at_its_first_trial(account: Account) -> None:
    (account.folder / "requirements.txt").write_text("--no-index\nno-such-package-anywhere==1.0\n")
    outcome = account.run(3)
    assert outcome.ended == {TrialState.FAILED: 1}
    assert "No matching distribution found for no-such-package-anywhere==1.0" in outcome.trouble


def test_emulator_in_a_relative_folder_runs_jobs(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    with emulator.run_emulator(folder=Path("here")) as opened:
        for name, value in opened.environ.items():
            monkeypatch.setenv(name, value)
        assert account.run(1).ended == {TrialState.FINISHED: 1}
