"""kill -9 at the crash points of each backend: the next agent continues, no trial is lost or repeated."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import boto3
import pytest

from smsweep.backends.docker.backend import DockerBackend
from smsweep.backends.process.backend import ProcessBackend
from smsweep.backends.sagemaker.backend import SageMakerBackend
from smsweep.remote.s3_store import remote_sweeps
from smsweep.services.agents import detach, run_agent
from smsweep.services.sweeps import create
from smsweep.services.workspace import Workspace
from tests.sagemaker.conftest import FAST, ROLE
from tests.support.kill_points import BACKEND_POINTS, CRASH_POINTS, PROMOTION_POINTS, CrashPoint, die
from tools.docker_engine import IMAGE

CLASSES = {"process": ProcessBackend, "sagemaker": SageMakerBackend, "docker": DockerBackend}
TRAIN = """
import os, sys, time, smsweep
run = smsweep.init()
x, attempt = run.config.x, os.environ["SMSWEEP_ATTEMPT"]
print("started", flush=True)
for epoch in range(3):
    smsweep.log({"loss": x * 10 + epoch})
if x == 2 and attempt == "0":
    sys.exit(7)
while x == 3:
    time.sleep(0.05)
"""
SWEEP = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"values": [1, 2, 3]}},
}
JOB: dict[str, Any] = {"stop_if": ["loss > 25 after 3"], "retries": {"user": 1}, "max_run": 600}
# The first attempt of each trial but the first waits after its second checkpoint, until it is paused.
PROMOTED_TRAIN = """
import os, pathlib, time, smsweep
run = smsweep.init()
last = pathlib.Path(os.environ["SMSWEEP_ML_ROOT"], "checkpoints", "last")
first = int(last.read_text()) + 1 if last.exists() else 0
for epoch in range(first, 3):
    last.write_text(str(epoch))
    smsweep.log({"loss": run.config.x, "first": first}, step=epoch)
    while run.config.x > 1 and first == 0 and epoch == 1:
        time.sleep(0.05)
"""
PROMOTED_SWEEP = {
    **SWEEP,
    "parameters": {"x": {"values": [1, 2, 3, 4]}},
    "early_terminate": {"type": "asha", "min_iter": 2, "eta": 2, "promote": True},
}
IN_THE_CLOUD = {
    "AWS_EC2_METADATA_DISABLED": "true",
    **FAST,
    "SMSWEEP_SAGEMAKER_LOG_LAG_S": "0.3",  # endpoint on this machine
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables of an emulator in a separate process. This process is forked, and must not have threads."""
    command = [sys.executable, "-m", "smsweep.cli.main", "--quiet", "emulator", "--port", "0", "--json"]
    environ = {**os.environ, "SMSWEEP_DIR": str(tmp_path_factory.mktemp("emulator"))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["environ"]
        process.terminate()


def at_points(points: Mapping[str, Iterable[str | None]]) -> pytest.MarkDecorator:
    """Run a test once for each backend and each of its crash points."""
    marks = {"docker": [pytest.mark.docker, pytest.mark.slow]}
    cases = [
        pytest.param(backend, name, marks=marks.get(backend, []), id=f"{backend}-{name}")
        for backend, names in points.items()
        for name in names
    ]
    return pytest.mark.parametrize(("workplace", "name"), cases, indirect=["workplace"])


class Bench:
    """A folder with the sweep, and agents on it that can be killed."""

    def __init__(self, backend: str, job: dict[str, Any], script: str, sweep: dict[str, Any]) -> None:
        self._backend = backend
        self._job = job
        Path("train.py").write_text(script)
        self.sweep_id = create.sweep(sweep, job=job)
        if backend == "away":
            self._backend = "sagemaker"
            detach.start_agent_job(self.sweep_id, {}, with_agent=False)

    def agent(self, point: CrashPoint | None = None) -> int | None:
        """Run an agent until it ends or is killed at the point, and return its exit code."""
        process = get_context("fork").Process(target=self._work, args=(point,))
        process.start()
        process.join(200)
        code = process.exitcode
        process.kill()
        return code

    def job_names(self) -> set[str]:
        """Return the names of all jobs of the sweep that were started."""
        if self._backend == "sagemaker":
            listed = client("sagemaker").list_training_jobs(NameContains=self.sweep_id, MaxResults=100)
            return {job["TrainingJobName"] for job in listed["TrainingJobSummaries"]}
        return {folder.name for folder in Workspace().jobs_dir.iterdir() if not folder.name.startswith(".")}

    def _work(self, point: CrashPoint | None) -> None:
        if point is not None:
            die(point, CLASSES[self._backend])
        run_agent.agent(self.sweep_id, backend=self._backend)
        os._exit(0)


def client(service: str) -> Any:
    return boto3.client(service)


@pytest.fixture
def workplace(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, dict[str, Any]]:
    """Prepare this process for the backend that the test names. Return the backend and the job template."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "SMSWEEP_", "WANDB_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    job = dict(JOB)
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
        job["image_uri"] = IMAGE
    # detached: the store is in S3, and the local copy of a killed agent is lost
    if request.param in ("sagemaker", "away"):
        monkeypatch.setattr(remote_sweeps, "SILENT", timedelta(0))  # leases of a killed agent expire immediately
        for name, value in {**IN_THE_CLOUD, **request.getfixturevalue("endpoint")}.items():
            monkeypatch.setenv(name, value)
        bucket = f"test-{secrets.token_hex(6)}"
        client("s3").create_bucket(Bucket=bucket)
        image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1"
        job |= {
            "image_uri": image,
            "role": ROLE,
            "instance_type": "ml.m5.large",
            "output_path": f"s3://{bucket}/out",
        }
    return request.param, job


@pytest.fixture
def bench(workplace: tuple[str, dict[str, Any]]) -> Bench:
    return Bench(*workplace, TRAIN, SWEEP)


@pytest.fixture
def promotion_bench(workplace: tuple[str, dict[str, Any]]) -> Bench:
    return Bench(*workplace, PROMOTED_TRAIN, PROMOTED_SWEEP)


@at_points(  # the store of "away" is in S3
    {"process": CRASH_POINTS, "away": CRASH_POINTS, "sagemaker": BACKEND_POINTS, "docker": BACKEND_POINTS}
)
def test_next_agent_continues_after_kill_at_each_crash_point(bench: Bench, name: str) -> None:
    assert bench.agent(CRASH_POINTS[name]) == -signal.SIGKILL, "the crash point was not reached"
    assert bench.agent() == 0
    with Workspace().store() as store:
        trials = sorted(store.list_trials(bench.sweep_id), key=lambda trial: trial.number)
        found = [(trial.params["x"], trial.state.value, trial.attempt) for trial in trials]
        assert found == [(1, "finished", 0), (2, "finished", 1), (3, "stopped", 0)]
        for trial in trials:
            values = [point.value for point in store.read_points(bench.sweep_id, trial.number)]
            assert values == [trial.params["x"] * 10 + epoch for epoch in range(3)]
        assert store.get_sweep(bench.sweep_id).state == "finished"
    numbers = ("0-0", "1-0", "1-1", "2-0")
    assert bench.job_names() == {f"smsweep-{bench.sweep_id}-{number}" for number in numbers}


@at_points({backend: [None, *PROMOTION_POINTS] for backend in ("process", "away", "sagemaker", "docker")})
def test_promotion_survives_a_kill_at_each_crash_point(promotion_bench: Bench, name: str | None) -> None:
    if name is not None:
        point = PROMOTION_POINTS[name]
        assert promotion_bench.agent(point) == -signal.SIGKILL, "the crash point was not reached"
    assert promotion_bench.agent() == 0
    with Workspace().store() as store:
        trials = sorted(store.list_trials(promotion_bench.sweep_id), key=lambda trial: trial.number)
        states = [(trial.params["x"], trial.state.value, trial.attempt, dict(trial.retries)) for trial in trials]
        assert states == [
            (1, "finished", 0, {}),
            (2, "finished", 1, {}),
            (3, "stopped", 0, {}),
            (4, "stopped", 0, {}),
        ]
        points = store.read_points(promotion_bench.sweep_id, 1, names=["first"])
        assert [(point.step, point.value) for point in points] == [(0, 0), (1, 0), (2, 2)]
        assert [trial.is_paused for trial in trials] == [False, False, True, True]
        assert store.get_sweep(promotion_bench.sweep_id).state == "finished"
    numbers = ("0-0", "1-0", "1-1", "2-0", "3-0")
    assert promotion_bench.job_names() == {f"smsweep-{promotion_bench.sweep_id}-{number}" for number in numbers}


def test_at_least_twenty_crash_points_are_tested() -> None:
    assert len(CRASH_POINTS) >= 20
