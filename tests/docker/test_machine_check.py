"""The check of the engine and the image before a sweep is created, in this process and without a test double."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient
from docker.errors import ImageNotFound

import smsweep
from smsweep.errors import JobRejected
from smsweep.services.sweeps.plan import plan, preflight
from tests.docker.registry import FOREIGN_PROGRAM, Registry
from tests.support.working_dir import grid, use_own_workspace
from tools.docker_engine import IMAGE

DEFAULT_IMAGE = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
TRAIN = "import smsweep\nsmsweep.log({'loss': smsweep.init().config.x})\n"


@pytest.fixture
def folder(tmp_path: Path, docker_engine: DockerClient, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return use_own_workspace(tmp_path, monkeypatch)


@pytest.fixture
def default_image(docker_engine: DockerClient) -> Iterator[str]:
    """The default image: the base image of the tests, unless the engine has the real image."""
    try:
        docker_engine.images.get(DEFAULT_IMAGE)
        yield DEFAULT_IMAGE
    except ImageNotFound:
        docker_engine.images.get(IMAGE).tag(DEFAULT_IMAGE)
        yield DEFAULT_IMAGE
        docker_engine.images.remove(DEFAULT_IMAGE)


def test_sweep_without_an_image_runs_in_the_default_image(folder: Path, default_image: str) -> None:
    ended = smsweep.run(grid(x=[1]), backend="docker").ended
    assert {state.value: count for state, count in ended.items()} == {"finished": 1}


def test_run_pulls_a_missing_image_before_the_sweep_is_created(folder: Path, docker_engine: DockerClient) -> None:
    with Registry(text=str(folder)).serve() as registry:
        registry.may_go_on.set()
        preflight(grid(x=[1]), backend="docker", job={"image_uri": registry.address}, pulls=True)
        docker_engine.images.remove(registry.address)
    assert not (folder / "sweeps").exists()


def test_plan_checks_the_registry_and_pulls_nothing(folder: Path, docker_engine: DockerClient) -> None:
    with Registry(text=str(folder)).serve() as registry:
        plan(grid(x=[1]), backend="docker", job={"image_uri": registry.address})
        with pytest.raises(ImageNotFound):
            docker_engine.images.get(registry.address)
    with pytest.raises(JobRejected, match=r"cannot be pulled: .*connection refused; check its name"):
        plan(grid(x=[1]), backend="docker", job={"image_uri": registry.address})


def test_agent_reports_a_missing_image_and_its_sweep_stays_pending(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSWEEP_DOCKER_IMAGE", "localhost:9/no-such-image")
    sweep_id = smsweep.sweep(grid(x=[1]))
    with pytest.raises(JobRejected, match="image localhost:9/no-such-image is not on this machine and cannot be"):
        smsweep.agent(sweep_id, backend="docker")
    assert list(smsweep.Api().sweep(sweep_id).runs) == []


def test_image_of_another_platform_is_reported_before_the_sweep_is_created(
    folder: Path, docker_engine: DockerClient
) -> None:
    with Registry(text=str(folder), architecture="s390x", python=FOREIGN_PROGRAM).serve() as registry:
        registry.may_go_on.set()
        with pytest.raises(
            JobRejected, match=r"is for s390x, but this machine is .*; `docker pull --platform linux/"
        ):
            smsweep.run(grid(x=[1]), backend="docker", job={"image_uri": registry.address})
        docker_engine.images.remove(registry.address)
    assert not (folder / "sweeps").exists()
    assert not docker_engine.containers.list(all=True, filters={"ancestor": registry.address})
