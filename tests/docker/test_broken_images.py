"""Errors for images that cannot be pulled or cannot train: one message, an exit code, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker import DockerClient

from tests.docker.registry import Registry
from tests.support.desk import WorkingDir

SWEEP = {"program": "train.py", "method": "grid", "parameters": {"a": {"values": [1, 2]}}}
IMAGES = {
    "My Image:latest": "image My Image:latest is not a valid image name; use a name such as repository/name:tag",
    "127.0.0.1:1/train:1": 'cannot be pulled: Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: '
    "connection refused; check its name, log in to its registry (`docker login`), or build it",
}


def expect(folder: Path, image: str, message: str) -> None:
    desk = WorkingDir(folder, {"train.py": "", "sweep.yaml": SWEEP, "job.yaml": {"image_uri": image}})
    err = desk.call("run", "sweep.yaml", "--job", "job.yaml", "--backend", "docker", code=3).stderr
    assert message in err
    assert "no trial of this sweep can start" in err  # so that the second trial is spared
    assert "Traceback" not in err


@pytest.mark.parametrize(("image", "message"), IMAGES.items(), ids=IMAGES.keys())
def test_missing_image_gets_an_error(
    docker_engine: DockerClient, tmp_path: Path, image: str, message: str
) -> None:
    expect(tmp_path, image, message)


def test_image_without_python_gets_an_error(docker_engine: DockerClient, tmp_path: Path) -> None:
    with Registry(text=str(tmp_path)).serve() as registry:
        registry.may_go_on.set()
        try:
            expect(tmp_path, registry.address, "has no `python3` on its PATH; a job needs one, 3.8 or newer")
        finally:
            docker_engine.images.remove(registry.address, force=True)
