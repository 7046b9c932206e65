"""Detached agents on this machine, and the commands that control them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.desk import WorkingDir, grid
from tests.support.postgres import run_postgres

TRAIN = """
import os, time, smsweep
run = smsweep.init()
print("x is", run.config.x, flush=True)
while os.path.exists(os.path.join(run.config.here, "wait")):
    time.sleep(0.02)
smsweep.log({"loss": run.config.x})
"""


@pytest.fixture
def desk(tmp_path: Path) -> WorkingDir:
    (tmp_path / "wait").touch()
    return WorkingDir(tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2, 3, 4], here=str(tmp_path))})


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def state(desk: WorkingDir, sweep_id: str) -> str:
    return str(desk.json("show", sweep_id)["state"])


def test_detached_sweep_continues_after_command_returns(desk: WorkingDir) -> None:
    begun = desk.call("run", "sweep.yaml", "--detach", "--parallel", "2")
    sweep_id = begun.stdout.strip()
    assert "runs in the background" in begun.stderr
    until(lambda: "x is 1" in desk.call("logs", f"{sweep_id}/0").stdout)
    (desk.folder / "wait").unlink()
    until(lambda: state(desk, sweep_id) == "finished")
    assert [trial["state"] for trial in desk.trials(sweep_id)] == ["finished"] * 4
    assert "is finished: 4 finished" in (desk.folder / ".smsweep" / "agents" / sweep_id / "0.log").read_text()


def test_stop_reaches_detached_agent_in_separate_session(desk: WorkingDir) -> None:
    left = desk.json("run", "sweep.yaml", "--detach")
    sweep_id, pid = left["id"], left["detached"]["pid"]
    assert left["state"] == "running"
    assert Path(left["detached"]["log"]).exists()
    assert os.getsid(pid) == pid
    desk.call("sweep", "--stop", sweep_id)
    (desk.folder / "wait").unlink()
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert [trial["state"] for trial in desk.trials(sweep_id)] == ["finished"]


def test_detached_agent_releases_trial_at_sigterm(desk: WorkingDir) -> None:
    sweep_id = desk.sweep()
    pid = int(desk.call("agent", sweep_id, "--detach").stderr.split()[1])
    until(lambda: [trial["state"] for trial in desk.trials(sweep_id)] == ["running"])
    os.kill(pid, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert [trial["state"] for trial in desk.trials(sweep_id)] == ["pending"]


def test_no_agent_is_detached_for_finished_sweep(desk: WorkingDir) -> None:
    (desk.folder / "wait").unlink()
    sweep_id = desk.run("--parallel", "4")
    for flags in (["--detach"], ["--detach=s3"]):
        assert "--resume" in desk.call("agent", sweep_id, *flags, code=2).stderr


def test_detached_agent_reports_error_when_it_exits_at_start(desk: WorkingDir) -> None:
    sweep_id = desk.sweep()
    failed = desk.call("agent", sweep_id, "--detach", "--backend", "nowhere", code=1)
    assert "no backend 'nowhere'" in failed.stderr


def test_several_detached_agents_survive_database_restart(desk: WorkingDir) -> None:
    with run_postgres() as postgres:
        desk.environ["SMSWEEP_STORE"] = postgres.new_schema()
        sweep_id = desk.call("run", "sweep.yaml", "--detach").stdout.strip()
        pids = [int(desk.call("agent", sweep_id, "--detach").stderr.split()[1]) for _ in range(2)]
        until(lambda: desk.json("show", sweep_id)["trials"] == {"running": 3})
        postgres.restart()
        (desk.folder / "wait").unlink()
        until(lambda: state(desk, sweep_id) == "finished")
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        trials = desk.trials(sweep_id)
        assert [(trial["params"]["x"], trial["state"], trial["attempt"]) for trial in trials] == [
            (x, "finished", 0) for x in (1, 2, 3, 4)
        ]
        logs = sorted((desk.folder / ".smsweep" / "agents" / sweep_id).glob("*.log"))
        assert len(logs) == 3
        assert not (desk.folder / ".smsweep" / "store.db").exists()
