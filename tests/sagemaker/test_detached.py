"""Detached sweeps: the agent is a training job, and the user controls the sweep through S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.config_files.config_change import parse_change
from smsweep.core.json_documents import DetachedAgentDocument, SweepDocument
from smsweep.errors import ConfigError, UsageError
from smsweep.remote.record import read_records
from smsweep.remote.s3_store import remote_sweeps
from smsweep.services import aws_setup
from smsweep.services.agents import detach, run_agent
from smsweep.services.sweeps import control, create, prune, remove
from smsweep.services.sweeps.change import change
from smsweep.services.views import json_views
from smsweep.util.terminal_text import NOTE
from tests.sagemaker.conftest import AGENT_ROLE, Account
from tests.sagemaker.test_iam import actions, called

PATIENCE_S = 180
TRAIN = """
import os, time, smsweep
run = smsweep.init()
smsweep.log({"loss": run.config["x"] * 2})
print("x is", run.config["x"], flush=True)
while os.path.exists(run.config["wait"]):
    time.sleep(0.1)
"""


class Laptop:
    """A folder with detached sweeps, and the commands that the user runs in it."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.gate = account.folder / "wait"  # trials run while it exists
        (account.folder / "train.py").write_text(TRAIN)

    def config(self, n: int) -> dict[str, Any]:
        config = self.account.sweep(n)
        config["parameters"]["wait"] = {"value": str(self.gate)}
        return config

    def detach(self, n: int = 2, *, parallel: int = 1, **job: Any) -> str:
        sweep_id = create.sweep(self.config(n), job={**self.account.job, **job})
        detach.start_agent_job(sweep_id, {"parallel": parallel})
        return sweep_id

    def show(self, sweep_id: str) -> SweepDocument:
        return json_views.show(sweep_id)

    def states(self, sweep_id: str) -> list[str]:
        return [trial["state"] for trial in json_views.list_trials(sweep_id)]

    def agent(self, sweep_id: str) -> DetachedAgentDocument:
        agent = self.show(sweep_id)["agent"]
        assert agent is not None
        return agent

    def end(self, sweep_id: str) -> DetachedAgentDocument:
        """Wait until the sweep's agent has ended, and return its document."""
        until(lambda: self.agent(sweep_id)["status"] not in ("InProgress", "Stopping"))
        return self.agent(sweep_id)

    def check(self, sweep_id: str, n: int) -> None:
        """Check that each trial ran once, and none was lost."""
        trials = json_views.list_trials(sweep_id)
        assert [(trial["params"]["x"], trial["state"], trial["attempt"]) for trial in trials] == [
            (x, "finished", 0) for x in range(n)
        ]
        assert [trial["metrics"]["loss"] for trial in trials] == [2 * x for x in range(n)]
        created = {name: count for name, count in self.account.created().items() if "-agent-" not in name}
        assert created == {f"smsweep-{sweep_id}-{number}-0": 1 for number in range(n)}
        assert self.show(sweep_id)["state"] == "finished"

    def pids(self, sweep_id: str, word: str) -> list[int]:
        """Return the ids of the sweep's agent processes whose command line contains the word."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except (OSError, UnicodeDecodeError):
                continue
            if sweep_id in words and any(word in each for each in words):
                found.append(int(folder.name))
        return found


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(1)  # each poll reads the store from S3, which costs 0.3 s of CPU time


@pytest.fixture
def laptop(account: Account) -> Laptop:
    return Laptop(account)


def command(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "smsweep.cli.main", *args]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == code, f"{args} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


def test_detached_sweep_finishes_without_this_machine(laptop: Laptop) -> None:
    Path("sweep.yaml").write_text(json.dumps(laptop.config(3)))
    Path("job.yaml").write_text(
        json.dumps({**laptop.account.job, "agent": {"role": AGENT_ROLE, "price_per_hour": 3.6}})
    )
    run = command(
        "run", "sweep.yaml", "--job", "job.yaml", "--backend", "sagemaker", "--parallel", "2", "--detach"
    )
    sweep_id = run.stdout.strip()
    assert f"training job smsweep-{sweep_id}-agent-0 on ml.t3.medium, $3.6 an hour" in run.stderr
    agent = laptop.end(sweep_id)
    assert agent["status"] == "Completed"
    laptop.check(sweep_id, 3)
    assert agent["usd"] is not None and agent["hours"] is not None
    assert agent["usd"] == pytest.approx(agent["hours"] * 3.6, abs=1e-4)
    assert agent["usd"] > 0
    shown = command("show", sweep_id)
    assert f"smsweep-{sweep_id}-agent-0 is Completed" in shown.stdout
    assert "no agent is running" not in shown.stderr.replace("\n", " ")
    assert "x is 1" in command("logs", f"{sweep_id}/1").stdout
    assert f"sweep {sweep_id} is finished" in command("logs", sweep_id).stdout
    assert [sweep["id"] for sweep in json.loads(command("ls", "--json").stdout)] == [sweep_id]


def test_detached_agent_calls_the_function_that_was_sent(laptop: Laptop) -> None:
    factor = 2

    def train() -> None:
        smsweep.log({"loss": smsweep.init().config.x * factor})

    config = {"method": "grid", "parameters": {"x": {"values": [0, 1]}}}
    sweep_id = create.sweep(config, job=laptop.account.job)
    with pytest.raises(UsageError, match=r"no function was sent; send one from Python: smsweep\.agent"):
        detach.start_agent_job(sweep_id, {})
    run_agent.agent(sweep_id, train, backend="sagemaker", count=1)
    detach.start_agent_job(sweep_id, {})
    assert laptop.end(sweep_id)["status"] == "Completed"
    laptop.check(sweep_id, 2)


def test_commands_from_the_laptop_are_carried_out(laptop: Laptop) -> None:
    laptop.gate.touch()
    sweep_id = laptop.detach(4)
    until(lambda: laptop.states(sweep_id) == ["running"])
    with pytest.raises(UsageError, match="running trial"):
        remove.remove([sweep_id])
    assert control.set_state(sweep_id, "pause").state == "paused"
    assert laptop.show(sweep_id)["state"] == "paused"
    assert control.set_state(sweep_id, "resume").state == "running"
    changed = change(sweep_id, [parse_change("run_cap=9"), parse_change("stop_if=loss > 1000")])
    assert (changed.sweep.config.run_cap, changed.revision.number) == (9, 2)
    assert json_views.show(sweep_id)["run_cap"] == 9
    with pytest.raises(ConfigError, match="run_cap: expected"):
        change(sweep_id, [parse_change("run_cap=0")])
    control.set_state(sweep_id, "cancel")
    with pytest.raises(UsageError, match="cannot pause"):
        control.set_state(sweep_id, "pause")
    assert laptop.end(sweep_id)["status"] == "Completed"
    assert laptop.states(sweep_id) == ["killed"]
    assert {"s3:DeleteObject", "sagemaker:StopTrainingJob"} <= called(laptop.account)
    assert called(laptop.account) <= actions(aws_setup.policies(laptop.account.job)["agent"])
    control.set_state(sweep_id, "resume")  # its agent has exited: written here
    control.retry([f"{sweep_id}/0"])
    laptop.gate.unlink()
    assert (laptop.show(sweep_id)["state"], laptop.states(sweep_id)) == ("running", ["pending"])
    assert run_agent.agent(sweep_id, backend="sagemaker", parallel=4).ended == {"finished": 4}
    assert laptop.show(sweep_id)["trials"] == {"finished": 4}
    for number in (0, 3):
        key = f"smsweep/checkpoints/{sweep_id}/{number}/last.pt"
        laptop.account.s3.put_object(Bucket=laptop.account.bucket, Key=key)
    pruning = prune.plan_pruning([sweep_id], keep_best=1)
    assert pruning.skipped == {}
    prune.carry_out_pruning(pruning)
    assert [bool(json_views.show_trial(f"{sweep_id}/{n}")["pruned_at"]) for n in range(4)] == [False] * 3 + [True]
    assert remove.remove([sweep_id], s3=True) == [sweep_id]
    assert json_views.list_sweeps() == []
    assert all(key.startswith("smsweep/assets/runtimes/") for key in laptop.account.objects())  # of any source


@pytest.mark.slow
def test_killed_agent_is_restarted_in_its_job(laptop: Laptop) -> None:
    laptop.gate.touch()
    sweep_id = laptop.detach(3, parallel=2)
    until(lambda: laptop.states(sweep_id) == ["running"] * 2)
    (pid,) = laptop.pids(sweep_id, "smsweep.cli.main")
    os.kill(pid, signal.SIGKILL)
    laptop.gate.unlink()
    assert laptop.end(sweep_id)["status"] == "Completed"
    laptop.check(sweep_id, 3)


@pytest.mark.slow
def test_killed_agent_job_is_restarted(laptop: Laptop) -> None:
    laptop.gate.touch()
    sweep_id = laptop.detach(3, parallel=2)
    until(lambda: laptop.states(sweep_id) == ["running"] * 2)
    with pytest.raises(UsageError, match="has an agent: "):
        detach.start_agent_job(sweep_id, {})
    with pytest.raises(UsageError, match="has an agent: "):
        run_agent.agent(sweep_id, backend="sagemaker")
    for word in ("agent.py", "smsweep.cli.main"):
        for pid in laptop.pids(sweep_id, word):
            os.kill(pid, signal.SIGKILL)
    assert laptop.end(sweep_id)["status"] == "Failed"
    assert detach.start_agent_job(sweep_id, {"parallel": 2}).jobs[-1] == f"smsweep-{sweep_id}-agent-1"
    laptop.gate.unlink()
    agent = laptop.end(sweep_id)
    assert (agent["status"], agent["jobs"]) == ("Completed", 2)
    laptop.check(sweep_id, 3)


@pytest.mark.slow
def test_trials_continue_when_the_agent_job_is_stopped(laptop: Laptop) -> None:
    laptop.gate.touch()
    sweep_id = laptop.detach(2, parallel=2)
    until(lambda: laptop.states(sweep_id) == ["running"] * 2)
    laptop.account.client("sagemaker").stop_training_job(TrainingJobName=f"smsweep-{sweep_id}-agent-0")
    assert laptop.end(sweep_id)["status"] == "Stopped"
    assert laptop.states(sweep_id) == ["running"] * 2
    laptop.gate.unlink()
    run_agent.agent(sweep_id, backend="sagemaker", parallel=2)
    laptop.check(sweep_id, 2)


@pytest.mark.slow
def test_agent_starts_successor_before_its_maximum_run_time(laptop: Laptop) -> None:
    laptop.gate.touch()
    sweep_id = laptop.detach(
        2, parallel=2, agent={"role": AGENT_ROLE, "max_run": 100}
    )  # at half of it, the agent restarts
    until(lambda: laptop.agent(sweep_id)["job"].endswith("-agent-1"))
    laptop.gate.unlink()
    assert laptop.end(sweep_id)["status"] == "Completed"
    laptop.check(sweep_id, 2)


@pytest.mark.slow
def test_agent_without_training_job_saves_the_store_at_sigterm(laptop: Laptop, tmp_path: Path) -> None:
    laptop.gate.touch()
    Path("sweep.yaml").write_text(json.dumps(laptop.config(2)))
    Path("job.yaml").write_text(json.dumps(laptop.account.job))
    sent = json.loads(command("run", "sweep.yaml", "--job", "job.yaml", "--detach=s3", "--json").stdout)
    sweep_id, words = sent["id"], sent["detached"]["command"].split()[1:]
    environ = {**os.environ, "SMSWEEP_DIR": str(tmp_path / "elsewhere")}
    start = [sys.executable, "-m", "smsweep.cli.main", *words, "--parallel", "2"]
    with subprocess.Popen(start, env=environ, stderr=subprocess.DEVNULL) as agent:
        until(lambda: laptop.states(sweep_id) == ["running"] * 2)
        assert control.set_state(sweep_id, "pause").state == "paused"
        agent.terminate()
        assert agent.wait(PATIENCE_S) == 143
    assert laptop.states(sweep_id) == ["running"] * 2
    control.set_state(sweep_id, "resume")
    laptop.gate.unlink()
    subprocess.run(start, env=environ, check=True, stderr=subprocess.DEVNULL, timeout=PATIENCE_S)
    laptop.check(sweep_id, 2)


@pytest.mark.slow
def test_starting_agent_is_not_reported_as_missing(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sweep_id = laptop.detach(1)
    assert laptop.end(sweep_id)["status"] == "Completed"
    monkeypatch.setattr(remote_sweeps, "SILENT", timedelta(0))
    caplog.set_level(NOTE)
    laptop.show(sweep_id)
    assert "no agent is running" in caplog.messages[-1]
    control.set_state(sweep_id, "resume")
    laptop.account.emulator.faults.set({"start_s": 60})
    detach.start_agent_job(sweep_id, {})
    laptop.show(sweep_id)
    assert caplog.messages[-1].endswith("the agent has not saved the store since")


def test_sweep_is_not_detached_when_the_agent_cannot_start(laptop: Laptop) -> None:
    laptop.account.emulator.faults.set({"deny": ["CreateTrainingJob"]})
    sweep_id = create.sweep(laptop.config(1), job=laptop.account.job)
    with pytest.raises(Exception, match="CreateTrainingJob"):
        detach.start_agent_job(sweep_id, {})
    laptop.account.emulator.faults.set({"deny": []})
    assert not read_records(Path(".smsweep"))
    assert laptop.show(sweep_id)["state"] == "running"
    detach.start_agent_job(sweep_id, {})
    assert laptop.end(sweep_id)["status"] == "Completed"
    laptop.check(sweep_id, 1)


def test_detach_warns_that_the_agent_does_not_write_to_mlflow(
    account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (account.folder / "mlflow.py").touch()  # an installed package, which only agents on this machine import
    monkeypatch.syspath_prepend(account.folder)
    sweep_id = create.sweep(account.sweep(1), job={**account.job, "tracking": {"mlflow": "http://127.0.0.1:9"}})
    detach.start_agent_job(sweep_id, {}, with_agent=False)
    assert (
        "tracking.mlflow: agents on SageMaker, and agents whose store is in S3, do not write to MLflow; after the "
        f"sweep, use: smsweep export {sweep_id} --format mlflow --to URI"
    ) in caplog.text


def test_sweep_of_an_image_program_is_detached_without_source(account: Account) -> None:
    config = account.sweep(2)
    del config["program"]
    sweep_id = create.sweep(config, job={**account.job, "entrypoint": "image"})
    record = detach.start_agent_job(sweep_id, {}, with_agent=False)
    bucket, _, prefix = record.uri.removeprefix("s3://").partition("/")
    keys = [item["Key"] for item in account.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    assert [key for key in keys if key.endswith("store.db.gz")]
    assert not [key for key in keys if "/source/" in key]
    assert json_views.show(sweep_id)["image"] == account.job["image_uri"]
