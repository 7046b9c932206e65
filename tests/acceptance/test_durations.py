"""Durations of trials are correct after clock changes, and when an end is read late."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

import smsweep
from smsweep.backends.base import Backend
from smsweep.core.job import JobStatus
from smsweep.core.trial import Trial, TrialState
from smsweep.services.workspace import Workspace
from tests.support.jobs import Jobs
from tests.support.working_dir import WorkingDir, grid, use_own_workspace
from tools.docker_engine import IMAGE

SHORT = """
import smsweep, time
smsweep.init()
smsweep.log({"loss": 1})
time.sleep(2)
"""
DAY_S = 86_400


def lasted_s(trial: Trial | JobStatus) -> float:
    assert trial.started_at is not None
    assert trial.ended_at is not None
    return (trial.ended_at - trial.started_at).total_seconds()


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
        return Jobs(folder=tmp_path, kind="docker", image=IMAGE)
    return Jobs(folder=tmp_path, kind="process")


def with_clock(jobs: Jobs, clock: Callable[[], float]) -> Backend:
    return jobs.another(clock)


@pytest.mark.parametrize("jump_s", [400 * DAY_S, -2 * DAY_S, -3650 * DAY_S])
def test_clock_jump_does_not_end_job_early_or_change_duration(jobs: Jobs, jump_s: float) -> None:
    offset_s = 0.0
    with closing(jobs), closing(with_clock(jobs, lambda: time.time() + offset_s)) as backend:
        jobs.backend = backend
        name = jobs.start("jump", "import time; print('ready', flush=True); time.sleep(3)", max_run_s=60)
        jobs.until_says(name, "ready")
        offset_s = jump_s
        status = jobs.finish(name).status
    assert status.status == "Completed"
    assert 2.5 < lasted_s(status) < 30


@pytest.mark.parametrize("jump_s", [400 * DAY_S, -2 * DAY_S])
def test_clock_jump_does_not_change_time_of_kill(jobs: Jobs, jump_s: float) -> None:
    script = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
print("ready", flush=True)
while True:
    time.sleep(60)
"""
    offset_s = 0.0
    with closing(jobs), closing(with_clock(jobs, lambda: time.time() + offset_s)) as backend:
        jobs.backend = backend
        name = jobs.start("patience", script)
        jobs.until_says(name, "ready")
        started = time.monotonic()
        backend.stop(name, grace_s=3)
        jobs.until_says(name, "told")
        offset_s = jump_s
        assert jobs.finish(name).status.status == "Stopped"
    assert 2.5 < time.monotonic() - started < 60


@pytest.mark.parametrize("jump_s", [400 * DAY_S, -2 * DAY_S])
def test_clock_jump_in_agent_does_not_change_trial_durations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    use_own_workspace(tmp_path, monkeypatch)
    (tmp_path / "train.py").write_text(SHORT)
    offset_s = 0.0

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # Self in the base
            return datetime.now(tz) + timedelta(seconds=offset_s)

    def jump(trial: Trial) -> None:
        nonlocal offset_s
        if trial.number == 1 and "loss" in trial.metrics:
            offset_s = jump_s

    monkeypatch.setattr("smsweep.store.open.datetime", Jumping)
    sweep_id = smsweep.sweep(grid(x=[1, 2, 3]), job={"max_run": 60})
    smsweep.agent(sweep_id, on_change=jump)
    assert offset_s == jump_s
    with Workspace().store() as store:
        trials = store.list_trials(sweep_id)
    assert [trial.state for trial in trials] == [TrialState.FINISHED] * 3
    assert all(1.5 < lasted_s(trial) < 30 for trial in trials), [lasted_s(trial) for trial in trials]
    assert all(1.5 < trial.usage["billable_s"] < 30 for trial in trials)


def test_job_of_older_version_uses_file_times(tmp_path: Path) -> None:
    with closing(Jobs(folder=tmp_path, kind="process")) as jobs:
        name = jobs.run("older", "").status.name
        folder = tmp_path / "jobs" / name
        (folder / "uptime").unlink()
        os.utime(folder / "pid", (1_700_000_000, 1_700_000_000))
        os.utime(folder / "exit_code", (1_700_000_007, 1_700_000_007))
        assert lasted_s(jobs.another().describe([name])[name]) == 7


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_duration_of_taken_over_trial_equals_script_duration(tmp_path: Path, way: str) -> None:
    workdir = WorkingDir(tmp_path, {"train.py": SHORT, "sweep.yaml": grid(x=1)})
    sweep_id = workdir.sweep()
    with workdir.start("agent", sweep_id) as first:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".smsweep/jobs/*/pid")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL if way == "killed" else signal.SIGSTOP)
        (job,) = tmp_path.glob(".smsweep/jobs/*")
        while not (job / "exit_code").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(8)
        if way == "stopped":
            first.send_signal(signal.SIGCONT)
            first.communicate(timeout=60)
    if way == "killed":
        workdir.call("agent", sweep_id)
    (trial,) = workdir.trials(sweep_id)
    start, end = (datetime.fromisoformat(trial[name]) for name in ("started_at", "ended_at"))
    assert trial["state"] == "finished"
    assert 1.5 < (end - start).total_seconds() < 9.5  # the pause ends after 10 s
