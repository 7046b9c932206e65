"""Training jobs through a job queue of AWS Batch."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

import smsweep
from smsweep.aws import request_model
from smsweep.backends.aws_batch.backend import JobQueue, submission
from smsweep.errors import JobRejected, UsageError
from smsweep.services.agents import run_agent
from smsweep.services.agents.run_agent import run
from smsweep.services.sweeps import control, create
from smsweep.services.views import json_views
from smsweep.services.views import logs as log_views
from tests.sagemaker.conftest import Account

LONG = """
import smsweep, time
run = smsweep.init()
print("begun", flush=True)
time.sleep(60)
"""


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SMSWEEP_BATCH_QUEUE", "gpus")
    return "gpus"


def listed(account: Account, queue: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.client("batch").list_service_jobs(
        jobQueue=queue, filters=[{"name": "JOB_NAME", "values": ["smsweep-*"]}]
    )["jobSummaryList"]
    return found


def test_sweep_runs_through_a_job_queue(account: Account, queue: str) -> None:
    account.emulator.faults.set({"quota": 1})  # the queue waits for capacity, and smsweep gets no error
    outcome = run(account.sweep(4), job=account.job, backend="batch", parallel=4)
    assert outcome.ended == {"finished": 4}
    trials = account.trials()
    assert [trial.metrics["loss"].last for trial in trials] == [0, 2, 4, 6]
    assert {trial.place for trial in trials} == {"batch@us-east-1"}
    jobs = listed(account, queue)
    assert sorted(job["jobName"] for job in jobs) == [trial.job_name for trial in trials]
    assert {job["status"] for job in jobs} == {"SUCCEEDED"}
    assert all(
        name.startswith("AWSBatch")
        for name in (job["latestAttempt"]["serviceResourceId"]["value"].rpartition("/")[2] for job in jobs)
    )
    assert all(trial.usage["instance_s"] > 0 for trial in trials)
    assert "x is 2" in "\n".join(log_views.read_log(trials[2].label))
    assert json_views.show(trials[0].sweep_id)["waiting"] == []


def test_lost_response_starts_no_second_job(account: Account, queue: str) -> None:
    account.emulator.faults.set({"lose_response": [{"action": "SubmitServiceJob"}]})
    assert run(account.sweep(2), job=account.job, backend="batch", parallel=2).ended == {"finished": 2}
    assert len(listed(account, queue)) == 2
    lost = [entry for entry in account.emulator.ledger.read() if entry.get("is_lost")]
    assert [entry["action"] for entry in lost] == ["SubmitServiceJob"]


def test_job_is_stopped_in_the_queue_and_while_running(account: Account, queue: str) -> None:
    (account.folder / "train.py").write_text(LONG)
    account.emulator.faults.set({"quota": 1})
    sweep_id = create.sweep(account.sweep(2), job=account.job)

    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.3):
            if len(account.trials()) == 2 and "begun" in "".join(log_views.read_log(f"{sweep_id}/0")):
                control.set_state(sweep_id, "cancel")
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        assert run_agent.agent(sweep_id, backend="batch", parallel=2).ended == {"killed": 2}
    finally:
        stop.set()
        thread.join()
    jobs = listed(account, queue)
    assert {job["isTerminated"] for job in jobs} == {True}
    assert sorted("latestAttempt" in job for job in jobs) == [False, True]


def test_rejected_job_fails_with_the_message_of_sagemaker(account: Account, queue: str) -> None:
    account.emulator.faults.set({"quota": 0})
    client = account.client("batch")
    request = {"TrainingJobName": "smsweep-x-0-0", "RoleArn": "no role"}
    client.submit_service_job(**submission(JobQueue(name=queue), request))
    (job,) = listed(account, queue)
    assert job["status"] == "FAILED"
    assert "roleArn" in job["statusReason"]
    with pytest.raises(ClientError, match="clientToken"):
        client.submit_service_job(**submission(JobQueue(name=queue), request))


def test_job_queue_is_listed_in_pages(account: Account, queue: str) -> None:
    client = account.client("batch")
    for number in range(3):
        request = {"TrainingJobName": f"smsweep-x-{number}-0", "RoleArn": "no role"}
        client.submit_service_job(**submission(JobQueue(name=queue), request))
    listing = client.get_paginator("list_service_jobs").paginate(
        jobQueue=queue, jobStatus="FAILED", PaginationConfig={"PageSize": 2}
    )
    pages = [[item["jobName"] for item in page["jobSummaryList"]] for page in listing]
    assert [len(page) for page in pages] == [2, 1]
    assert sorted(name for page in pages for name in page) == [f"smsweep-x-{number}-0" for number in range(3)]
    with pytest.raises(ClientError, match="pagination token"):
        client.list_service_jobs(jobQueue=queue, nextToken="zzz")


def test_submission_matches_the_model_of_botocore(account: Account) -> None:
    request = {"TrainingJobName": "smsweep-x-0-0", "Tags": [{"Key": "smsweep:sweep", "Value": "x"}]}
    created = submission(JobQueue(name="gpus", share="team", priority=10), request)
    assert list(request_model.violations("SubmitServiceJob", created)) == []
    assert json.loads(created["serviceRequestPayload"]) == request
    assert (created["shareIdentifier"], created["schedulingPriority"]) == ("team", 10)


def test_missing_job_queue_is_reported(account: Account) -> None:
    with pytest.raises(UsageError, match="SMSWEEP_BATCH_QUEUE"):
        run(account.sweep(1), job=account.job, backend="batch")


def test_function_runs_through_a_job_queue(account: Account, queue: str) -> None:
    factor = 3

    def train() -> None:
        smsweep.log({"loss": smsweep.init().config.x * factor})

    config = {"method": "grid", "parameters": {"x": {"values": [1, 2]}}}
    smsweep.run(config, function=train, job=account.job, backend="batch", parallel=2)
    assert [trial.metrics["loss"].last for trial in account.trials()] == [3, 6]
    assert [job["status"] for job in listed(account, queue)] == ["SUCCEEDED"] * 2


@pytest.mark.usefixtures("queue")
def test_invalid_job_creates_no_sweep(account: Account) -> None:
    job = {name: value for name, value in account.job.items() if name != "image_uri"}
    with pytest.raises(JobRejected, match="would refuse it: no image"):
        run(account.sweep(1), job=job, backend="batch")
    assert json_views.list_sweeps() == []


@pytest.mark.parametrize("text", ["-1", "high", "10000"])
def test_invalid_priority_is_rejected(text: str) -> None:
    with pytest.raises(UsageError, match="SMSWEEP_BATCH_PRIORITY"):
        JobQueue.from_environ({"SMSWEEP_BATCH_QUEUE": "gpus", "SMSWEEP_BATCH_PRIORITY": text})
