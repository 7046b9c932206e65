"""The image of container/agent.Dockerfile."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from docker import DockerClient
from docker.errors import APIError

from tests.desk import Desk, grid
from tests.docker.conftest import ROOT
from tests.engine import IMAGE

PARTS = ("smsweep", "container", "pyproject.toml", "README.md", "LICENSE", "requirements.txt", ".dockerignore")


@pytest.fixture
def agent_image(docker_engine: DockerClient, tmp_path: Path) -> Iterator[str]:
    """Built as container/README.md says, from wheels that were fetched by this machine's pip."""
    context = tmp_path / "context"
    context.mkdir()
    for name in PARTS:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, context / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(context / "wheels")]
    pinned = ["-c", str(ROOT / "requirements.txt"), "hatchling>=1.27"]
    subprocess.run([*pip, *pinned, f"{ROOT}[postgres]"], check=True)
    built, _ = docker_engine.images.build(
        path=str(context),
        dockerfile="container/agent.Dockerfile",
        buildargs={"BASE": IMAGE, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/build"},
        rm=True,
    )
    yield str(built.id)
    with suppress(APIError):
        docker_engine.images.remove(str(built.id), force=True)


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
