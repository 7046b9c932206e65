"""`promote: true` pauses trials at rungs, and resumes promoted trials from their checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.api.api import ApiRun
from smsweep.services.views.why import why

# Each epoch logs the value of the trial and, with --saves 1, writes a checkpoint before.
SCRIPT = """
import argparse, os, pathlib, time
import smsweep

parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
parser.add_argument("--saves", type=int)
args = parser.parse_known_args()[0]
last = pathlib.Path(os.environ["SMSWEEP_ML_ROOT"], "checkpoints", "last")
first = int(last.read_text()) + 1 if last.exists() else 1
for epoch in range(first, 13):
    smsweep.log({"loss": args.a, "first": first}, step=epoch)
    if args.saves:
        last.write_text(str(epoch))
    time.sleep(0.3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("SMSWEEP_DIR", "SMSWEEP_STORE", "SMSWEEP_BACKEND", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


def run(*values: int, saves: int) -> list[ApiRun]:
    sweep: dict[str, Any] = {
        "program": "train.py",
        "method": "grid",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"a": {"values": list(values)}, "saves": {"value": saves}},
        "early_terminate": {"type": "asha", "min_iter": 2, "eta": 2, "promote": True},
    }
    sweep_id = smsweep.sweep(sweep)
    smsweep.agent(sweep_id, parallel=1)
    return smsweep.Api().sweep(sweep_id).runs


def test_paused_trial_is_promoted_and_resumes_from_its_checkpoint(folder: Path) -> None:
    # The first trial is the best of one. The second one is paused, until four trials have reached its rung.
    best, second, *others = run(1, 2, 3, 4, saves=1)
    assert best.state == "finished"
    assert best.trial.attempt == 0
    assert second.trial.attempt == 1
    assert second.trial.retries == {}
    steps = [row["_step"] for row in second.scan_history(["_step", "loss"])]
    assert steps == list(range(1, len(steps) + 1))
    first_epoch = second.summary["first"]
    assert isinstance(first_epoch, int)
    assert first_epoch > 1
    assert [run.state for run in others] == ["stopped", "stopped"]
    assert [run.trial.attempt for run in others] == [0, 0]
    assert others[0].trial.reason.startswith("asha: at band 2 its loss 3 is worse than")
    assert others[0].trial.reason.endswith("; paused, until it is promoted")
    label = others[0].trial.label
    assert why(label)["why"] == "was paused by a rule, and has not been promoted"
    assert smsweep.Api().sweep(best.trial.sweep_id).state == "finished"


def test_script_that_ignores_its_checkpoint_ends_the_promotions(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = run(1, 2, 3, 4, 5, 6, saves=0)
    assert [run.trial.attempt for run in runs] == [0, 1, 0, 0, 0, 0]
    assert f"{runs[1].trial.label}: its script ignores its checkpoint" in caplog.text
    steps = [row["_step"] for row in runs[1].scan_history(["_step", "loss"])]
    assert steps == list(range(1, len(steps) + 1))
