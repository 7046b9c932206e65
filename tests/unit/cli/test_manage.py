"""`smsweep retry`, `logs --attempt` and `sweep --cancel` on real jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.sweep import SweepState
from smsweep.core.trial import TrialState
from smsweep.services.workspace import Workspace
from tests.unit.cli.conftest import SWEEP, Cli

TRAIN = """
import os, pathlib, smsweep
run = smsweep.init()
print("attempt", os.environ["TRAINING_JOB_NAME"].rpartition("-")[2])
if not pathlib.Path("FOLDER/works").exists() and run.config.a == 2:
    raise ValueError("two is too much")
smsweep.log({"loss": run.config.a})
"""
SLOW = """
import os, pathlib, signal, smsweep, time

def save(number, frame):
    print("SIGTERM", flush=True)
    if run.config.a == 1:
        pathlib.Path("FOLDER/saved").write_text("checkpoint")
        raise SystemExit(1)

run = smsweep.init()
signal.signal(signal.SIGTERM, save)
pathlib.Path("FOLDER/started").touch()
while True:
    time.sleep(0.02)
"""


@pytest.fixture
def failed(cli: Cli, folder: Path) -> str:
    """A finished sweep whose trial 1 failed, and which succeeds after `works` is created."""
    (folder / "train.py").write_text(TRAIN.replace("FOLDER", str(folder)))
    sweep_id = cli("run", "sweep.yaml", "--parallel", "3").out.strip()
    (folder / "works").touch()
    return sweep_id


def test_retry_run_ends_the_trials_of_a_finished_sweep_in_one_command(cli: Cli, failed: str) -> None:
    ended = cli("retry", f"{failed}/1", "--run")
    assert (ended.code, ended.out) == (0, f"{failed}/1\n")
    shown = json.loads(cli("show", failed, "--json").out)
    assert (shown["state"], shown["trials"]) == ("finished", {"finished": 3})
    assert cli("logs", f"{failed}/1").out == "attempt 1\n"
    assert cli("logs", f"{failed}/1", "--attempt", "1").out == "attempt 1\n"
    earlier = cli("logs", f"{failed}/1", "--attempt", "0").out.splitlines()
    assert (earlier[0], earlier[-1]) == ("attempt 0", "ValueError: two is too much")
    missing = cli("logs", f"{failed}/1", "--attempt", "2")
    assert (missing.code, "there are logs of the attempts 0, 1" in missing.err) == (2, True)
    assert "attempts" in cli("trials", failed).out.splitlines()[0]
    assert "1, of 2" in cli("show", f"{failed}/1").out


def test_retried_trial_of_a_finished_sweep_names_the_command_that_runs_it(cli: Cli, failed: str) -> None:
    queued = cli("retry", f"{failed}/1")
    command = f"smsweep retry --run {failed}/1"
    assert queued.err.splitlines()[-1] == f"run it with: {command}"
    assert cli("logs", f"{failed}/1").out.startswith("attempt 0\n")  # the last attempt that has a job
    assert cli(*command.split()[1:]).code == 0
    assert json.loads(cli("show", failed, "--json").out)["trials"] == {"finished": 3}


def test_retry_run_adds_no_trial_to_a_stopped_sweep(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN.replace("FOLDER", str(folder)))
    (folder / "sweep.yaml").write_text(SWEEP.replace("[1, 2, 4]", "[2, 1, 4]"))
    sweep_id = cli("run", "sweep.yaml", "--count", "1").out.strip()
    cli("sweep", "--stop", sweep_id)
    assert cli("retry", sweep_id, "--failed", "--run").code == 3  # it fails again
    (folder / "works").touch()
    assert cli("retry", sweep_id, "--failed", "--run").code == 0
    shown = json.loads(cli("show", sweep_id, "--json").out)
    assert (shown["state"], shown["trials"]) == ("stopped", {"finished": 1})


def test_retry_run_of_a_function_sweep_queues_nothing(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.replace("program: train.py", ""))
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    with Workspace().store() as store:
        store.add_trials(sweep_id, 0, [{"a": 1}])
        trial = store.claim(sweep_id, "agent", "inline", 60)
        assert trial is not None
        store.move(sweep_id, 0, [trial.state], "failed")  # type: ignore[arg-type]
    refused = cli("retry", f"{sweep_id}/0", "--run")
    assert (refused.code, "Python function" in refused.err) == (2, True)
    assert json.loads(cli("show", sweep_id, "--json").out)["trials"] == {"failed": 1}


@contextmanager
def slow_agent(cli: Cli, folder: Path, a: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """An agent of a sweep whose only trial runs until it is stopped. With a=1, it saves a checkpoint and exits."""
    (folder / "train.py").write_text(SLOW.replace("FOLDER", str(folder)))
    (folder / "sweep.yaml").write_text(SWEEP.replace("[1, 2, 4]", f"[{a}]"))
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    argv = [sys.executable, "-m", "smsweep", "agent", sweep_id, "-q"]
    with subprocess.Popen(argv, text=True, stderr=subprocess.PIPE) as agent:
        try:
            wait_for(lambda: (folder / "started").exists())
            yield sweep_id, agent
        finally:
            agent.kill()


def wait_for(is_met: object) -> None:
    deadline = time.monotonic() + 30
    while not is_met():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def states(cli: Cli, sweep_id: str) -> list[str]:
    return [trial["state"] for trial in json.loads(cli("trials", sweep_id, "--json").out)]


@pytest.mark.timeout(60)
def test_cancelled_trial_can_save_a_checkpoint(cli: Cli, folder: Path) -> None:
    with slow_agent(cli, folder, 1) as (sweep_id, agent):
        cancelled = cli("sweep", "--cancel", sweep_id)
        assert "1 running trial: SIGTERM now, SIGKILL after the grace period" in cancelled.err
        assert agent.wait(timeout=30) == 0
    assert (folder / "saved").read_text() == "checkpoint"
    assert states(cli, sweep_id) == ["killed"]


@pytest.mark.timeout(60)
def test_second_cancel_kills_at_once(cli: Cli, folder: Path) -> None:
    with slow_agent(cli, folder, 2) as (sweep_id, agent):
        cli("sweep", "--cancel", sweep_id)
        wait_for(lambda: "SIGTERM" in cli("logs", f"{sweep_id}/0").out)
        assert states(cli, sweep_id) == ["stopping"]
        assert "1 running trial: SIGKILL now" in cli("sweep", "--cancel", sweep_id).err
        assert agent.wait(timeout=30) == 0
    assert states(cli, sweep_id) == ["killed"]


@pytest.mark.timeout(60)
def test_cancel_stops_the_jobs_of_a_lost_agent(cli: Cli, folder: Path) -> None:
    with slow_agent(cli, folder, 1) as (sweep_id, agent):
        os.kill(agent.pid, signal.SIGKILL)
        agent.wait()
    assert "1 running trial has no agent" in cli("sweep", "--cancel", sweep_id).err
    wait_for(lambda: states(cli, sweep_id) == ["killed"])
    assert (folder / "saved").read_text() == "checkpoint"


PLACED = """
import os, smsweep
run = smsweep.init()
print("ran", os.environ.get("WHERE"))
if os.environ.get("FAILS"):
    raise ValueError("not now")
smsweep.log({"loss": run.config.a})
"""


def test_retry_run_uses_the_places_of_job_yaml(cli: Cli, folder: Path) -> None:
    """Trials of a place run at any of them, not at the backend of the first."""
    places = [
        {"backend": "process", "name": "near", "environment": {"WHERE": "near"}},
        {"backend": "process", "name": "far", "slots": 2, "environment": {"WHERE": "far"}},
    ]
    (folder / "train.py").write_text(PLACED)
    (folder / "job.yaml").write_text(json.dumps({"places": places}))
    # The agent's environment reaches its processes.
    sweep_id = run_with({"FAILS": "1"}, cli, "run", "sweep.yaml", "--job", "job.yaml", code=3)
    assert cli("retry", sweep_id, "--failed", "--run").code == 0
    assert states_of(cli, sweep_id) == {"finished"}
    assert {trial["place_name"] for trial in trials_of(cli, sweep_id)} == {"near", "far"}


def test_retry_run_uses_the_places_of_the_command_line(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(PLACED)
    sweep_id = run_with({"FAILS": "1"}, cli, "run", "sweep.yaml", "--on", "local:2", code=3)
    assert cli("retry", f"{sweep_id}/0", "--run").code == 0
    (first, *others) = trials_of(cli, sweep_id)
    assert (first["state"], first["place_name"]) == ("finished", "local")
    assert {trial["state"] for trial in others} == {"failed"}


def test_retry_run_on_other_places(cli: Cli, failed: str, folder: Path) -> None:
    (folder / "works").touch()
    assert cli("retry", failed, "--failed", "--run", "--on", "local:2").code == 0
    assert {trial["place_name"] for trial in trials_of(cli, failed)} == {"", "local"}


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--on", "moon"], "--on moon: there is no backend moon"),
        (["--on", "local", "--backend", "process"], "cannot be combined"),
    ],
)
def test_retry_run_at_an_invalid_place_queues_nothing(
    cli: Cli, failed: str, flags: list[str], problem: str
) -> None:
    refused = cli("retry", failed, "--failed", "--run", *flags)
    assert refused.code == 2
    assert problem in refused.err
    assert "failed" in states_of(cli, failed)


def test_retry_runs_a_trial_whose_place_is_gone_elsewhere(cli: Cli, failed: str, folder: Path) -> None:
    """The trial has checkpoints on another machine, which this machine cannot read."""
    (folder / "works").touch()
    gone = "process@scrapped"
    with Workspace().store() as store:
        store.move(failed, 1, [TrialState.FAILED], TrialState.PENDING)
        store.set_sweep_state(failed, [SweepState.FINISHED], SweepState.RUNNING)
        store.claim(failed, "a", gone, 60.0)
        store.move(failed, 1, [TrialState.RUNNING], TrialState.PENDING, keeps_place=True)
    label = f"{failed}/1"
    waits = cli("agent", failed)
    assert f"continue only at {gone}, where their checkpoints are" in " ".join(waits.err.split())
    explained = cli("why", label).out
    assert f"waits for an agent at {gone}" in explained
    assert f"smsweep retry {label}" in explained
    retried = cli("retry", label)
    assert retried.out.strip() == label
    assert f"without waiting for its checkpoints at {gone}" in cli("why", label).out
    assert cli("retry", label).code == 2  # it does not wait for a place any more
    assert cli("agent", failed).code == 0
    assert states_of(cli, failed) == {"finished"}


def run_with(environ: dict[str, str], cli: Cli, *command: str, code: int = 0) -> str:
    """Run a command with more environment variables, and return the id that it prints."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        ended = cli(*command)
    assert ended.code == code, ended.err
    return ended.out.strip()


def trials_of(cli: Cli, sweep_id: str) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = json.loads(cli("trials", sweep_id, "--json").out)
    return sorted(trials, key=lambda trial: trial["number"])


def states_of(cli: Cli, sweep_id: str) -> set[str]:
    return {trial["state"] for trial in trials_of(cli, sweep_id)}
