"""Functions that run in containers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

import smsweep
from smsweep.backends.docker.doctor import check_python
from smsweep.backends.docker.images import find_python
from smsweep.errors import JobRejected
from tools.docker_engine import IMAGE

SWEEP = {"method": "grid", "parameters": {"x": {"values": [1, 2]}}}
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FACTOR = 3


def make_function(factor: int) -> Callable[[], None]:
    def train() -> None:
        run = smsweep.init()
        smsweep.log({"loss": run.config.x * factor, "in_container": Path("/.dockerenv").exists()})

    return train


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker_engine: DockerClient) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("SMSWEEP_DOCKER_IMAGE", IMAGE)
    monkeypatch.delenv("SMSWEEP_STORE", raising=False)


def test_function_runs_in_containers(docker_engine: DockerClient) -> None:
    if find_python(docker_engine.api, IMAGE) != PYTHON:
        pytest.skip(f"{IMAGE} has another Python than {PYTHON}")
    smsweep.run(SWEEP, function=make_function(FACTOR), backend="docker", parallel=2)
    (sweep,) = smsweep.Api().sweeps()
    assert [run.summary for run in sweep.runs] == [{"loss": 3, "in_container": 1}, {"loss": 6, "in_container": 1}]


def test_image_with_another_python_is_refused(docker_engine: DockerClient) -> None:
    found = find_python(docker_engine.api, IMAGE)
    request: dict[str, Any] = {"AlgorithmSpecification": {"TrainingImage": IMAGE}}
    check_python(request, os.environ, found)
    with pytest.raises(
        JobRejected, match=rf"image {IMAGE} has Python {found}, .* an image such as python:3\.9-slim"
    ):
        check_python(request, os.environ, "3.9")
