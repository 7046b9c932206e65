"""Jobs after an agent was killed, the engine was restarted, or no agent ran."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from docker import DockerClient

from smsweep.backends.docker.backend import DockerBackend
from smsweep.backends.docker.engine import engine_time
from smsweep.backends.local.job_folder import JobFolder
from tests.docker.conftest import job_containers
from tests.docker.registry import Registry
from tests.support.jobs import Jobs

ROOT = Path(__file__).parents[2]
AGENT = """
import json, os, signal, sys, time
from pathlib import Path
from smsweep.backends.docker.backend import DockerBackend

root, request, moment = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
backend = DockerBackend(root, dict(os.environ), time.time)
backend.submit(request)
while backend.describe([request["TrainingJobName"]])[request["TrainingJobName"]].secondary_status != moment:
    time.sleep(0.002)
os.kill(os.getpid(), signal.SIGKILL)
"""
COUNT = """
import time
for number in range(5):
    print(number, flush=True)
    time.sleep(0.2)
"""


def start_and_die(jobs: Jobs, request: object, moment: str) -> None:
    """Submit a job from a process that kills itself as soon as the job's secondary status is `moment`."""
    assert start(jobs, request, moment).wait(60) == -signal.SIGKILL


def start(jobs: Jobs, request: object, moment: str) -> subprocess.Popen[bytes]:
    """Submit a job from another process, which kills itself at that moment."""
    command = [sys.executable, "-c", AGENT, str(jobs.folder / "jobs"), json.dumps(request), moment]
    return subprocess.Popen(command, env={**jobs.environ, "PYTHONPATH": str(ROOT)})


def test_next_client_takes_over_a_running_job(jobs: Jobs) -> None:
    request = jobs.request("running", COUNT)
    start_and_die(jobs, request, "Training")
    done = jobs.finish(request["TrainingJobName"])
    assert done.lines == ("0", "1", "2", "3", "4")
    assert done.status.status == "Completed"


def test_next_client_starts_a_job_that_has_not_started(jobs: Jobs) -> None:
    request = jobs.request("starting", COUNT)
    start_and_die(jobs, request, "Downloading")
    assert jobs.finish(request["TrainingJobName"]).lines == ("0", "1", "2", "3", "4")


def test_next_client_collects_a_job_that_has_ended(jobs: Jobs, docker_engine: DockerClient) -> None:
    request = jobs.request("ended", "print('done'); raise SystemExit(3)")
    start_and_die(jobs, request, "Training")
    docker_engine.containers.get(request["TrainingJobName"]).wait()
    done = jobs.finish(request["TrainingJobName"])
    assert (done.lines, done.status.exit_code) == (("done",), 3)


def test_job_does_not_run_again_when_it_ended_before_its_start_was_stored(
    jobs: Jobs, docker_engine: DockerClient
) -> None:
    request = jobs.request("short", "print('done'); raise SystemExit(3)")
    start_and_die(jobs, request, "Training")
    docker_engine.containers.get(request["TrainingJobName"]).wait()
    folder = JobFolder(jobs.folder / "jobs" / request["TrainingJobName"])
    folder.write_status(replace(folder.status(), secondary_status="Downloading", started_at=None))
    done = jobs.finish(request["TrainingJobName"])
    assert (done.lines, done.status.exit_code) == (("done",), 3)


def test_job_that_ended_in_time_without_an_agent_is_not_stopped(jobs: Jobs, docker_engine: DockerClient) -> None:
    request = jobs.request("in-time", "print('done')", max_run_s=60)
    start_and_die(jobs, request, "Training")
    container = docker_engine.containers.get(request["TrainingJobName"])
    container.wait()
    container.reload()
    much_later = DockerBackend(jobs.folder / "jobs", jobs.environ, lambda: time.time() + 3600)
    with closing(much_later):
        status = jobs.finish(request["TrainingJobName"], much_later).status
    assert status.status == "Completed"
    finished_at = engine_time(container.attrs["State"]["FinishedAt"])
    assert finished_at is not None
    assert status.started_at is not None
    # The client can record the start of such a short job after its end. No job ends before its start.
    assert status.ended_at == max(finished_at, status.started_at)


def test_runtime_counts_from_the_start_by_a_killed_client(jobs: Jobs, docker_engine: DockerClient) -> None:
    request = jobs.request("counted", COUNT)
    start_and_die(jobs, request, "Training")
    folder = JobFolder(jobs.folder / "jobs" / request["TrainingJobName"])
    folder.write_status(replace(folder.status(), secondary_status="Downloading", started_at=None))
    state = docker_engine.containers.get(request["TrainingJobName"]).attrs["State"]
    assert jobs.finish(request["TrainingJobName"]).status.started_at == engine_time(state["StartedAt"])


def test_next_client_uploads_the_results_when_a_client_was_killed_during_the_upload(jobs: Jobs) -> None:
    request = jobs.request("keeping", "import os; open('/opt/ml/model/w', 'wb').write(os.urandom(30 << 20))")
    start_and_die(jobs, request, "Uploading")
    assert jobs.finish(request["TrainingJobName"]).status.status == "Completed"
    with tarfile.open(jobs.folder / "results" / jobs.name("keeping") / "output" / "model.tar.gz") as model:
        assert model.getmember("w").size == 30 << 20


def test_next_client_starts_a_job_whose_image_was_being_pulled(jobs: Jobs, docker_engine: DockerClient) -> None:
    with Registry(text=jobs.prefix).serve() as registry:
        jobs.image = registry.address
        agent = start(jobs, jobs.request("pull"), "never")
        registry.until_asked_for_layer()
        agent.kill()
        agent.wait()
        registry.may_go_on.set()
        reason = jobs.finish(jobs.name("pull")).status.failure_reason
        docker_engine.images.remove(registry.address)
    assert reason.startswith(f"image {registry.address} has no `python3`")


def test_repeated_submit_by_the_next_client_starts_no_container(jobs: Jobs, docker_engine: DockerClient) -> None:
    request = jobs.request("again", COUNT)
    start_and_die(jobs, request, "Training")
    before = docker_engine.containers.get(request["TrainingJobName"]).id
    jobs.backend.submit(request)
    assert docker_engine.containers.get(request["TrainingJobName"]).id == before
    assert jobs.finish(request["TrainingJobName"]).lines == ("0", "1", "2", "3", "4")


def test_log_has_each_line_once_after_a_takeover(jobs: Jobs) -> None:
    script = "import time\nfor n in range(3000):\n    print(n, flush=True)\n    time.sleep(0.0005)"
    name = jobs.start("lines", script)
    backend, cursor = jobs.backend, ""
    lines: list[str] = []
    for _ in range(3):
        while not (page := backend.read_logs(name, cursor)).lines:
            backend.describe([name])
        lines, cursor = [*lines, *page.lines], page.cursor
        backend.close()
        backend = jobs.another()
    jobs.finish(name, backend)
    while not (page := backend.read_logs(name, cursor)).is_last:
        lines, cursor = [*lines, *page.lines], page.cursor
    numbers = [line for line in (*lines, *page.lines) if line.isdecimal()]
    assert numbers == [str(number) for number in range(3000)]


def test_installation_of_a_killed_agent_is_removed(jobs: Jobs, docker_engine: DockerClient) -> None:
    slow = {"requirements.txt": "./slow\n", "slow/setup.py": f"import time; time.sleep(60)  # {jobs.prefix}"}
    request = jobs.request("install", "", files=slow)
    agent = start(jobs, request, "never")
    while not job_containers(docker_engine, jobs.folder):
        assert agent.poll() is None
    agent.kill()
    agent.wait()
    jobs.backend.describe([request["TrainingJobName"]])  # removes the container, then installs again
    jobs.backend.stop(request["TrainingJobName"])
    assert jobs.finish(request["TrainingJobName"]).status.status == "Stopped"
    assert job_containers(docker_engine, jobs.folder) == []
    assert not list((jobs.folder / "cache").rglob("settings.json"))
