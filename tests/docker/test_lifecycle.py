"""The lifecycle of jobs in containers: start, end, failure and stop."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from docker import DockerClient

from smsweep.core.job import JobStatus
from tests.docker.conftest import build
from tests.support.jobs import Jobs
from tools.docker_engine import IMAGE

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"


def raw(jobs: Jobs, label: str, *argv: str) -> JobStatus:
    """Run a command in the plain image, without smsweep's runtime."""
    algorithm = {"TrainingImage": jobs.image, "TrainingInputMode": "File", "ContainerEntrypoint": list(argv)}
    jobs.backend.submit(jobs.request(label, AlgorithmSpecification=algorithm))
    return jobs.finish(jobs.name(label)).status


def test_statuses_have_sagemakers_order(jobs: Jobs) -> None:
    name = jobs.start("order", "import time; time.sleep(0.3)")
    seen: list[str] = []
    while "Completed" not in seen:
        status = jobs.backend.describe([name])[name].secondary_status
        if status not in seen:
            seen.append(status)
        time.sleep(0.001)
    order = ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert seen == [status for status in order if status in seen]
    assert {"Downloading", "Training", "Completed"} <= set(seen)


def test_failure_file_is_the_reason_without_the_runtime(jobs: Jobs) -> None:
    script = "mkdir -p /opt/ml/output; printf 'x%.0s' $(seq 2000) > /opt/ml/output/failure; exit 3"
    status = raw(jobs, "foreign", "sh", "-c", script)
    assert (status.status, status.exit_code, status.failure_reason) == ("Failed", 3, "x" * 1024)


def test_exit_code_is_the_reason_without_a_failure_file(jobs: Jobs) -> None:
    status = raw(jobs, "silent", "sh", "-c", "exit 4")
    assert status.failure_reason == "exit code 4, without /opt/ml/output/failure"


def test_last_output_is_in_the_reason_without_a_failure_file(jobs: Jobs) -> None:
    # One stream, because the engine can read two streams in another order.
    status = raw(jobs, "muttering", "sh", "-c", "exec >&2; seq 1000; echo 'no such device'; exit 4")
    assert status.failure_reason.startswith("exit code 4, without /opt/ml/output/failure; its last output:\n")
    assert status.failure_reason.endswith("no such device")


def test_exit_code_255_of_a_watched_script_is_its_own(jobs: Jobs) -> None:
    status = raw(jobs, "minus-one", "sh", "-c", "echo no licence; exit 255")
    assert (status.exit_code, status.is_lost) == (255, False)
    assert status.failure_reason.endswith("its last output:\nno licence")


def test_missing_entrypoint_fails_with_the_engines_message(jobs: Jobs) -> None:
    status = raw(jobs, "missing", "no-such-program")
    assert status.status == "Failed"
    assert "no-such-program" in status.failure_reason


def test_missing_image_fails_with_its_name(jobs: Jobs) -> None:
    jobs.image = "localhost:9/no-such-image:1"
    status = jobs.run("image", "").status
    assert status.failure_reason.startswith("image localhost:9/no-such-image:1 is not on this machine")


def test_container_of_another_owner_is_not_used(jobs: Jobs, docker_engine: DockerClient) -> None:
    other = docker_engine.containers.create(IMAGE, ["true"], name=jobs.name("taken"))
    try:
        status = jobs.run("taken", "").status
        assert status.failure_reason.startswith(
            f"container {other.name} already exists and does not belong to this job"
        )
        assert status.failure_class == "name"
        assert docker_engine.containers.get(jobs.name("taken")).id == other.id
    finally:
        other.remove()


def test_image_without_entrypoint_is_started_with_train(jobs: Jobs, job_image: str) -> None:
    algorithm = {"TrainingImage": job_image, "TrainingInputMode": "File"}
    jobs.backend.submit(jobs.request("train", "print('trained')", AlgorithmSpecification=algorithm))
    assert jobs.finish(jobs.name("train")).lines == ("trained",)


def test_job_image_runs_without_root(jobs: Jobs, docker_engine: DockerClient) -> None:
    jobs.image = build(docker_engine, "smsweep-test-user", USER="12345")
    done = jobs.run("user", "import os; print(os.getuid()); open('/opt/ml/model/m', 'w').write('m')")
    assert done.lines == ("12345",)
    assert (jobs.folder / "results" / jobs.name("user") / "output" / "model.tar.gz").exists()


def test_requirements_flag_is_not_passed_to_the_entrypoint(jobs: Jobs) -> None:
    request = jobs.request("flag", "import sys; print(sys.argv[1:])")
    request["AlgorithmSpecification"]["ContainerArguments"] = ["--install-requirements", "--", "--extra"]
    jobs.backend.submit(request)
    assert jobs.finish(request["TrainingJobName"]).lines == ("['--extra']",)


def test_out_of_memory_is_the_reason(jobs: Jobs) -> None:
    jobs.backend = jobs.another(SMSWEEP_DOCKER_MEMORY="64m")
    status = jobs.run("memory", "data = [bytearray(1 << 20) for _ in range(200)]").status
    assert status.status == "Failed"
    assert status.failure_reason.startswith("OutOfMemory: the container needed more than its limit of 64 MiB")
    assert not status.is_lost


def test_limits_and_shared_memory_match_the_settings(jobs: Jobs, docker_engine: DockerClient) -> None:
    jobs.backend = jobs.another(
        SMSWEEP_DOCKER_MEMORY="256m", SMSWEEP_DOCKER_CPUS="1.5", SMSWEEP_DOCKER_SHM_SIZE="32m"
    )
    script = "import os, time\nprint(os.statvfs('/dev/shm').f_blocks * 4096 >> 20, flush=True)\ntime.sleep(60)"
    name = jobs.start("caps", script)
    jobs.until_says(name, "32")
    host = docker_engine.containers.get(name).attrs["HostConfig"]
    jobs.backend.stop(name, grace_s=0)
    jobs.finish(name)
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (256 << 20, 256 << 20, 1_500_000_000)


def test_shared_memory_is_half_of_the_memory_by_default(jobs: Jobs) -> None:
    script = "import os\nshm = os.statvfs('/dev/shm')\nprint(shm.f_blocks * shm.f_frsize)"
    total = int(jobs.run("shm", script).lines[0])
    memory = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert total == pytest.approx(memory / 2, rel=0.01)


def test_isolated_job_has_no_network(jobs: Jobs) -> None:
    script = """
import socket
print(sorted(name for _, name in socket.if_nameindex()), socket.gethostbyname('algo-1'))
"""
    done = jobs.run("isolated", script, EnableNetworkIsolation=True)
    assert done.lines == ("['lo'] 127.0.0.1",)


def test_job_is_lost_when_its_container_is_killed_outside_smsweep(jobs: Jobs, docker_engine: DockerClient) -> None:
    name = jobs.start("killed", SLEEP)
    jobs.until_says(name, "ready")
    docker_engine.containers.get(name).kill()
    status = jobs.finish(name).status
    assert (status.status, status.is_lost) == ("Failed", True)
    assert "killed outside smsweep" in status.failure_reason


def test_job_is_lost_when_its_container_is_stopped_outside_smsweep(
    jobs: Jobs, docker_engine: DockerClient
) -> None:
    name = jobs.start("stopped", SLEEP)
    jobs.until_says(name, "ready")
    docker_engine.containers.get(name).stop()  # as an engine does that is restarted
    status = jobs.finish(name).status
    assert (status.status, status.exit_code, status.is_lost) == ("Failed", 143, True)
    assert status.failure_reason.startswith("stopped outside smsweep; stopped: was sent SIGTERM")


def test_job_is_lost_when_its_script_exits_with_0_after_a_stop_outside_smsweep(
    jobs: Jobs, docker_engine: DockerClient
) -> None:
    script = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    name = jobs.start("saved", script + SLEEP)
    jobs.until_says(name, "ready")
    docker_engine.containers.get(name).stop()
    status = jobs.finish(name).status
    assert (status.status, status.exit_code, status.is_lost) == ("Failed", 0, True)


def test_job_is_lost_when_its_container_is_removed(jobs: Jobs, docker_engine: DockerClient) -> None:
    name = jobs.start("removed", SLEEP)
    jobs.until_says(name, "ready")
    docker_engine.containers.get(name).remove(force=True)
    status = jobs.finish(name).status
    assert (status.status, status.is_lost) == ("Failed", True)


def test_stop_is_effective_before_the_script_has_started(jobs: Jobs) -> None:
    name = jobs.start("early", SLEEP)
    jobs.backend.stop(name)
    assert jobs.finish(name).status.status == "Stopped"
    assert jobs.backend.describe([name])[name].secondary_status == "Stopped"


def test_job_never_runs_when_it_is_stopped_before_its_start(jobs: Jobs) -> None:
    request = jobs.request("never", "print('ran')")
    jobs.backend.close()
    jobs.backend.submit(request)
    jobs.backend.close()  # before or after its supervisor has started it; the next supervisor reads the order
    other = jobs.another()
    other.stop(request["TrainingJobName"])
    done = jobs.finish(request["TrainingJobName"], other)
    assert done.status.status == "Stopped"


def test_jobs_run_concurrently(jobs: Jobs) -> None:
    names = [jobs.start(f"side-{number}", SLEEP) for number in range(3)]
    for name in names:
        jobs.until_says(name, "ready")
    assert {status.status for status in jobs.backend.describe(names).values()} == {"InProgress"}
    for name in names:
        jobs.backend.stop(name, grace_s=0)
    for name in names:
        jobs.finish(name)


def test_large_output_is_copied_in_limited_memory(jobs: Jobs) -> None:
    script = "import sys\nfor n in range(20_000): sys.stdout.write('%07d ' % n + 'x' * 4991 + '\\n')"
    before = memory_bytes()
    name = jobs.start("flood", script)
    cursor, count = "", 0
    while True:
        jobs.backend.describe([name])
        page = jobs.backend.read_logs(name, cursor)
        for line in page.lines:
            assert line.startswith(f"{count:07d} ")
            count += 1
        if page.is_last:
            break
        if page.cursor == cursor:
            jobs.backend.wait(0.05)
        cursor = page.cursor
    assert count == 20_000
    assert memory_bytes() - before < 50 << 20


def memory_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
