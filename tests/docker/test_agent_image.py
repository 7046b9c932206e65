"""The image of container/agent.Dockerfile."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker import DockerClient

from tests.desk import Desk, grid


@pytest.mark.slow
def test_the_agent_image_works_off_a_sweep(agent_image: str, docker_engine: DockerClient, tmp_path: Path) -> None:
    desk = Desk(
        tmp_path,
        {
            "train.py": "import smsweep\nrun = smsweep.init()\nsmsweep.log({'loss': run.config.x})",
            "sweep.yaml": grid(x=[1, 2]),
        },
    )
    sweep_id = desk.sweep()
    said = docker_engine.containers.run(
        agent_image,
        ["agent", sweep_id],
        volumes={str(tmp_path / ".smsweep"): {"bind": "/var/lib/smsweep", "mode": "rw"}},
        remove=True,
        stderr=True,
    )
    assert b"2 finished" in said
    assert [trial["state"] for trial in desk.trials(sweep_id)] == ["finished", "finished"]
