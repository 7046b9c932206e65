"""`search.outcome_constraints` and `search.beliefs` of job.yaml, on real jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import smsweep
from tests.support.json_documents import check
from tests.unit.cli.conftest import Cli

SWEEP = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters: {a: {values: [1, 2, 3, 4]}}
"""
TRAIN = """
import argparse, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
smsweep.log({"loss": a, "latency": 100 / a})
"""


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text(SWEEP)
    (folder / "job.yaml").write_text("search: {outcome_constraints: [latency <= 50]}\n")
    return folder


def test_best_trial_is_feasible_and_others_are_marked(cli: Cli, folder: Path) -> None:
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "--parallel", "4").out.strip()
    best = check("smsweep best", cli("best", sweep_id, "--json").out)
    assert best["params"] == {"a": 2}
    trials = check("smsweep trials", cli("trials", sweep_id, "--json").out)
    assert [trial["infeasible"] for trial in trials] == ["latency <= 50", "", "", ""]
    assert "infeasible" in cli("trials", sweep_id).out.splitlines()[0]
    assert "latency <= 50" in cli("show", sweep_id).out
    assert "infeasible" in cli("show", f"{sweep_id}/0").out
    run = smsweep.Api().sweep(sweep_id).best_run()
    assert run is not None
    assert run.config["a"] == 2
    report = folder / "report.html"
    assert cli("report", sweep_id, "-o", str(report)).code == 0
    assert '"infeasible"' in report.read_text()


def test_sweep_without_feasible_trial_has_no_best_trial(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("search: {outcome_constraints: latency <= 5}\n")
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "--parallel", "4").out.strip()
    assert json.loads(cli("show", sweep_id, "--json").out)["best"] is None
    ended = cli("best", sweep_id)
    assert ended.code != 0
    assert "meets the outcome constraints: latency <= 5; see all values" in ended.err


@pytest.mark.parametrize("text", ["latency is nan", "latency <= 5 after 3", "latency ~ 5"])
def test_other_constraint_is_an_error_with_its_line(cli: Cli, folder: Path, text: str) -> None:
    (folder / "job.yaml").write_text(f"search:\n  outcome_constraints:\n  - loss > 0\n  - {text}\n")
    ended = cli("sweep", "sweep.yaml", "--job", "job.yaml")
    assert ended.code != 0
    assert "job.yaml:4: search.outcome_constraints[1]: " in ended.err
    assert not (folder / ".smsweep" / "store.db").exists()
