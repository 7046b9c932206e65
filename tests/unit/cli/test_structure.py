"""Conditional parameters and constraints in commands: the example of docs/search.md, and a sweep that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import smsweep
from tests.support.markdown import ROOT, blocks
from tests.unit.cli.conftest import Cli

SECTION = [block for block in blocks(ROOT / "docs" / "search.md") if block.section == "Conditional parameters"]
TRAIN = """
import argparse, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--layers", type=int)
parser.add_argument("--momentum", type=float)
args = parser.parse_known_args()[0]
run = smsweep.init()
assert ("momentum" in run.config) == (args.momentum is not None) == (run.config["optimizer"] != "adam")
smsweep.log({"loss": args.layers})
"""


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "train.py").write_text(TRAIN)
    for block in SECTION:
        if block.is_file:
            (folder / block.title).write_text(block.text)
    return folder


def test_plan_of_the_example_is_as_documented(cli: Cli, folder: Path) -> None:
    (command,) = (block.text for block in SECTION if block.language == "bash")
    (text,) = (block.text for block in SECTION if block.language == "text")
    shown = cli(*command.split()[1:]).out
    assert [line.rstrip() for line in shown.splitlines()][: len(text.splitlines())] == text.splitlines()


def test_plan_lists_the_rules_as_json(cli: Cli, folder: Path) -> None:
    document = json.loads(cli("plan", "sweep.yaml", "--job", "job.yaml", "--json").out)
    assert document["expected_trial_count"] == 27
    assert document["rules"][0] == "momentum if optimizer is rmsprop or sgd"
    assert document["rules"][-1] == "not (optimizer == 'adam' and layers > 1)"


def test_trials_lack_parameters_that_do_not_exist(cli: Cli, folder: Path) -> None:
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "--parallel", "4").out.strip()
    trials = json.loads(cli("trials", sweep_id, "--json").out)
    assert [trial["state"] for trial in trials] == ["finished"] * 27
    assert len({json.dumps(trial["params"]) for trial in trials}) == 27
    assert all(("momentum" in trial["params"]) == (trial["params"]["optimizer"] != "adam") for trial in trials)
    assert smsweep.Api().sweep(sweep_id).expected_run_count == 27
    assert json.loads(cli("plan", sweep_id, "--json").out)["trials"] == []  # the grid is used up


def test_impossible_constraint_creates_nothing(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("search:\n  constraints: [layers * width < 100]\n")
    refused = cli("sweep", "sweep.yaml", "--job", "job.yaml")
    assert refused.code == 2
    assert (
        "job.yaml:2: search.constraints[0]: 'layers * width < 100': no params meet the constraints" in refused.err
    )
    assert json.loads(cli("ls", "--json").out) == []
