"""The image of container/agent.Dockerfile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from docker import DockerClient
from docker.errors import BuildError

from tests.docker.conftest import build_agent
from tests.docker.wheels import make_wheel
from tests.support.working_dir import WorkingDir, grid


@pytest.mark.slow
def test_agent_image_runs_a_sweep(agent_image: str, docker_engine: DockerClient, tmp_path: Path) -> None:
    workdir = WorkingDir(
        tmp_path,
        {
            "train.py": "import smsweep\nrun = smsweep.init()\nsmsweep.log({'loss': run.config.x})",
            "sweep.yaml": grid(x=[1, 2]),
        },
    )
    sweep_id = workdir.sweep()
    output = docker_engine.containers.run(
        agent_image,
        ["agent", sweep_id],
        volumes={str(tmp_path / ".smsweep"): {"bind": "/var/lib/smsweep", "mode": "rw"}},
        remove=True,
        stderr=True,
    )
    assert b"2 finished" in output
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["finished", "finished"]


@pytest.mark.slow
@pytest.mark.parametrize(("project", "stage"), [("hatchling", "build"), ("typing_inspection", "final")])
def test_replaced_wheel_fails_the_build(
    project: str, stage: str, agent_context: Path, docker_engine: DockerClient, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    shutil.copytree(agent_context, context)
    (wheel,) = context.glob(f"wheels/{project}-*.whl")
    make_wheel(context / "wheels", project, wheel.name.split("-")[1])
    with pytest.raises(BuildError) as refused:
        build_agent(docker_engine, context)
    output = "".join(str(line.get("stream", "")) for line in refused.value.build_log)
    assert "DO NOT MATCH THE HASHES" in output
    assert (" AS build" in output, "COPY --from=build" in output) == (True, stage == "final")
