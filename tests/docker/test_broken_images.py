"""Errors for images that cannot be pulled or cannot train: one message, an exit code, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker import DockerClient

from tests.docker.registry import Registry
from tests.support.working_dir import WorkingDir

SWEEP = {"program": "train.py", "method": "grid", "parameters": {"a": {"values": [1, 2]}}}
IMAGES = {
    "My Image:latest": "image My Image:latest is not a valid image name; use a name such as repository/name:tag",
    "127.0.0.1:1/train:1": 'cannot be pulled: Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: '
    "connection refused; check its name, log in to its registry (`docker login`), or build it",
}


def run(folder: Path, image: str, code: int) -> str:
    """Run a sweep with an image, and return its messages."""
    workdir = WorkingDir(folder, {"train.py": "", "sweep.yaml": SWEEP, "job.yaml": {"image_uri": image}})
    return workdir.call("run", "sweep.yaml", "--job", "job.yaml", "--backend", "docker", code=code).stderr


@pytest.mark.parametrize(("image", "message"), IMAGES.items(), ids=IMAGES.keys())
def test_missing_image_is_reported_before_the_sweep_is_created(
    docker_engine: DockerClient, tmp_path: Path, image: str, message: str
) -> None:
    err = run(tmp_path, image, code=2)
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("store.db"))


def test_image_without_python_gets_an_error(docker_engine: DockerClient, tmp_path: Path) -> None:
    with Registry(text=str(tmp_path)).serve() as registry:
        registry.may_go_on.set()
        try:
            err = run(tmp_path, registry.address, code=3)
            assert "has no `python3` on its PATH; a job needs one, 3.8 or newer" in err
            assert "no trial of this sweep can start" in err  # so that the second trial is spared
        finally:
            docker_engine.images.remove(registry.address, force=True)
