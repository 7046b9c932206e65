"""Sweeps whose trials run in containers, through the command."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from docker import DockerClient

from tests.support.working_dir import TIMEOUT_S, WorkingDir, grid
from tools.docker_engine import IMAGE

TRAIN = "import smsweep\nsmsweep.log({'loss': smsweep.init().config.x})\n"
PATIENT = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: exit(0))
print("at work", flush=True)
time.sleep(60)
"""
STUBBORN = PATIENT.replace("lambda *_: exit(0)", "signal.SIG_IGN")


@pytest.fixture
def workdir(tmp_path: Path, docker_engine: DockerClient) -> WorkingDir:
    """A sweep of four trials."""
    directory = WorkingDir(
        tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2, 3, 4]), "job.yaml": {"max_run": 60}}
    )
    directory.environ |= {"SMSWEEP_BACKEND": "docker", "SMSWEEP_DOCKER_IMAGE": IMAGE}
    return directory


def test_invalid_requirement_stops_the_sweep_at_its_first_trial(workdir: WorkingDir) -> None:
    (workdir.folder / "requirements.txt").write_text("--no-index\nno-such-package-anywhere==1.0\n")
    ended = workdir.call("run", "sweep.yaml", code=3)
    assert "error: no trial of this sweep can start, so this agent starts no more" in ended.stderr
    assert "No matching distribution found for no-such-package-anywhere==1.0" in ended.stderr
    assert [trial["state"] for trial in workdir.trials(ended.stdout.strip())] == ["failed"]


def test_trial_gets_another_container_name_when_its_name_is_taken(
    workdir: WorkingDir, docker_engine: DockerClient
) -> None:
    sweep_id = workdir.sweep()
    other = docker_engine.containers.create(IMAGE, ["true"], name=f"smsweep-{sweep_id}-0-0")
    try:
        workdir.call("agent", sweep_id, "--count", "2")
        trial = workdir.trials(sweep_id)[0]
        assert (trial["state"], trial["attempt"]) == ("finished", 1)
        assert docker_engine.containers.get(str(other.name)).status == "created"
    finally:
        other.remove()


@pytest.mark.parametrize(("presses", "message"), [(2, "stopping running trials"), (3, "killing running trials")])
def test_ctrl_c_removes_the_containers(
    workdir: WorkingDir, docker_engine: DockerClient, presses: int, message: str
) -> None:
    (workdir.folder / "train.py").write_text(STUBBORN if presses == 3 else PATIENT)
    sweep_id = workdir.sweep()
    label: dict[str, str | list[str] | bool] = {"label": f"smsweep.tag.smsweep:sweep={sweep_id}"}
    with workdir.start("agent", sweep_id, "--parallel", "2") as agent:
        deadline = time.monotonic() + TIMEOUT_S
        while sum("at work" in log.read_text() for log in workdir.folder.glob(".smsweep/jobs/*/output.log")) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for _ in range(presses):
            agent.send_signal(signal.SIGINT)
            time.sleep(0.3)  # two signals at the same time count as one
        _, output = agent.communicate(timeout=TIMEOUT_S)
    assert (agent.returncode, message in output) == (130, True)
    assert {trial["state"] for trial in workdir.trials(sweep_id)} == {"killed"}
    assert docker_engine.containers.list(all=True, filters=label) == []


def test_framework_uses_the_image_of_aws(workdir: WorkingDir, docker_engine: DockerClient) -> None:
    image = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training"
    tag = "2.3.0-cpu-py311"
    (workdir.folder / "job.yaml").write_text('framework: pytorch\nframework_version: "2.3.0"\npy_version: py311\n')
    workdir.environ |= {"AWS_REGION": "eu-west-1"}
    docker_engine.images.get(IMAGE).tag(image, tag)
    try:
        sweep_id = workdir.run("--job", "job.yaml", "--count", "1")
        (request,) = (workdir.folder / ".smsweep" / "jobs").glob("*/request.json")
        assert f'"TrainingImage": "{image}:{tag}"' in request.read_text()
        assert workdir.trials(sweep_id)[0]["state"] == "finished"
    finally:
        docker_engine.images.remove(f"{image}:{tag}")


def test_unknown_framework_version_creates_no_sweep(workdir: WorkingDir) -> None:
    (workdir.folder / "job.yaml").write_text(
        'framework: huggingface\ntransformers_version: "0.1"\npytorch_version: "9.9"\npy_version: py311\n'
    )
    ended = workdir.call("run", "sweep.yaml", "--job", "job.yaml", code=2)
    assert "no huggingface image is known for transformers 0.1 with pytorch 9.9" in ended.stderr
    assert not (workdir.folder / ".smsweep" / "store.db").exists()
