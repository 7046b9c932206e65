"""A trial that ran as a process, again in a container."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from docker import DockerClient

from tests.support.working_dir import WorkingDir, grid
from tools.docker_engine import IMAGE

TRAIN = "import smsweep\nfor step in range(3):\n    smsweep.log({'loss': smsweep.init().config.x / (step + 1)})\n"


@pytest.fixture
def workdir(tmp_path: Path, docker_engine: DockerClient) -> WorkingDir:
    directory = WorkingDir(
        tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2]), "job.yaml": {"image_uri": IMAGE}}
    )
    directory.environ |= {"SMSWEEP_DOCKER_IMAGE": IMAGE}
    return directory


def test_process_trial_is_reproduced_in_a_container(workdir: WorkingDir, docker_engine: DockerClient) -> None:
    sweep_id = workdir.call("run", "sweep.yaml", "--job", "job.yaml", "-q").stdout.strip()
    found = json.loads(workdir.call("reproduce", f"{sweep_id}/1", "--backend", "docker", "--json", "-q").stdout)
    assert found["verdict"] == "equal"
    assert {each["name"]: each["steps"] for each in found["metrics"]}["loss"] == 3
    facts = {fact["name"]: (fact["a"], fact["b"]) for fact in found["facts"]}
    assert facts["backend"] == ("process", "docker")
    assert facts["image digest"] == (None, docker_engine.images.get(IMAGE).id)
    assert "packages.pytest" in facts  # installed on this machine, but not in the image
    twice = json.loads(workdir.call("reproduce", found["again"], "--json", "-q").stdout)
    assert (twice["verdict"], twice["facts"]) == ("equal", [])
