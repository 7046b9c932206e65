"""Sweeps whose trials run in containers, through the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker import DockerClient

from tests.desk import Desk, grid
from tests.engine import IMAGE

TRAIN = "import smsweep\nsmsweep.log({'loss': smsweep.init().config.x})\n"


@pytest.fixture
def desk(tmp_path: Path, docker_engine: DockerClient) -> Desk:
    """A sweep of four trials."""
    made = Desk(tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2, 3, 4]), "job.yaml": {"max_run": 60}})
    made.environ |= {"SMSWEEP_BACKEND": "docker", "SMSWEEP_DOCKER_IMAGE": IMAGE}
    return made


def test_a_broken_requirement_stops_the_sweep_at_its_first_trial(desk: Desk) -> None:
    (desk.folder / "requirements.txt").write_text("--no-index\nno-such-package-anywhere==1.0\n")
    said = desk.call("run", "sweep.yaml", code=3)
    assert "error: the source's requirements cannot be installed, so this agent starts no more" in said.stderr
    assert "No matching distribution found for no-such-package-anywhere==1.0" in said.stderr
    assert [trial["state"] for trial in desk.trials(said.stdout.strip())] == ["failed"]
