"""A script written for W&B in a container, which gets wandb from the source's requirements.txt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from smsweep.backends.docker.requirements_image import LABEL
from tests.support.working_dir import WorkingDir, grid
from tools.docker_engine import IMAGE
from tools.environments import wheels

pytestmark = pytest.mark.oracle

TRAIN = """
import wandb
run = wandb.init(config={"x": 7, "opt": {"name": "sgd", "m": 0.5}})
for epoch in range(2):
    run.log({"loss": run.config.x + 1 / (epoch + 1), "deep": {"epoch": epoch}})
print("config", dict(run.config), run.id)
"""


@pytest.fixture(autouse=True)
def _leaves_no_layer(docker_engine: DockerClient) -> Iterator[None]:
    before = {image.id for image in docker_engine.images.list(filters={"label": LABEL})}
    yield
    for image in docker_engine.images.list(filters={"label": LABEL}):
        if image.id not in before:
            docker_engine.images.remove(str(image.id), force=True)


def test_wandb_script_runs_as_a_trial(tmp_path: Path, docker_engine: DockerClient) -> None:
    workdir = WorkingDir(
        tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2]), "requirements.txt": "wandb==0.31.0\n"}
    )
    workdir.environ |= {
        "SMSWEEP_BACKEND": "docker",
        "SMSWEEP_DOCKER_IMAGE": IMAGE,
        "PIP_FIND_LINKS": str(wheels("wandb")),
        "PIP_NO_INDEX": "1",
    }
    sweep_id = workdir.run()
    trials = workdir.trials(sweep_id)
    assert [(trial["state"], trial["metrics"]) for trial in trials] == [
        ("finished", {"loss": 1.5, "deep.epoch": 1}),
        ("finished", {"loss": 2.5, "deep.epoch": 1}),
    ]
    offline = sorted(tmp_path.glob(".smsweep/jobs/*/ml/output/data/wandb/offline-run-*"))
    assert [folder.name.rpartition(f"-{sweep_id}")[2] for folder in offline] == ["-0", "-1"]
