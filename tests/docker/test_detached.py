"""Detached agents: an agent that runs as a training job, in a container of the agent image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from smsweep.core.json_documents import DetachedAgentDocument
from smsweep.services.agents import detach
from smsweep.services.sweeps import create
from smsweep.services.views import json_views
from tests.docker.conftest import job_containers
from tests.sagemaker.conftest import AGENT_ROLE, Account
from tests.sagemaker.conftest import account as account  # a fixture
from tests.sagemaker.test_detached import until
from tests.support.account import OPEN_S3

# Until an object of that name is in the bucket, which is the only place that all containers can read.
TRAIN = f"""{OPEN_S3}
import urllib.error, smsweep
run = smsweep.init()
smsweep.log({{"loss": run.config["x"] * 2}})
while True:
    try:
        open_s3(run.config["gate"]).close()
        break
    except urllib.error.HTTPError:
        time.sleep(0.3)
"""


def agent_of(sweep_id: str) -> DetachedAgentDocument:
    agent = json_views.show(sweep_id)["agent"]
    assert agent is not None
    return agent


@pytest.mark.slow
@pytest.mark.parametrize("account", ["docker"], indirect=True)
def test_killed_agent_container_is_replaced(
    account: Account, agent_image: str, docker_engine: DockerClient, tmp_path: Path
) -> None:
    (account.folder / "train.py").write_text(TRAIN)
    config = account.sweep(3)
    config["parameters"]["gate"] = {"value": f"{account.bucket}/go"}
    sweep_id = create.sweep(config, job={**account.job, "agent": {"role": AGENT_ROLE, "image_uri": agent_image}})
    detach.start_agent_job(sweep_id, {"parallel": 2})
    until(lambda: [trial["state"] for trial in json_views.list_trials(sweep_id)] == ["running"] * 2)
    (agent,) = agents(docker_engine, tmp_path)
    agent.kill()
    until(lambda: agent_of(sweep_id)["status"] == "Failed")

    detach.start_agent_job(sweep_id, {"parallel": 2})
    account.s3.put_object(Bucket=account.bucket, Key="go", Body=b"")
    until(lambda: agent_of(sweep_id)["status"] == "Completed")
    trials = json_views.list_trials(sweep_id)
    assert [(trial["state"], trial["attempt"]) for trial in trials] == [("finished", 0)] * 3
    assert [trial["metrics"]["loss"] for trial in trials] == [0, 2, 4]
    numbers = ("agent-0", "agent-1", "0-0", "1-0", "2-0")
    assert account.created() == {f"smsweep-{sweep_id}-{number}": 1 for number in numbers}
    assert json_views.show(sweep_id)["state"] == "finished"


def agents(engine: DockerClient, folder: Path) -> list[Any]:
    return [
        container
        for container in job_containers(engine, folder)
        if "-agent-" in container.name and container.status == "running"
    ]
