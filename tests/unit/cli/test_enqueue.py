"""`start_points` in job.yaml and `smsweep enqueue`, on real jobs and stores."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import smsweep
from smsweep.errors import UsageError
from smsweep.services.sweeps.enqueue import enqueue
from tests.support.json_documents import check
from tests.unit.cli.conftest import Cli

SWEEP = """
program: train.py
method: {method}
run_cap: 6
metric: {{name: loss, goal: minimize}}
parameters:
  layers: {{values: [2, 4, 8]}}
  width: {{values: [8, 16]}}
  name: {{values: ["1", two]}}
"""
TRAIN = """
import argparse, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--layers", type=int)
parser.add_argument("--width", type=int)
args = parser.parse_known_args()[0]
smsweep.log({"loss": args.layers * args.width})
"""


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "train.py").write_text(TRAIN)
    (folder / "job.yaml").write_text("search: {start_points: [{layers: 8, width: 16}, {layers: 4}]}\n")
    write(folder, "random")
    return folder


def write(folder: Path, method: str) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.format(method=method))


def params(cli: Cli, sweep_id: str) -> list[tuple[int, int]]:
    trials = json.loads(cli("trials", sweep_id, "--json").out)
    return [(trial["params"]["layers"], trial["params"]["width"]) for trial in trials]


def test_start_points_run_first_and_plan_shows_them(cli: Cli, folder: Path) -> None:
    plan = check("smsweep plan", cli("plan", "sweep.yaml", "--job", "job.yaml", "--json", "--seed", "1").out)
    assert [trial["params"]["layers"] for trial in plan["trials"][:2]] == [8, 4]
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "--parallel", "3", "--seed", "1").out.strip()
    tried = params(cli, sweep_id)
    assert len(tried) == 6
    assert tried[0] == (8, 16)
    assert tried[1][0] == 4
    assert tried[:2] == [(each["params"]["layers"], each["params"]["width"]) for each in plan["trials"][:2]]


def test_enqueued_trial_runs_before_others_and_after_start_points(cli: Cli, folder: Path) -> None:
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.split()[-1]
    ended = cli("enqueue", sweep_id, "layers=2", "width=8", "name=1")
    assert ended.code == 0, ended.err
    assert ended.out.strip() == f"{sweep_id}/2"
    assert f"smsweep agent {sweep_id}" in ended.err
    trials = json.loads(cli("trials", sweep_id, "--json").out)
    assert [trial["state"] for trial in trials] == ["pending"] * 3
    assert trials[2]["params"] == {"layers": 2, "width": 8, "name": "1"}
    assert cli("agent", sweep_id, "--parallel", "3").code == 0
    tried = params(cli, sweep_id)
    assert tried[0] == (8, 16)
    assert tried[1][0] == 4
    assert tried[2] == (2, 8)
    assert len(tried) == 6  # run_cap includes the enqueued trial


def test_finished_sweep_runs_an_enqueued_trial(cli: Cli, folder: Path) -> None:
    sweep_id = cli("run", "sweep.yaml", "--seed", "1").out.strip()
    labels = check("smsweep enqueue", cli("enqueue", sweep_id, "layers=2", "--json").out)
    assert labels == [f"{sweep_id}/6"]
    assert json.loads(cli("show", sweep_id, "--json").out)["state"] == "running"
    assert cli("agent", sweep_id).code == 0
    shown = json.loads(cli("show", sweep_id, "--json").out)
    assert (shown["state"], shown["trials"]) == ("finished", {"finished": 7})
    assert params(cli, sweep_id)[6][0] == 2


def test_grid_gets_each_cell_once(cli: Cli, folder: Path) -> None:
    write(folder, "grid")
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("run_cap: 6", ""))
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.split()[-1]
    for _ in range(3):
        assert cli("enqueue", sweep_id, "layers=8").code == 0
    ended = cli("enqueue", sweep_id, "layers=8")
    assert ended.code != 0
    assert f"sweep {sweep_id} has tried all cells of its grid with these values" in ended.err
    assert cli("agent", sweep_id, "--parallel", "4").code == 0
    trials = json.loads(cli("trials", sweep_id, "--json").out)
    assert len(trials) == 12 == len({json.dumps(trial["params"], sort_keys=True) for trial in trials})
    assert [trial["params"]["layers"] for trial in trials[:6]] == [8, 4, 8, 8, 8, 2]


def test_repeats_of_an_enqueued_trial(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("repeats: 2\nsearch: {start_points: [{layers: 8, width: 16}]}\n")
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.split()[-1]
    assert cli("enqueue", sweep_id, "layers=2", "width=8").out.split() == [f"{sweep_id}/2", f"{sweep_id}/3"]
    assert params(cli, sweep_id) == [(8, 16), (8, 16), (2, 8), (2, 8)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["layers=3"], "layers: 3 is not a value of layers; give a value that it can have"),
        (["layer=4"], "layer: not a parameter of sweep.yaml; did you mean layers?"),
        (["layers"], "'layers': expected NAME=VALUE, such as lr=0.01"),
        (["layers=4", "layers=8"], "layers: it is set twice; remove one of the values"),
    ],
)
def test_params_outside_the_space_are_refused(cli: Cli, folder: Path, words: list[str], message: str) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.split()[-1]
    ended = cli("enqueue", sweep_id, *words)
    assert ended.code != 0
    assert message in ended.err
    assert params(cli, sweep_id) == []


def test_paused_sweep_accepts_no_trials(cli: Cli, folder: Path) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.split()[-1]
    cli("sweep", "--pause", sweep_id)
    ended = cli("enqueue", sweep_id, "layers=4")
    assert ended.code != 0
    assert f"is paused and accepts no trials; continue it with: smsweep sweep --resume {sweep_id}" in ended.err


def test_processes_that_enqueue_at_the_same_time_add_each_trial_once(cli: Cli, folder: Path) -> None:
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.split()[-1]
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda width: enqueue(sweep_id, {"width": width})[0].number, [8, 16] * 4))
    assert sorted(numbers) == list(range(2, 10))
    assert params(cli, sweep_id)[0] == (8, 16)


def test_python_interface_enqueues_a_run(cli: Cli, folder: Path) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.split()[-1]
    run = smsweep.Api().sweep(sweep_id).enqueue({"layers": 4, "width": 8})
    assert (run.state, run.config["layers"], run.config["width"]) == ("pending", 4, 8)
    with pytest.raises(UsageError, match="layers: 5 is not a value of layers"):
        smsweep.Api().sweep(sweep_id).enqueue({"layers": 5})
