"""Detached agents on this machine, and the commands that control them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smsweep.errors import SmsweepError
from smsweep.services.agents import detach
from tests.support.postgres import run_postgres
from tests.support.working_dir import WorkingDir, grid

TRAIN = """
import os, time, smsweep
run = smsweep.init()
print("x is", run.config.x, flush=True)
while os.path.exists(os.path.join(run.config.here, "wait")):
    time.sleep(0.02)
smsweep.log({"loss": run.config.x})
"""


@pytest.fixture
def workdir(tmp_path: Path) -> WorkingDir:
    (tmp_path / "wait").touch()
    return WorkingDir(tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2, 3, 4], here=str(tmp_path))})


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def state(workdir: WorkingDir, sweep_id: str) -> str:
    return str(workdir.json("show", sweep_id)["state"])


def test_detached_sweep_continues_after_command_returns(workdir: WorkingDir) -> None:
    begun = workdir.call("run", "sweep.yaml", "--detach", "--parallel", "2")
    sweep_id = begun.stdout.strip()
    assert "runs in the background" in begun.stderr
    until(lambda: "x is 1" in workdir.call("logs", f"{sweep_id}/0").stdout)
    (workdir.folder / "wait").unlink()
    until(lambda: state(workdir, sweep_id) == "finished")
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["finished"] * 4
    assert "is finished: 4 finished" in (workdir.folder / ".smsweep" / "agents" / sweep_id / "0.log").read_text()


def test_stop_reaches_detached_agent_in_separate_session(workdir: WorkingDir) -> None:
    left = workdir.json("run", "sweep.yaml", "--detach")
    sweep_id, pid = left["id"], left["detached"]["pid"]
    assert left["state"] == "running"
    assert Path(left["detached"]["log"]).exists()
    assert os.getsid(pid) == pid
    workdir.call("sweep", "--stop", sweep_id)
    (workdir.folder / "wait").unlink()
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["finished"]


def test_detached_agent_releases_trial_at_sigterm(workdir: WorkingDir) -> None:
    sweep_id = workdir.sweep()
    pid = int(workdir.call("agent", sweep_id, "--detach").stderr.split()[1])
    until(lambda: [trial["state"] for trial in workdir.trials(sweep_id)] == ["running"])
    os.kill(pid, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["pending"]


def test_no_agent_is_detached_for_finished_sweep(workdir: WorkingDir) -> None:
    (workdir.folder / "wait").unlink()
    sweep_id = workdir.run("--parallel", "4")
    for flags in (["--detach"], ["--detach=s3"]):
        assert "--resume" in workdir.call("agent", sweep_id, *flags, code=2).stderr


def test_detached_agent_reports_error_when_it_exits_at_start(
    workdir: WorkingDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_id = workdir.sweep()
    assert (
        "no backend 'nowhere'"
        in workdir.call("agent", sweep_id, "--detach", "--backend", "nowhere", code=2).stderr
    )
    monkeypatch.setattr(detach, "PATIENCE_S", 60.0)  # also on a busy machine
    monkeypatch.setenv("SMSWEEP_DIR", str(workdir.folder / ".smsweep"))
    with pytest.raises(SmsweepError, match=r"the agent exited at once with code 2(.|\n)*no backend 'nowhere'"):
        detach.detach(sweep_id, ["--backend=nowhere"])


def test_several_detached_agents_survive_database_restart(workdir: WorkingDir) -> None:
    with run_postgres() as postgres:
        workdir.environ["SMSWEEP_STORE"] = postgres.new_schema()
        sweep_id = workdir.call("run", "sweep.yaml", "--detach").stdout.strip()
        pids = [int(workdir.call("agent", sweep_id, "--detach").stderr.split()[1]) for _ in range(2)]
        until(lambda: workdir.json("show", sweep_id)["trials"] == {"running": 3})
        postgres.restart()
        (workdir.folder / "wait").unlink()
        until(lambda: state(workdir, sweep_id) == "finished")
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        trials = workdir.trials(sweep_id)
        assert [(trial["params"]["x"], trial["state"], trial["attempt"]) for trial in trials] == [
            (x, "finished", 0) for x in (1, 2, 3, 4)
        ]
        logs = sorted((workdir.folder / ".smsweep" / "agents" / sweep_id).glob("*.log"))
        assert len(logs) == 3
        assert not (workdir.folder / ".smsweep" / "store.db").exists()
