"""`smsweep why` on real trials."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest

from smsweep.engine.wait_reason import WaitReasons
from smsweep.errors import QuotaExceeded
from smsweep.services.workspace import Workspace
from tests.unit.cli.conftest import Cli

pytestmark = pytest.mark.slow

TRAIN = """
import argparse, smsweep, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
if a == 13:
    print("looking for luck")
    sys.exit("no luck")
for step in range(3 if a > 1 else 5):
    smsweep.log({"loss": a})
if a > 1:
    time.sleep(60)  # until the rule stops the trial
"""
SWEEP = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
early_terminate: {type: hyperband, min_iter: 3}
parameters: {a: {values: [1, 2, 13]}}
"""


@pytest.fixture
def ended(cli: Cli, folder: Path) -> str:
    """The id of a sweep with a finished, a stopped and a failed trial.

    One trial runs after the other: the rule compares the second trial with all points of the first.
    """
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text(SWEEP)
    return cli("run", "sweep.yaml", "--parallel", "1", "--quiet").out.strip()


def test_why_explains_each_final_state(cli: Cli, ended: str) -> None:
    finished = cli("why", f"{ended}/0").out.splitlines()
    assert finished[0] == f"{ended}/0 finished without an error"
    assert re.fullmatch(
        rf"job smsweep-{ended}-0-0 ran [\d.]+s on process@\S+, from [-\d]+ [:\d]+ UTC", finished[1]
    )
    assert cli("why", f"{ended}/1").out.splitlines()[:2] == [
        f"{ended}/1 was stopped by a rule",
        "hyperband: at band 3 its loss 2 is worse than 1, the threshold of the 2 trials with 3 points",
    ]
    failed = cli("why", f"{ended}/2").out
    assert failed.startswith(f"{ended}/2 failed with exit code 1\n")
    assert "end of the log:\n  looking for luck\n  no luck\n" in failed


def test_why_json_has_rule_and_log(cli: Cli, ended: str) -> None:
    stopped = json.loads(cli("why", f"{ended}/1", "--json").out)
    assert (stopped["state"], stopped["log"]) == ("stopped", [])
    assert stopped["rule"] == {
        "rule": "hyperband",
        "metric": "loss",
        "band": 3,
        "value": 2,
        "threshold": 1,
        "peers": 2,
    }
    failed = json.loads(cli("why", f"{ended}/2", "--json").out)
    assert (failed["rule"], failed["exit_code"], failed["log"][-1]) == (None, 1, "no luck")


def test_why_of_a_retried_trial(cli: Cli, ended: str) -> None:
    cli("retry", f"{ended}/1")
    result = cli("why", f"{ended}/1").out
    assert result.splitlines()[0] == f"{ended}/1 waits for an agent to run again, for the 2nd time"


def test_why_of_a_sweep_asks_for_a_trial(cli: Cli, ended: str) -> None:
    asked = cli("why", ended)
    assert asked.code == 2
    assert f"such as {ended}/0" in asked.err


def test_why_of_a_waiting_trial_names_the_quota(cli: Cli, folder: Path) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    with Workspace().store() as store:
        store.add_trials(sweep_id, 0, [{"a": 1}])
        trial = store.claim(sweep_id, "ann", "sagemaker@eu-west-1", 60)
        assert trial is not None
        WaitReasons(store, "ann", lambda: datetime.now(timezone.utc)).note(
            trial, QuotaExceeded("quota of 2 is full", 2)
        )
    assert cli("why", f"{sweep_id}/0").out == f"{sweep_id}/0 waits for its job: quota of 2 is full\n"
    assert json.loads(cli("why", f"{sweep_id}/0", "--json").out)["waiting"]["limit"] == 2
