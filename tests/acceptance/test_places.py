"""kill -9 of agents that run one sweep at three places at once: processes, containers and the emulator."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from smsweep.backends.docker.backend import DockerBackend
from smsweep.backends.process.backend import ProcessBackend
from smsweep.backends.sagemaker.backend import SageMakerBackend
from smsweep.services.agents import run_agent
from smsweep.services.sweeps import create
from smsweep.services.workspace import Workspace
from tests.acceptance.test_crash_points import IN_THE_CLOUD
from tests.sagemaker.conftest import ROLE
from tests.support.account import Account
from tests.support.kill_points import CrashPoint, die
from tests.support.working_dir import WorkingDir, grid
from tools.docker_engine import IMAGE

N_TRIALS = 16
TRAIN = """
import time, smsweep
run = smsweep.init()
print("started", flush=True)
for epoch in range(3):
    smsweep.log({"loss": run.config.x * 10 + epoch})
    time.sleep(0.2)
"""
SWEEP = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"values": list(range(N_TRIALS))}},
}
ON = ("sagemaker:2", "local:1", "docker:2")
CALLS = (
    *("store.add_trials", "store.claim", "store.set_place", "store.append_points", "store.move"),
    *("backend.submit", "backend.describe", "backend.forget"),
)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An emulator in a separate process. This process is forked, and must not have threads."""
    command = [sys.executable, "-m", "smsweep.cli.main", "--quiet", "emulator", "--port", "0", "--json"]
    environ = {**os.environ, "SMSWEEP_DIR": str(tmp_path_factory.mktemp("emulator"))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        output: Any = SimpleNamespace(**json.loads(process.stdout.readline()))
        yield Account(output)
        process.terminate()


@pytest.fixture
def sweep_id(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in list(os.environ):
        if name.startswith(("AWS_", "SMSWEEP_", "WANDB_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(TRAIN)
    for name, value in {**IN_THE_CLOUD, **account.emulator.environ}.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{secrets.token_hex(6)}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    job: dict[str, Any] = {
        "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1",
        "role": ROLE,
        "instance_type": "ml.m5.large",
        "output_path": f"s3://{bucket}/out",
        "max_run": 600,
        "places": [
            {"backend": "sagemaker", "slots": 2},
            {"backend": "process", "name": "local"},
            {"backend": "docker", "slots": 2, "image_uri": IMAGE, "output_path": str(tmp_path.as_uri())},
        ],
    }
    account.admin("POST", "faults", {"quota": 1})  # the second job is refused, and moves to the next place
    return create.sweep(SWEEP, job=job)


def start_agent(sweep_id: str, point: CrashPoint | None = None) -> Any:
    """Fork an agent, which is killed at the point."""

    def work() -> None:
        if point is not None:
            for backend in (ProcessBackend, DockerBackend, SageMakerBackend):
                die(point, backend)
        run_agent.agent(sweep_id)
        os._exit(0)

    process = get_context("fork").Process(target=work)
    process.start()
    return process


def run_until_killed(sweep_id: str, point: CrashPoint | None = None, after_s: float = 250) -> int | None:
    """Run an agent until it ends, or is killed at a point or a time. Return its exit code."""
    process = start_agent(sweep_id, point)
    process.join(after_s)
    process.kill()
    process.join()
    code: int | None = process.exitcode
    return code


def check(sweep_id: str) -> None:
    """Check that no trial was lost or repeated, and that each has exactly one job, at its place."""
    with Workspace().store() as store:
        trials = sorted(store.list_trials(sweep_id), key=lambda trial: trial.number)
        assert [trial.params["x"] for trial in trials] == list(range(N_TRIALS))
        assert {(trial.state.value, trial.attempt) for trial in trials} == {("finished", 0)}
        for trial in trials:
            values = [point.value for point in store.read_points(sweep_id, trial.number)]
            assert values == [trial.params["x"] * 10 + epoch for epoch in range(3)]
        assert store.get_sweep(sweep_id).state == "finished"
        assert store.holders(sweep_id) == set()
    kinds = {trial.job_name: trial.place.partition("@")[0] for trial in trials}
    listed = boto3.client("sagemaker").list_training_jobs(NameContains=sweep_id, MaxResults=100)
    in_cloud = {job["TrainingJobName"] for job in listed["TrainingJobSummaries"]}
    assert in_cloud == {name for name, kind in kinds.items() if kind == "sagemaker"}
    folders = {folder.name for folder in Workspace().jobs_dir.iterdir() if not folder.name.startswith(".")}
    assert folders == {name for name, kind in kinds.items() if kind != "sagemaker"}
    assert Counter(kinds.values()).keys() == {"process", "docker", "sagemaker"}


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.parametrize("seed", range(3))
def test_random_kills_with_three_places_lose_and_repeat_no_trial(
    docker_engine: object, sweep_id: str, seed: int
) -> None:
    rng = random.Random(seed)
    killed: list[CrashPoint] = []
    while len(killed) < 6:
        point = CrashPoint(when=rng.choice(["before", "after"]), call=rng.choice(CALLS), n=rng.randint(1, 3))
        if run_until_killed(sweep_id, point, after_s=rng.uniform(1, 8)) == 0:
            break
        killed.append(point)
    assert len(killed) >= 3
    assert run_until_killed(sweep_id) == 0
    check(sweep_id)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_agent_killed_while_a_trial_moves_continues_it(docker_engine: object, sweep_id: str, when: str) -> None:
    assert run_until_killed(sweep_id, CrashPoint(when=when, call="store.set_place")) == -signal.SIGKILL
    assert run_until_killed(sweep_id) == 0
    check(sweep_id)


def test_reproduction_runs_the_job_of_the_same_place(tmp_path: Path) -> None:
    script = "import os, smsweep\nsmsweep.init()\nsmsweep.log({'loss': float(os.environ['OFFSET'])})"
    desk = {"backend": "process", "name": "desk", "environment": {"OFFSET": 2}}
    job = {"environment": {"OFFSET": 1}, "places": [{"backend": "process", "name": "near"}, desk]}
    workdir = WorkingDir(tmp_path, {"train.py": script, "sweep.yaml": grid(x=[1, 2]), "job.yaml": job})
    sweep_id = workdir.run("--job", "job.yaml", "--on", "desk", "--count", "1")
    assert workdir.json("reproduce", f"{sweep_id}/0")["verdict"] == "equal"
