"""Sweeps of images that run their own program: `entrypoint: image`. The image has a shell and no Python."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from tests.docker.conftest import job_containers
from tests.support.account import BUCKET, ROLE, Account, open_account
from tests.support.working_dir import TIMEOUT_S, WorkingDir, grid
from tools.docker_engine import IMAGE

TAG = "smsweep-test-program"
DOCKERFILE = rf"""
FROM {IMAGE} AS base
RUN for file in /bin/dash /bin/sleep $(ldd /bin/dash /bin/sleep | grep -o '/[^ :]*'); do \
      mkdir -p "/only$(dirname "$file")" && cp -L "$file" "/only$file"; \
    done && mv /only/bin/dash /only/bin/sh
FROM scratch
COPY --from=base /only /
COPY train /bin/train
"""
# A shell has no JSON parser: the value of `x` is the text after its key, up to the next quote.
TRAIN = r"""#!/bin/sh
trap 'echo stopped by SIGTERM; exit 0' TERM
read -r params < /opt/ml/input/config/hyperparameters.json
echo "params: $params"
echo "arguments: $*"
for channel in /opt/ml/input/data/*; do echo "channel: ${channel##*/}"; done
x=${params#*\"x\": \"}; x=${x%%\"*}
case $x in
  13) echo 'no luck' > /opt/ml/output/failure; exit 3 ;;
esac
step=1
while [ $step -le 4 ]; do
  echo "step $step loss=$x.$step;"
  if [ "$x" -ge 100 ]; then sleep 0.4; fi
  step=$((step + 1))
done
if [ "$x" -ge 1000 ]; then while :; do sleep 0.1; done; fi
echo trained > /opt/ml/model/weights
"""
JOB = {
    "entrypoint": "image",
    "image_uri": TAG,
    "metric_definitions": [{"Name": "loss", "Regex": r"loss=([0-9.]+);"}],
    "max_run": 60,
}


@pytest.fixture(scope="module")
def image(docker_engine: DockerClient) -> Iterator[str]:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, text in (("Dockerfile", DOCKERFILE), ("train", TRAIN)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
    context.seek(0)
    docker_engine.images.build(fileobj=context, custom_context=True, tag=TAG, rm=True)
    yield TAG
    docker_engine.images.remove(TAG, force=True)


def sweep_of(**values: Any) -> dict[str, Any]:
    config = grid(**values)
    del config["program"]
    return config


@pytest.fixture
def workdir(tmp_path: Path, image: str) -> WorkingDir:
    directory = WorkingDir(tmp_path, {"sweep.yaml": sweep_of(x=[2, 1], lr=[0.1], optimizer=["adam"]), "job.yaml": JOB})
    directory.environ |= {"SMSWEEP_BACKEND": "docker"}
    return directory


def log_of(workdir: WorkingDir, label: str) -> str:
    return workdir.call("logs", label).stdout


def test_image_without_python_runs_a_sweep(workdir: WorkingDir, docker_engine: DockerClient) -> None:
    sweep_id = workdir.run("--job", "job.yaml")
    trials = workdir.trials(sweep_id)
    assert [(trial["state"], trial["metrics"]["loss"]) for trial in trials] == [("finished", 2.4), ("finished", 1.4)]
    log = log_of(workdir, f"{sweep_id}/0")
    assert 'params: {"lr": "0.1", "optimizer": "adam", "x": "2"}' in log
    assert "arguments: train" not in log
    assert "channel: smsweep" not in log
    assert not list(workdir.folder.glob(".smsweep/assets/*")), "the jobs need no runtime"
    assert not job_containers(docker_engine, workdir.folder)
