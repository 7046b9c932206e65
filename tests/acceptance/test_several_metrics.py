"""The examples of docs/several-metrics.md work as shown."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import pytest

from tests.support.markdown import ROOT, Block, blocks
from tests.support.walkthrough import walk
from tests.unit.cli.conftest import Cli, cli, folder

__all__ = ["cli", "folder"]  # fixtures

PAGE = ROOT / "docs/several-metrics.md"
SECTIONS = {
    section: [block for block in group if block.language != "console"]
    for section, group in groupby(blocks(PAGE), lambda block: block.section)
}

TRAIN = """
import argparse, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
smsweep.log({"cost": 0, "gain": 9})
smsweep.log({"cost": a, "gain": {1: 2, 2: 1, 3: 3, 4: 4}[a]} if a < 4 else {"cost": 4})
"""
SWEEP = """
program: train.py
method: custom
metrics: [{name: cost}, {name: gain, goal: maximize}]
run_cap: 4
parameters: {a: {values: [1, 2, 3, 4]}}
"""


@pytest.mark.parametrize("shown", [pytest.param(shown, id=section) for section, shown in SECTIONS.items()])
def test_section_examples_run_as_shown(shown: list[Block], tmp_path: Path) -> None:
    if any(block.is_file for block in shown):
        walk(shown, tmp_path)


def test_best_returns_pareto_front_by_last_values(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep_id = cli("run", "sweep.yaml", "--quiet").out.strip()
    front = json.loads(cli("best", sweep_id, "--json").out)
    by_a = {trial["params"]["a"]: trial["outcome"] for trial in front}
    # trial 4 reported no second gain, so the first gain is its last
    assert by_a == {1: {"cost": 1, "gain": 2}, 3: {"cost": 3, "gain": 3}, 4: {"cost": 4, "gain": 9}}
    assert "gain=9" in cli("best", sweep_id).out
    header, *lines = (line.split() for line in cli("trials", sweep_id, "--sort", "a").out.splitlines())
    assert header == ["trial", "state", "cost", "gain", "time", "a"]
    assert [("*" in line[0], *line[2:4], line[5]) for line in lines] == [
        (True, "1", "2", "1"),
        (False, "2", "1", "2"),
        (True, "3", "3", "3"),
        (True, "4", "9", "4"),
    ]
    shown = cli("show", sweep_id).out
    assert ("cost, minimize; gain, maximize" in shown, "3 trials: " in shown) == (True, True)


def test_models_of_pareto_front_have_trial_numbers(cli: Cli, folder: Path) -> None:
    leaves = "import os, pathlib\n(pathlib.Path(os.environ['SM_MODEL_DIR']) / 'a').write_text(str(a))\n"
    (folder / "train.py").write_text(TRAIN + leaves)
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep_id = cli("run", "sweep.yaml", "--quiet").out.strip()
    assert "is in models/N" in cli("best", sweep_id, "--download", "models").err
    front = json.loads(cli("best", sweep_id, "--json").out)
    found = {int(path.parent.name): int(path.read_text()) for path in (folder / "models").glob("*/a")}
    assert found == {trial["number"]: trial["params"]["a"] for trial in front}


def test_trial_without_one_metric_fails(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text("import smsweep\nsmsweep.log({'cost': 1})\n")
    (folder / "sweep.yaml").write_text(SWEEP.replace("run_cap: 4", "run_cap: 1"))
    ended = cli("run", "sweep.yaml")
    assert "without ever reporting the sweep's metric 'gain'" in ended.err
    assert cli("best", ended.out.strip()).code == 2


def test_repeats_are_compared_by_their_means(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(
        TRAIN + "\nimport os\nsmsweep.log({'cost': a + 0.5 * (int(os.environ['SMSWEEP_TRIAL']) % 2), 'gain': a})\n"
    )
    (folder / "sweep.yaml").write_text(SWEEP)
    (folder / "job.yaml").write_text("repeats: 2\n")
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "--quiet").out.strip()
    front = json.loads(cli("best", sweep_id, "--json").out)
    assert [trial["repeats"] for trial in front] == [[0, 1], [2, 3]]


def test_no_trial_starts_after_all_targets_are_met(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN)
    metrics = "[{name: cost, target: 9}, {name: gain, goal: maximize, target: 1}]"
    (folder / "sweep.yaml").write_text(SWEEP.replace("[{name: cost}, {name: gain, goal: maximize}]", metrics))
    sweep_id = cli("run", "sweep.yaml", "--quiet").out.strip()
    assert len(json.loads(cli("trials", sweep_id, "--json").out)) == 1
    assert "cost, minimize, target 9; gain, maximize, target 1\n" in cli("show", sweep_id).out
