"""Early stopping of trials as real processes: the stop is fast, and points of the grace period are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.api.api import ApiRun

PATIENCE_S = 3.0  # a tick takes at most 0.25 s, but this machine can be busy

# Trains well with --a 1, badly with 2, to NaN with 3. After SIGTERM, it needs 0.5 s for a last report.
# With --a 2, it waits after 5 values, before its second band, until the good trial reaches the first band.
SCRIPT = """
import argparse, itertools, signal, sys, time
import smsweep

parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a

def end(number, frame):
    smsweep.log({"notified_at": time.time()})
    time.sleep(0.5)
    smsweep.log({"loss": 0.5, "saved": 1})
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
for step in itertools.count() if a == 3 else range({1: 20, 2: 5}[a]):
    smsweep.log({"loss": {1: -step, 2: step, 3: float("nan")}[a]})
    time.sleep(0.05)
while a == 2:
    time.sleep(0.05)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("SMSWEEP_DIR", "SMSWEEP_STORE", "SMSWEEP_BACKEND", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


def run(*values: int, stop_if: list[str] | None = None, **config: Any) -> list[ApiRun]:
    sweep: dict[str, Any] = {
        "program": "train.py",
        "method": "grid",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"a": {"values": list(values)}},
    }
    sweep_id = smsweep.sweep({**sweep, **config}, job={"stop_if": stop_if} if stop_if else None)
    smsweep.agent(sweep_id, parallel=len(values))
    return smsweep.Api().sweep(sweep_id).runs


@pytest.mark.parametrize("rule", [{"type": "hyperband", "min_iter": 3}, {"type": "asha", "min_iter": 3}])
def test_rule_stops_worse_trial_and_better_trial_finishes(folder: Path, rule: dict[str, Any]) -> None:
    good, bad = run(1, 2, early_terminate=rule)
    assert (good.state, bad.state) == ("finished", "stopped")
    assert bad.trial.reason.startswith(f"{rule['type']}: at band 3 its loss 2 is worse than -2")


def test_trial_that_reports_nan_is_stopped(folder: Path) -> None:
    (lost,) = run(3, stop_if=["loss is nan"])
    assert lost.state == "stopped"
    assert lost.trial.reason.startswith("stop_if: loss is nan")
    first, *_ = lost.scan_history(["_timestamp", "loss"])
    notified_at, reported_at = lost.summary["notified_at"], first["_timestamp"]
    assert isinstance(notified_at, float)
    assert isinstance(reported_at, float)
    assert 0 <= notified_at - reported_at < PATIENCE_S


def test_points_reported_in_grace_period_are_stored(folder: Path) -> None:
    (bad,) = run(2, stop_if=["loss > 3"])
    assert bad.summary["saved"] == 1
    assert (bad.summary["loss"], bad.objective) == (0.5, 0)
    assert bad.trial.exit_code == 0


def test_stopping_rule_and_stop_conditions_work_together(folder: Path) -> None:
    runs = run(1, 2, 3, stop_if=["loss is nan"], early_terminate={"type": "hyperband", "min_iter": 3})
    assert [run.trial.reason.partition(":")[0] for run in runs] == ["", "hyperband", "stop_if"]
