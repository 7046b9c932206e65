"""Boundary from network to store: an agent runs each trial and each command once over an unreliable S3."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from smsweep.backends.process.backend import ProcessBackend
from smsweep.core.json_documents import DetachedAgentDocument
from smsweep.remote.agent_job.guarded_backend import GuardedBackend
from smsweep.remote.s3_store.writer import LONGEST, SHORTEST, save_interval
from smsweep.services.agents import detach
from smsweep.services.sweeps import control, create
from smsweep.services.views import json_views
from tests.sagemaker.conftest import Account
from tests.sagemaker.conftest import account as account  # a fixture
from tests.security.conftest import PAUSE, SWEEP, RemoteStore
from tests.support.s3_server import FaultyS3
from tests.support.walkthrough import SMSWEEP

PATIENCE_S = 240
TRAIN = """
import os, time, smsweep
run = smsweep.init()
smsweep.log({"loss": run.config["x"] * 2})
while os.path.exists(run.config["wait"]):
    time.sleep(0.1)
"""


def agent_of(sweep_id: str) -> DetachedAgentDocument:
    agent = json_views.show(sweep_id)["agent"]
    assert agent is not None
    return agent


def until(is_so: Callable[[], object], agent: subprocess.Popen[str] | None = None) -> None:
    """Wait for a condition. If the condition stays false, fail with the output of the agent."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            if agent:
                agent.kill()
            raise AssertionError(f"exit code {agent.wait()}: {agent.communicate()[1]}" if agent else "timed out")
        time.sleep(1)  # each poll reads the store from S3, which costs 0.3 s of CPU time


class Remote:
    """A sweep with a store in S3, and an agent in a separate process."""

    def __init__(self, account: Account, s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
        self.account = account
        self.gate = account.folder / "wait"
        self.gate.touch()
        (account.folder / "train.py").write_text(TRAIN)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
        config = account.sweep(n)
        config["parameters"]["wait"] = {"value": str(self.gate)}
        self.sweep_id = create.sweep(config, job=account.job)
        self.uri = detach.start_agent_job(self.sweep_id, {}, with_agent=False).uri
        self.path = self.uri.removeprefix("s3:/")

    def start(self, **environ: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "smsweep.cli.main", "agent", self.sweep_id, "--backend", "sagemaker"]
        words += ["--kept-at", self.uri, "--source", f"{self.uri}/source", "--parallel", "2"]
        return subprocess.Popen(words, env={**os.environ, **environ}, stderr=subprocess.PIPE, text=True)

    def states(self) -> list[str]:
        return [trial["state"] for trial in json_views.list_trials(self.sweep_id)]

    def check(self, n: int) -> None:
        """Check that each trial ran once, and none was lost."""
        trials = json_views.list_trials(self.sweep_id)
        assert [(trial["state"], trial["attempt"]) for trial in trials] == [("finished", 0)] * n
        assert [trial["metrics"]["loss"] for trial in trials] == [2 * x for x in range(n)]
        assert self.account.created() == {f"smsweep-{self.sweep_id}-{number}-0": 1 for number in range(n)}
        assert json_views.show(self.sweep_id)["state"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_agent_runs_each_trial_once_over_an_unreliable_s3(
    account: Account, s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    remote = Remote(account, s3, monkeypatch, 4)
    with remote.start() as agent:
        until(lambda: remote.states() == ["running"] * 2, agent)
        for method in ("PUT", "GET", "DELETE"):
            s3.shake(method, f"{remote.path}/*", seed=seed, rate=0.4)
        assert control.set_state(remote.sweep_id, "pause").state == "paused"
        assert control.set_state(remote.sweep_id, "resume").state == "running"
        remote.gate.unlink()
        _, output = agent.communicate(timeout=PATIENCE_S)
    assert agent.returncode == 0, output
    remote.check(4)
    assert agent_of(remote.sweep_id)["rejected"] == []


@pytest.mark.parametrize("key", ["alive.json", "store.db.gz"])
def test_command_waits_for_s3(account: Account, s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    remote = Remote(account, s3, monkeypatch, 1)
    fault = s3.refuse("GET", f"{remote.path}/{key}", 503, "SlowDown", times=7)
    assert control.set_state(remote.sweep_id, "pause").state == "paused"
    assert fault.hits == 7
    assert json_views.show(remote.sweep_id)["state"] == "paused"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_agent_job_waits_for_s3_at_its_start(
    account: Account, s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str
) -> None:
    remote = Remote(account, s3, monkeypatch, 1)
    remote.gate.unlink()
    fault = s3.refuse(method, f"{remote.path}/store.db.gz", 503, "SlowDown", times=6)
    name = f"smsweep-{remote.sweep_id}-agent-0"
    with remote.start(SMSWEEP_AGENT_JOB=name, SMSWEEP_DIR=str(tmp_path / "job")) as agent:
        _, output = agent.communicate(timeout=PATIENCE_S)
    assert agent.returncode == 0, output
    assert fault.hits == 6
    assert "trying again" in output
    remote.check(1)


@pytest.mark.slow
def test_agent_saves_its_end_when_s3_is_back(
    account: Account, s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(account, s3, monkeypatch, 1)
    with remote.start() as agent:
        until(lambda: remote.states() == ["running"], agent)
        until(lambda: json_views.list_trials(remote.sweep_id)[0]["metrics"])
        fault = s3.refuse("PUT", f"{remote.path}/*", 503, "SlowDown", times=1_000)
        remote.gate.unlink()
        sagemaker = account.client("sagemaker")
        until(lambda: sagemaker.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"])
        n_refused = fault.hits
        until(lambda: fault.hits > n_refused + 8)
        assert agent.poll() is None, "the agent exits after its last changes are saved"
        fault.times = 0
        _, output = agent.communicate(timeout=PATIENCE_S)
    assert agent.returncode == 0, output
    remote.check(1)


def test_rejected_commands_are_shown(account: Account, s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote(account, s3, monkeypatch, 1)
    remote.gate.unlink()
    bucket, _, prefix = remote.path.strip("/").partition("/")
    s3.client().put_object(Bucket=bucket, Key=f"{prefix}/orders/\x1b[31mred.json", Body=PAUSE)
    s3.client().put_object(Bucket=bucket, Key=f"{prefix}/orders/9.json", Body=b'{"do": "\x1b[31mrm -rf"}')
    with remote.start() as agent:
        agent.communicate(timeout=PATIENCE_S)
    remote.check(1)
    found = agent_of(remote.sweep_id)["rejected"]
    assert [each["id"] for each in found] == ["\x1b[31mred", "9"]
    assert all(each["reason"] for each in found)
    words = [*SMSWEEP, "show", remote.sweep_id]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "rejected  command 9: Invalid JSON" in " ".join(shown.split(" "))
    assert "\x1b" not in shown


def test_larger_store_is_saved_less_often() -> None:
    assert save_interval(0) == save_interval(200_000) == SHORTEST
    assert save_interval(1_000_000) == timedelta(seconds=10)
    assert save_interval(10**12) == LONGEST


def test_agent_with_a_large_store_saves_changes_rarely_but_jobs_at_once(remote: RemoteStore) -> None:
    writer = remote.writer("one")
    now = datetime(2030, 1, 1, tzinfo=timezone.utc)

    def clock() -> datetime:
        return now

    backend = ProcessBackend(remote.folder / "jobs", remote.folder / "runtime.zip", {}, lambda: now.timestamp())
    guarded = GuardedBackend(backend, writer, remote.s3_store, clock, {}, lambda: False)
    path = f"{remote.path}/store.db.gz"

    def ticks(n: int) -> int:
        """Return the number of saves in n seconds, when each second has changes."""
        nonlocal now
        before = remote.s3.count("PUT", path)
        for _ in range(n):
            now += timedelta(seconds=1)
            writer.store.put_note(SWEEP, "n", now.isoformat())
            guarded.wait(0)
        return remote.s3.count("PUT", path) - before

    assert ticks(60) == 30
    writer.store.put_note(SWEEP, "large", os.urandom(750_000).hex())  # 10 s: it is not compressible
    writer.save()
    assert 0.9e6 > writer.n_bytes > 0.7e6
    assert 6 <= ticks(60) <= 8
    ticks(1)
    remote.put("orders/1.json", PAUSE)
    assert ticks(3) >= 1
    assert remote.note("orders") == {"1": ""}
    before = remote.s3.count("PUT", path)
    writer.store.put_note(SWEEP, "n", 1)
    guarded.stop("job")
    assert remote.s3.count("PUT", path) == before + 1
