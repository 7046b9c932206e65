"""Recovery of a lost store: sweeps are rebuilt from the folders of their jobs."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_kill import dying
from tests.support.working_dir import WorkingDir, grid

TRAIN = """
import os, sys, smsweep
run = smsweep.init()
x, here = run.config["x"], run.config["here"]
with open(os.path.join(here, "started"), "a") as file:
    print(x, file=file)
for step in range(3):
    smsweep.log({"loss": x - step})
if x == 2 and not os.path.exists(os.path.join(here, "may")):
    sys.exit("not yet")
"""


@pytest.fixture
def workdir(tmp_path: Path) -> WorkingDir:
    """A working directory with a sweep that has run three of its four trials, the second trial twice."""
    return WorkingDir(tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2, 3, 4], here=str(tmp_path))})


@pytest.fixture
def lost(workdir: WorkingDir) -> tuple[str, list[dict[str, Any]]]:
    """Return the id of a sweep whose store was removed, and its former trials."""
    sweep_id = workdir.sweep("--project", "digits")
    workdir.call("agent", sweep_id, "--count", "3")
    (workdir.folder / "may").touch()
    workdir.call("retry", f"{sweep_id}/1")
    workdir.call("agent", sweep_id, "--count", "1")
    before = workdir.trials(sweep_id)
    for file in (workdir.folder / ".smsweep").glob("store.db*"):
        file.unlink()
    return sweep_id, before


def summaries(trials: list[dict[str, Any]]) -> list[Any]:
    return [[trial[key] for key in ("number", "params", "state", "attempt", "metrics")] for trial in trials]


def check(workdir: WorkingDir, sweep_id: str, before: list[dict[str, Any]]) -> None:
    workdir.call("agent", sweep_id, "--parallel", "2")
    after = workdir.trials(sweep_id)
    assert summaries(after[:3]) == summaries(before)
    assert (after[3]["params"]["x"], after[3]["state"]) == (4, "finished")
    assert (workdir.folder / "started").read_text().split() == ["1", "2", "3", "2", "4"]
    shown = workdir.json("show", sweep_id)
    assert (shown["state"], shown["project"], len(after)) == ("finished", "digits", 4)


def test_recover_rebuilds_lost_store_and_no_trial_runs_twice(
    workdir: WorkingDir, lost: tuple[str, list[dict[str, Any]]]
) -> None:
    sweep_id, before = lost
    output = workdir.call("recover", sweep_id, "sweep.yaml")
    assert output.stdout.strip() == sweep_id
    assert "found the jobs of 3 trials" in output.stderr
    check(workdir, sweep_id, before)
    assert "is already in this store" in workdir.call("recover", sweep_id, "sweep.yaml", code=2).stderr


def test_recover_continues_after_repeated_kills(
    workdir: WorkingDir, lost: tuple[str, list[dict[str, Any]]]
) -> None:
    sweep_id, before = lost
    for when, call, n in (
        ("after", "store.create_sweep", 1),
        ("after", "store.add_trials", 1),
        ("after", "store.claim", 3),  # the first call only checks for abandoned trials
        ("after", "store.move", 1),
        ("before", "store.release", 1),
    ):
        workdir.call("recover", sweep_id, "sweep.yaml", command=dying(when, call, n), code=-signal.SIGKILL)
    workdir.call("recover", sweep_id, "sweep.yaml")
    check(workdir, sweep_id, before)


def test_params_of_trial_without_job_are_available_again(
    workdir: WorkingDir, lost: tuple[str, list[dict[str, Any]]]
) -> None:
    sweep_id, before = lost
    gone = workdir.folder / ".smsweep" / "jobs" / f"smsweep-{sweep_id}-0-0"
    gone.rename(workdir.folder / "elsewhere")
    assert "lost without a job: 1 trial" in workdir.call("recover", sweep_id, "sweep.yaml").stderr
    workdir.call("agent", sweep_id)
    after = workdir.trials(sweep_id)
    assert summaries(after[:2]) == summaries(before[1:])
    assert {trial["params"]["x"]: trial["number"] for trial in after} == {2: 1, 3: 2, 1: 3, 4: 4}


def test_recover_refuses_invalid_sweep_folder(workdir: WorkingDir, lost: tuple[str, list[dict[str, Any]]]) -> None:
    sweep_id, _ = lost
    (workdir.folder / "other.yaml").write_text(
        "program: train.py\nmethod: random\nparameters: {lr: {max: 1.0, min: 0.1}}\n"
    )
    assert "has no lr; give the config" in workdir.call("recover", sweep_id, "other.yaml", code=2).stderr
    assert (
        "name the backend that ran it"
        in workdir.call("recover", sweep_id, "sweep.yaml", "--backend", "docker", code=2).stderr
    )
    assert "no job of sweep nowhere1" in workdir.call("recover", "nowhere1", "sweep.yaml", code=2).stderr
    assert not (workdir.folder / ".smsweep" / "store.db").exists()


CONDITIONAL = """
import smsweep
config = smsweep.init().config
smsweep.log({"loss": config.get("momentum", 2.0)})
"""


def test_recover_rebuilds_trials_without_conditional_parameters(tmp_path: Path) -> None:
    parameters = {"optimizer": {"values": ["adam", "sgd"]}, "momentum": {"values": [0.5, 0.9]}}
    sweep = {"program": "train.py", "method": "bayes", "metric": {"name": "loss"}, "parameters": parameters}
    job = {"search": {"conditions": {"momentum": {"when": {"optimizer": "sgd"}}}}}
    files = {"train.py": CONDITIONAL, "sweep.yaml": json.dumps(sweep), "job.yaml": json.dumps(job)}
    workdir = WorkingDir(tmp_path, files)
    sweep_id = workdir.sweep("--job", "job.yaml")
    workdir.call("agent", sweep_id)
    before = workdir.trials(sweep_id)
    assert sorted(str(trial["params"].get("momentum")) for trial in before) == ["0.5", "0.9", "None"]
    for file in (workdir.folder / ".smsweep").glob("store.db*"):
        file.unlink()
    workdir.call("recover", sweep_id, "sweep.yaml", "--job", "job.yaml")
    workdir.call("agent", sweep_id)
    assert summaries(workdir.trials(sweep_id)) == summaries(before)
