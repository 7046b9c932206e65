"""`smsweep set`, and how other commands show the revisions of a config."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import smsweep
from smsweep.core.json_documents import SweepDocument
from smsweep.services.views import diff as diff_view
from smsweep.services.views import json_views
from tests.support.json_documents import check
from tests.unit.cli.conftest import Cli

WAITING = """
import os, time, smsweep
run = smsweep.init()
while os.path.exists(os.environ["WAIT"]):
    time.sleep(0.05)
smsweep.log({"loss": run.config.a})
"""
RANDOM = """
program: train.py
method: random
run_cap: 2
metric: {name: loss, goal: minimize}
parameters: {a: {min: 1, max: 9}}
"""
ENOUGH_S = 120.0


def test_set_is_shown_by_show_diff_and_report(cli: Cli, ran: str) -> None:
    done = cli("set", ran, "parameters.a.values+=8", "run_cap=9")
    assert (done.code, done.out.strip()) == (0, ran)
    assert "revision 2: parameters.a.values=[1, 2, 4, 8], run_cap=9" in done.err
    assert (
        f"the sweep is finished; to run more trials: smsweep sweep --resume {ran}; smsweep agent {ran}" in done.err
    )
    assert "2: parameters.a.values=[1, 2, 4, 8], run_cap=9, by " in cli("show", ran).out
    shown = check("smsweep show ID", cli("show", ran, "--json").out)
    first, second = shown["revisions"]
    assert (first["number"], first["changes"], first["changed_by"]) == (1, {}, "")
    assert (second["number"], second["first_number"]) == (2, 3)
    compared = check("smsweep diff", cli("diff", f"{ran}@1", f"{ran}@2", "--json").out)
    assert not compared["is_same"]
    assert compared["config"] == [
        {"name": "parameters.a.values", "a": [1, 2, 4], "b": [1, 2, 4, 8]},
        {"name": "run_cap", "b": 9},
    ]
    assert json.loads(cli("diff", f"{ran}@2", ran, "--json").out)["facts"] == []
    facts = json.loads(cli("diff", f"{ran}@1", ran, "--json").out)["facts"]
    assert {"name": "revision", "a": 1, "b": 2, "delta": 1} in facts
    assert "run_cap" in cli("diff", "tiny@1", f"{ran}@2").out
    missing = cli("diff", f"{ran}@1", f"{ran}@3")
    assert missing.code != 0
    assert f"sweep {ran} has no revision 3 of its config; it has revisions 1 to 2" in missing.err
    assert "parameters.a.values=[1, 2, 4, 8], run_cap=9" in smsweep.Api().sweep(ran).report().html


def test_grid_runs_only_the_new_cells_after_set(cli: Cli, ran: str) -> None:
    cli("set", ran, "parameters.a.values=[2, 4, 8, 10]")
    cli("sweep", "--resume", ran)
    assert cli("agent", ran).code == 0
    trials = json.loads(cli("trials", ran, "--json").out)
    assert [trial["params"]["a"] for trial in sorted(trials, key=lambda trial: trial["number"])] == [
        1,
        2,
        4,
        8,
        10,
    ]


def test_show_lists_all_revisions(cli: Cli, ran: str) -> None:
    for cap in range(10, 17):
        cli("set", ran, f"run_cap={cap}")
    shown = cli("show", ran).out
    assert [cap for cap in range(10, 17) if f"{cap - 8}: run_cap={cap}, by " in shown] == list(range(10, 17))


def test_diff_of_revisions_has_no_changes_of_the_running_sweep(
    cli: Cli, ran: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("set", ran, "parameters.a.values=[5, 6]")
    cells = iter([5, 6])

    def show_and_add(label: str) -> SweepDocument:
        shown = json_views.show(label)
        smsweep.Api().sweep(ran).enqueue({"a": next(cells)})
        return shown

    monkeypatch.setattr(diff_view, "show", show_and_add)
    compared = diff_view.diff(f"{ran}@1", f"{ran}@2")
    assert not [fact["name"] for fact in compared["facts"] if fact["name"].startswith(("trials", "state"))]


def test_python_changes_a_sweep(cli: Cli, ran: str) -> None:
    sweep = smsweep.Api().sweep(ran)
    assert sweep.update({"parameters.a.values": [1, 2, 3]}, run_cap=7).config["run_cap"] == 7
    assert smsweep.Api().sweep(ran).config["parameters"]["a"]["values"] == [1, 2, 3]
    with pytest.raises(smsweep.SmsweepError, match="metric: cannot change"):
        sweep.update(run_cap=8, metric={"name": "accuracy"})
    assert smsweep.Api().sweep(ran).config["run_cap"] == 7
    with pytest.raises(smsweep.SmsweepError, match="nothing to change"):
        sweep.update()


def test_python_changes_a_sweep_to_values_of_numpy(cli: Cli, ran: str) -> None:
    made = smsweep.Api().sweep(ran).update({"parameters.a.values": np.array([1, 2, 3])}, run_cap=np.int64(7))
    assert (made.config["parameters"]["a"]["values"], made.config["run_cap"]) == ([1, 2, 3], 7)
    assert made.update({"parameters.a.values": [np.int64(5)]}).config["parameters"]["a"]["values"] == [5]


def test_trials_of_dropped_cells_are_expected(cli: Cli, ran: str) -> None:
    cli("set", ran, "parameters.a.values=[1]")
    assert "3 of 3 ended" in cli("show", ran).out
    assert json.loads(cli("ls", "--json").out)[0]["expected_trial_count"] == 3


def test_known_value_is_reported(cli: Cli, ran: str) -> None:
    cli("set", ran, "run_cap=9")
    assert "nothing changed: revision 2 has these values already" in cli("set", ran, "run_cap=9").err


def test_invalid_change_is_an_error_without_a_traceback(cli: Cli, ran: str) -> None:
    for text, problem in (
        ("run_cap=x", "run_cap: expected"),
        ("run_cap", "write KEY=VALUE"),
        ("metric.name=x", "metric"),
    ):
        done = cli("set", ran, text)
        assert done.code != 0
        assert problem in done.err
        assert "Traceback" not in done.err
    assert len(json.loads(cli("show", ran, "--json").out)["revisions"]) == 1


def test_secret_in_a_change_is_refused(cli: Cli, ran: str) -> None:
    key = "AKIA" + "IOSFODNN7EXAMPLF"
    done = cli("set", ran, f"parameters.key.values=[{key}]")
    assert done.code != 0
    assert key not in done.err
    assert len(json.loads(cli("show", ran, "--json").out)["revisions"]) == 1


def test_parallel_without_an_agent_prints_how_to_start_one(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(WAITING)
    (folder / "sweep.yaml").write_text(RANDOM)
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    assert f"start one with: smsweep agent {sweep_id} --parallel 3" in cli("set", sweep_id, "parallel=3").err
    assert "start one" not in cli("set", sweep_id, "run_cap=3").err


def test_two_running_agents_apply_a_raised_run_cap(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train.py").write_text(WAITING)
    (folder / "sweep.yaml").write_text(RANDOM)
    (folder / "wait").touch()
    monkeypatch.setenv("WAIT", str(folder / "wait"))
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    argv = [sys.executable, "-m", "smsweep", "agent", sweep_id]
    agents = [subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL) for _ in range(2)]
    try:
        wait_for_running(cli, sweep_id, 2)
        assert cli("set", sweep_id, "run_cap=5", "budget.trials=5", "parallel=3").code == 0
        wait_for_running(cli, sweep_id, 5)
    finally:
        (folder / "wait").unlink()
        codes = [agent.wait(ENOUGH_S) for agent in agents]
    assert codes == [0, 0]
    shown = json.loads(cli("show", sweep_id, "--json").out)
    assert (shown["state"], shown["trials"]) == ("finished", {"finished": 5})


def test_agent_without_work_reports_the_agent_that_runs_the_last_trial(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train.py").write_text(WAITING)
    (folder / "sweep.yaml").write_text(RANDOM.replace("run_cap: 2", "run_cap: 1"))
    (folder / "wait").touch()
    monkeypatch.setenv("WAIT", str(folder / "wait"))
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    argv = [sys.executable, "-m", "smsweep", "agent", sweep_id]
    with subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
        try:
            wait_for_running(cli, sweep_id, 1)
            second = cli("agent", sweep_id)
        finally:
            (folder / "wait").unlink()
        assert agent.wait(ENOUGH_S) == 0
    assert second.code == 0
    assert f"1 other agent continues the sweep; watch with: smsweep show {sweep_id}" in second.err
    assert "continue with" not in second.err
    assert "no trial to run" not in second.err


def wait_for_running(cli: Cli, sweep_id: str, n: int) -> None:
    deadline = time.monotonic() + ENOUGH_S
    while (counts := json.loads(cli("show", sweep_id, "--json").out)["trials"]) != {"running": n}:
        assert time.monotonic() < deadline, counts
        time.sleep(0.2)
