"""Sweeps on W&B's server, which W&B's own agent runs in our jobs. The server is emulated."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.json_documents import TrialDocument
from smsweep.core.trial import TrialState
from smsweep.errors import NotFound
from smsweep.runtime.script.records import WANDB_AGENT
from smsweep.services.agents import run_agent
from smsweep.services.views import json_views
from smsweep.services.wandb import hosted
from tests.support.wandb_server import FakeWandb, fake_wandb
from tests.unit.runtime.jobs import Job, finish, is_running, wait_for
from tools.environments import oracle

pytestmark = pytest.mark.oracle
old_and_new = pytest.mark.parametrize("place", ["wandb", "wandb-0.16"], indirect=True)

SWEEP = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"values": [0.5, 0.25]}, "opt": {"values": ["sgd"]}},
}
SCRIPT = """
import os, sys, wandb
run = wandb.init(config={"lr": 1.0, "epochs": 2})
print("config", dict(run.config), run.sweep_id)
for epoch in range(run.config.epochs):
    run.log({"loss": run.config.lr / (epoch + 1)})
run.finish()
if os.environ.get("FAIL_AT") == str(run.config.lr):
    raise ValueError("no luck")
"""
WAITS = """
import os, pathlib, signal, sys, time, wandb
def save(*_):
    print("saved", flush=True)
    os._exit(7)
signal.signal(signal.SIGTERM, save)
wandb.init().log({"loss": 1})
pathlib.Path("draft").write_text(str(os.getpid()))
os.rename("draft", "pid")
time.sleep(60)
"""


@pytest.fixture
def server() -> Iterator[FakeWandb]:
    with fake_wandb(sweep=SWEEP) as served:
        yield served


@pytest.fixture
def place(
    request: pytest.FixtureRequest, server: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The path of the sweep. The program is in the working directory, and `python` has the parametrized wandb."""
    for name in [name for name in os.environ if name.startswith(("SMSWEEP_", "WANDB_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    version = getattr(request, "param", "wandb")
    path = f"{oracle(version).python.parent}{os.pathsep}{os.environ['PATH']}"
    (tmp_path / "job.yaml").write_text(f"environment:\n  PATH: {path}\n")
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return f"team/digits/{server.sweep_id}"


def run(place: str, **options: Any) -> tuple[list[TrialDocument], dict[TrialState, int]]:
    sweep_id = hosted.attach(place, job="job.yaml")
    outcome = run_agent.agent(sweep_id, **options)
    return json_views.list_trials(sweep_id), outcome.ended


@old_and_new
def test_each_trial_is_job_with_wandb_agent_for_one_run(place: str, server: FakeWandb) -> None:
    trials, ended = run(place, parallel=2)
    assert ended == {TrialState.FINISHED: 2}
    found = sorted((trial["params"]["lr"], trial["params"]["opt"], trial["objective"]) for trial in trials)
    assert found == [(0.25, "sgd", 0.125), (0.5, "sgd", 0.25)]
    assert [trial["metrics"] for trial in trials] == [{"loss": trial["params"]["lr"] / 2} for trial in trials]
    urls = [trial["usage"]["wandb_url"] for trial in sorted(trials, key=lambda trial: -trial["params"]["lr"])]
    assert urls == [f"{server.url}/team/digits/runs/run0", f"{server.url}/team/digits/runs/run1"]
    registered = [variables for name, variables in server.calls if name == "CreateAgent"]
    assert [agent["sweep"] for agent in registered] == [server.sweep_id] * 2
    assert {run_id: len(run.history) for run_id, run in server.runs.items()} == {"run0": 2, "run1": 2}


@old_and_new
def test_failed_run_is_failed_trial_although_wandb_agent_exits_0(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", "0.5")
    trials, ended = run(place)
    assert ended == {TrialState.FINISHED: 1, TrialState.FAILED: 1}
    assert next(trial for trial in trials if trial["params"]["lr"] == 0.5)["state"] == "failed"


def test_sweep_ends_when_wandb_has_no_run_left(place: str, server: FakeWandb) -> None:
    server.sweep = {**SWEEP, "method": "random", "parameters": {"lr": {"values": [0.5]}}}  # of unknown length
    trials, ended = run(place)
    assert ended == {TrialState.FINISHED: 2}
    assert [(trial["params"], trial["objective"]) for trial in trials] == [({"lr": 0.5}, 0.25), ({}, None)]
    assert json_views.show(server.sweep_id)["state"] == "finished"


def test_run_stopped_by_wandb_is_finished_trial(place: str, server: FakeWandb, tmp_path: Path) -> None:
    server.sweep = {**SWEEP, "parameters": {"lr": {"values": [0.5]}}}
    server.stops.add("run0")
    (tmp_path / "train.py").write_text(
        "import time, wandb\nrun = wandb.init()\nrun.log({'loss': 1})\ntime.sleep(60)"
    )
    trials, ended = run(place)
    assert (ended, trials[0]["objective"]) == ({TrialState.FINISHED: 1}, 1)


def test_unknown_wandb_sweep_is_error(place: str, server: FakeWandb) -> None:
    server.sweep = {}
    with pytest.raises(NotFound, match="has no sweep team/digits/hosted01"):
        hosted.attach(place)


def test_stop_reaches_script_and_ends_all_processes(server: FakeWandb, tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.environ |= {"PATH": f"{oracle('wandb').python.parent}:{job.environ['PATH']}", **server.environ}
    command = ["python", "-m", WANDB_AGENT, f"team/digits/{server.sweep_id}"]
    job.trial({"train.py": WAITS}, command=command)
    process = job.start()
    try:
        wait_for((job.ml / "code" / "pid").exists, timeout_s=60)
        process.terminate()
    finally:
        done = finish(process, timeout_s=60)
    assert "saved" in done.out
    assert (done.code, is_running(int((job.ml / "code" / "pid").read_text()))) == (7, False)


def test_command_runs_wandb_sweep(place: str, server: FakeWandb, tmp_path: Path) -> None:
    agent = [
        sys.executable,
        "-m",
        "smsweep.cli.main",
        "agent",
        f"https://wandb.ai/{place.replace('/hosted01', '/sweeps/hosted01')}?nw=nwuserme",  # as users copy it
        "--controller",
        "wandb",
        "--job",
        "job.yaml",
    ]
    done = subprocess.run(agent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"sweep {server.sweep_id} is finished: 2 finished" in done.stderr
    assert "0.25" in done.stderr


def test_job_without_wandb_gives_trial_reason(place: str, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    (tmp_path / "job.yaml").write_text(f"environment:\n  PATH: {path}\n")
    trials, _ = run(place, count=1)
    assert "No module named 'wandb'; install wandb for " in trials[0]["reason"]
