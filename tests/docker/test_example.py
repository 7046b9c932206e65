"""The README's example with trials in containers, and a SIGKILL of its agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from tests.docker.conftest import ROOT
from tests.support.walkthrough import NEW_PYTHON, SMSWEEP
from tools.docker_engine import IMAGE

EXAMPLE = ROOT / "examples" / "digits"
SLOW = """
import sys, time
import smsweep
with smsweep.init() as run:
    for step in range(4):
        run.log({"loss": run.config.a + step}, step=step)
        time.sleep(0.3)
"""


def environ(folder: Path) -> dict[str, str]:
    # The plain base image, so that a layer with the requirements lasts from one run of the tests to the next.
    return {**os.environ, "SMSWEEP_DIR": str(folder), "SMSWEEP_DOCKER_IMAGE": IMAGE}


def trials(sweep_id: str, env: dict[str, str]) -> list[dict[str, Any]]:
    listing = subprocess.run([*SMSWEEP, "trials", sweep_id, "--json"], env=env, capture_output=True, check=True)
    return list(json.loads(listing.stdout))


def run_example(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    env = environ(folder)
    sweep, job = str(EXAMPLE / "sweep.yaml"), str(EXAMPLE / "job.yaml")
    command = [*SMSWEEP, "run", sweep, "--job", job, "--seed", "1", "--count", "4", *arguments]
    done = subprocess.run([*command, "--parallel", "2"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return trials(done.stdout.split()[0], env)


def test_containers_and_processes_have_the_same_trials_and_metrics(
    tmp_path: Path, docker_engine: DockerClient
) -> None:
    in_docker = run_example(tmp_path / "docker", "--backend", "docker")
    in_process = run_example(tmp_path / "process")
    assert [trial["params"] for trial in in_docker] == [trial["params"] for trial in in_process]
    assert [trial["state"] for trial in in_docker] == ["finished"] * 4
    for one, other in zip(in_docker, in_process, strict=True):
        # Not to the last digit: the container's scikit-learn may be another version.
        assert one["metrics"] == pytest.approx(other["metrics"], abs=0.02)


def test_next_agent_continues_after_a_kill(tmp_path: Path, docker_engine: DockerClient) -> None:
    env = environ(tmp_path / "state")
    (tmp_path / "train.py").write_text(SLOW)
    (tmp_path / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {a: {values: [1, 2, 3]}}\n"
    )
    command = [*NEW_PYTHON, "run", "sweep.yaml", "--backend", "docker", "--parallel", "2"]
    agent = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert agent.stdout is not None
    sweep_id = agent.stdout.readline().decode().strip()
    label: dict[str, str | list[str] | bool] = {"label": f"smsweep.tag.smsweep:sweep={sweep_id}"}
    deadline = time.monotonic() + 60
    while len(docker_engine.containers.list(filters=label)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(agent.pid, signal.SIGKILL)
    agent.wait()
    agent.stdout.close()
    before = {container.id for container in docker_engine.containers.list(all=True, filters=label)}
    assert len(before) == 2, "the containers outlive their agent"
    again = [*SMSWEEP, "agent", sweep_id, "--backend", "docker", "--parallel", "2"]
    done = subprocess.run(again, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = trials(sweep_id, env)
    assert [(trial["state"], trial["attempt"]) for trial in found] == [("finished", 0)] * 3
    assert [trial["metrics"]["loss"] for trial in found] == [4, 5, 6]
    assert docker_engine.containers.list(all=True, filters=label) == []
