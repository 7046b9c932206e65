"""Fixtures for tests with a real Docker Engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import APIError

from tests.support.jobs import Jobs
from tools.docker_engine import IMAGE
from tools.pins import BASE, BUILD, POSTGRES, pinned

ROOT = Path(__file__).parents[2]
# The files that agent.Dockerfile copies.
PARTS = ("smsweep", "container", "pyproject.toml", "README.md", "LICENSE", "requirements", ".dockerignore")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)


@pytest.fixture
def jobs(docker_engine: DockerClient, tmp_path: Path) -> Iterator[Jobs]:
    opened = Jobs(folder=tmp_path, kind="docker", image=IMAGE)
    yield opened
    opened.close()
    remaining = job_containers(docker_engine, tmp_path)
    for container in remaining:
        container.remove(force=True)
    assert not remaining, "the test has not removed its containers"


@pytest.fixture(scope="session")
def job_image(docker_engine: DockerClient) -> str:
    """The image of container/Dockerfile, built on the base image."""
    return build(docker_engine, "smsweep-test-job")


@pytest.fixture(scope="session")
def agent_context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build context of container/agent.Dockerfile, with wheels that pip on this machine has downloaded."""
    context = tmp_path_factory.mktemp("context")
    for name in PARTS:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, context / name)
    pip = [sys.executable, "-m", "pip", "--quiet", *pinned("download", BASE, POSTGRES, BUILD)]
    subprocess.run([*pip, "--dest", str(context / "wheels")], check=True)
    return context


@pytest.fixture(scope="session")
def agent_image(docker_engine: DockerClient, agent_context: Path) -> Iterator[str]:
    """The image of container/agent.Dockerfile."""
    built = build_agent(docker_engine, agent_context)
    yield built
    with suppress(APIError):
        docker_engine.images.remove(built, force=True)


def build_agent(engine: DockerClient, context: Path) -> str:
    """Build container/agent.Dockerfile on the base image, without a package index, and return the image's id."""
    arguments = {"BASE": IMAGE, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/build"}
    built, _ = engine.images.build(
        path=str(context), dockerfile="container/agent.Dockerfile", buildargs=arguments, rm=True, forcerm=True
    )
    return str(built.id)


def build(engine: DockerClient, tag: str, **arguments: str) -> str:
    """Build container/Dockerfile on the base image, and return its tag. Remove the previous image of the tag."""
    before = {image.id for image in engine.images.list(tag)}
    built, _ = engine.images.build(
        path=str(ROOT), dockerfile="container/Dockerfile", buildargs={"BASE": IMAGE, **arguments}, tag=tag, rm=True
    )
    for old in before - {built.id}:
        with suppress(APIError):  # the image is the base of a newer one
            engine.images.remove(str(old), force=True)
    return tag


def job_containers(engine: DockerClient, folder: Path) -> list[Any]:
    """Return the containers of jobs and of installations below a test's folder, running or not."""
    found = engine.containers.list(all=True, ignore_removed=True)
    keys = ("smsweep.folder", "smsweep.scratch")
    return [each for each in found if any(each.labels.get(key, "").startswith(f"{folder}/") for key in keys)]
