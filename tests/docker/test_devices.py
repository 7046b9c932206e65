"""Containers with their own devices. The engine has no GPU runtime, so no container with GPUs starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from docker import DockerClient
from docker.errors import APIError

from smsweep.backends.docker import containers
from smsweep.backends.docker.containers import ContainerPlan, HostNetwork
from smsweep.backends.docker.engine import DockerOptions, Engine
from smsweep.backends.local.devices import Device
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.ledger import PROCESS, DeviceLedger
from smsweep.core.resources import Resources, with_resources
from smsweep.errors import CapacityError
from tests.docker.test_takeover import AGENT, ROOT
from tests.support.jobs import Jobs
from tools.docker_engine import IMAGE

SHOW = """
import json, os
config = json.loads(os.environ["SM_RESOURCE_CONFIG"])
print(len(os.sched_getaffinity(0)), os.environ["SM_NUM_CPUS"], os.environ["SM_NUM_GPUS"], config["memory_bytes"])
"""
WAIT = "import time\nprint('runs', flush=True)\ntime.sleep(600)"
CORE = Resources(cpus=1)


@pytest.fixture
def limited(jobs: Jobs, tmp_path: Path) -> Iterator[Jobs]:
    """Jobs of agents that may use one core and no GPU, with a ledger of their own."""
    pool = {"SMSWEEP_LEDGER": str(tmp_path / "ledger"), "SMSWEEP_DEVICES": "none"}
    core = {"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "1"}
    opened = Jobs(folder=tmp_path, kind="docker", image=IMAGE, environ={**jobs.environ, **pool, **core})
    yield opened
    opened.close()


@pytest.fixture
def with_gpus(limited: Jobs) -> Iterator[Jobs]:
    """The same with two GPUs. The engine starts no container that has one of them."""
    environ = {**limited.environ, "SMSWEEP_DEVICES": "0,1"}
    opened = Jobs(folder=limited.folder, kind="docker", image=IMAGE, environ=environ)
    yield opened
    opened.close()


def claim_core(jobs: Jobs) -> None:
    """Claim the only core, as a process of another agent does."""
    with closing(DeviceLedger(jobs.environ, PROCESS)) as ledger:
        ledger.claim(JobFolder(jobs.folder / "other"), CORE)


@pytest.mark.parametrize("numbers", [["1"], ["0", "2"], ["MIG-3f1a"]])
def test_engine_gets_device_requests(docker_engine: DockerClient, tmp_path: Path, numbers: list[str]) -> None:
    environ = dict(os.environ)
    engine = Engine(environ)
    plan = ContainerPlan(
        folder=tmp_path / f"smsweep-test-gpu-{os.getpid()}",
        request={},
        host="algo-1",
        network=HostNetwork(mode="none", address="", names={}),
        image=IMAGE,
        binds=[],
        options=DockerOptions(),
        facts=engine.facts,
        environ={},
        owner=(0, 0),
        gpus=[Device(key=f"GPU-{number}", number=number) for number in numbers],
        cpus=[0],
    )
    with engine.client() as client:
        containers.create(client, plan)
        try:
            host = client.inspect_container(plan.folder.name)["HostConfig"]
            with pytest.raises(APIError, match="gpu"):  # the engine has no such runtime
                client.start(plan.folder.name)
        finally:
            containers.remove(client, plan.folder.name)
    (request,) = host["DeviceRequests"]
    assert (request["DeviceIDs"], request["Capabilities"]) == (numbers, [["gpu"]])
    assert (host["CpusetCpus"], host["NanoCpus"]) == ("0", 1_000_000_000)


def test_container_without_gpus_gets_no_device_request(with_gpus: Jobs, docker_engine: DockerClient) -> None:
    limited = with_gpus
    request = with_resources(limited.request("none", WAIT), Resources(gpus=0))
    limited.backend.submit(request)
    limited.until_says(request["TrainingJobName"], "runs")
    host = docker_engine.containers.get(request["TrainingJobName"]).attrs["HostConfig"]
    assert not host["DeviceRequests"]
    limited.backend.stop(request["TrainingJobName"], grace_s=0)
    limited.finish(request["TrainingJobName"])


@pytest.mark.parametrize("resources", [Resources(), Resources(memory_bytes=300 << 20)])
def test_container_that_asks_for_no_gpu_shares_none_with_an_exclusive_trial(
    with_gpus: Jobs, resources: Resources
) -> None:
    """It waits while trials have all devices alone, then holds one of the devices against exclusive trials."""
    request = with_resources(with_gpus.request("shares", WAIT), resources)
    other, sharing = JobFolder(with_gpus.folder / "other"), JobFolder(with_gpus.folder / "sharing")
    with closing(DeviceLedger(with_gpus.environ, PROCESS)) as ledger:
        ledger.claim(other, Resources(gpus=2))
        with pytest.raises(CapacityError, match=r"the trial needs a GPU to share.* in use by other"):
            with_gpus.backend.submit(request)
        assert not (with_gpus.folder / "jobs" / request["TrainingJobName"]).exists()
        ledger.release(other)
        ledger.claim(JobFolder(with_gpus.folder / "one"), Resources(gpus=1))
        with_gpus.backend.submit(request)
        (claim,) = [each for each in ledger.claims() if each.job == request["TrainingJobName"]]
        assert [device.key for device in claim.devices] == ["1"]
        with pytest.raises(CapacityError):
            ledger.claim(JobFolder(with_gpus.folder / "alone"), Resources(gpus=1))
        ledger.claim(sharing, Resources(gpus=0.5))
    reason = with_gpus.finish(request["TrainingJobName"]).status.failure_reason
    assert "gpu" in reason  # the engine got a device request


def test_container_has_own_cores_and_memory(limited: Jobs) -> None:
    request = with_resources(limited.request("own", SHOW), Resources(gpus=0, cpus=1, memory_bytes=300 << 20))
    limited.backend.submit(request)
    assert limited.finish(request["TrainingJobName"]).lines == (f"1 1 0 {300 << 20}",)


def test_job_waits_without_a_folder_while_a_process_uses_the_core(limited: Jobs) -> None:
    request = with_resources(limited.request("waits", "print('ran')"), CORE)
    name = request["TrainingJobName"]
    with closing(DeviceLedger(limited.environ, PROCESS)) as ledger:
        ledger.claim(JobFolder(limited.folder / "other"), CORE)
        with pytest.raises(CapacityError, match="in use by other"):
            limited.backend.submit(request)
        assert not (limited.folder / "jobs" / name).exists()
    limited.backend.submit(request)
    assert limited.finish(name).lines == ("ran",)
    claim_core(limited)  # the ended job does not hold it


def test_container_holds_its_core_after_its_agent_was_killed(limited: Jobs, docker_engine: DockerClient) -> None:
    request = with_resources(limited.request("alone", WAIT), CORE)
    name = request["TrainingJobName"]
    start_and_die(limited, request, "Training")
    with pytest.raises(CapacityError, match=f"in use by {name}"):
        claim_core(limited)
    docker_engine.containers.get(name).kill()
    claim_core(limited)
    limited.finish(name)


def test_next_agent_holds_the_core_of_a_running_container(limited: Jobs, docker_engine: DockerClient) -> None:
    request = with_resources(limited.request("taken", WAIT), CORE)
    name = request["TrainingJobName"]
    start_and_die(limited, request, "Training")
    limited.until_says(name, "runs")
    with pytest.raises(CapacityError, match=f"in use by {name}"):
        claim_core(limited)
    docker_engine.containers.get(name).kill()
    limited.finish(name)
    claim_core(limited)


def test_job_that_was_not_started_claims_its_core_again(limited: Jobs) -> None:
    request = with_resources(limited.request("again", "print('ran')"), CORE)
    name = request["TrainingJobName"]
    start_and_die(limited, request, "Downloading")
    with closing(DeviceLedger(limited.environ, PROCESS)) as ledger:
        ledger.claim(JobFolder(limited.folder / "other"), CORE)
        assert limited.backend.describe([name])[name].secondary_status in ("Starting", "Downloading")
    assert limited.finish(name).lines == ("ran",)


def start_and_die(jobs: Jobs, request: object, moment: str) -> None:
    """Submit a job from a process that kills itself as soon as the job's secondary status is `moment`."""
    command = [sys.executable, "-c", AGENT, str(jobs.folder / "jobs"), json.dumps(request), moment]
    environ = {**jobs.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environ, timeout=120).returncode == -signal.SIGKILL
