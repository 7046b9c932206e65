"""Logs and events that jobs of the emulator write into the account."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.account import LOG_GROUP, PATIENT, Account, error_of, open_account


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with open_account(tmp_path_factory.mktemp("endpoint"), os.environ) as opened:
        opened.run("one", "print('a')\nprint('b')")
        opened.run("two", "print('c')")
        yield opened


@pytest.fixture
def account(shared: Account) -> Iterator[Account]:
    yield shared
    shared.emulator.faults.clear()


def filtered(account: Account, **options: Any) -> list[str]:
    answer = account.logs.filter_log_events(logGroupName=LOG_GROUP, **options)
    return [event["message"] for event in answer["events"]]


def test_job_has_its_own_log_stream(account: Account) -> None:
    (stream,) = account.logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix="one/")["logStreams"]
    name, _, epoch = stream["logStreamName"].rpartition("-")
    assert name == "one/algo-1"
    assert abs(int(epoch) - time.time()) < 600
    read = account.logs.get_log_events(
        logGroupName=LOG_GROUP, logStreamName=stream["logStreamName"], startFromHead=True
    )
    assert [event["message"] for event in read["events"]] == ["a", "b"]


def test_stream_prefix_selects_logs_of_a_job(account: Account) -> None:
    assert filtered(account, logStreamNamePrefix="one/") == ["a", "b"]
    assert filtered(account, logStreamNamePrefix="nobody/") == []
    assert set(filtered(account)) >= {"a", "b", "c"}


def test_named_streams_are_merged(account: Account) -> None:
    names = [
        stream["logStreamName"]
        for job in ("one/", "two/")
        for stream in account.logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=job)[
            "logStreams"
        ]
    ]
    assert filtered(account, logStreamNames=names) == ["a", "b", "c"], names


def test_event_pages_contain_all_events(account: Account) -> None:
    pages = account.logs.get_paginator("filter_log_events").paginate(
        logGroupName=LOG_GROUP, logStreamNamePrefix="one/", PaginationConfig={"PageSize": 1}
    )
    assert [event["message"] for page in pages for event in page["events"]] == ["a", "b"]


def test_token_returns_later_events(account: Account) -> None:
    account.create("later", PATIENT)
    account.wait_for_line("later", "ready")
    first = account.logs.filter_log_events(logGroupName=LOG_GROUP, logStreamNamePrefix="one/", limit=1)
    rest = account.logs.filter_log_events(
        logGroupName=LOG_GROUP, logStreamNamePrefix="one/", nextToken=first["nextToken"]
    )
    assert [event["message"] for event in rest["events"]] == ["b"]


def test_events_are_filtered_by_time(account: Account) -> None:
    events = account.logs.filter_log_events(logGroupName=LOG_GROUP, logStreamNamePrefix="two/")["events"]
    at = events[0]["timestamp"]
    assert filtered(account, logStreamNamePrefix="two/", startTime=at, endTime=at) == ["c"]
    assert filtered(account, logStreamNamePrefix="two/", startTime=at + 1) == []


def test_missing_log_group_raises_not_found(account: Account) -> None:
    assert error_of(account.logs.filter_log_events, logGroupName="nothing")[0] == "ResourceNotFoundException"


def test_log_group_is_found_by_arn(account: Account) -> None:
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{LOG_GROUP}"
    found = account.logs.filter_log_events(logGroupIdentifier=arn, logStreamNamePrefix="two/")
    assert [event["message"] for event in found["events"]] == ["c"]


def test_long_log_is_complete(account: Account) -> None:
    account.run("much", "for number in range(12_000): print(number)")
    pages = account.logs.get_paginator("filter_log_events").paginate(
        logGroupName=LOG_GROUP, logStreamNamePrefix="much/"
    )
    assert [int(event["message"]) for page in pages for event in page["events"]] == list(range(12_000))


def subscribe(account: Account, queue: str, kind: str = "SageMaker Training Job State Change") -> str:
    """Send the events of training jobs, or of another kind, to a new queue and return its URL."""
    events, sqs = account.client("events"), account.client("sqs")
    url: str = sqs.create_queue(QueueName=queue)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": [kind]}
    events.put_rule(Name=queue, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=queue, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def received(account: Account, url: str, name: str, last: str) -> list[dict[str, Any]]:
    """Return a job's events up to the one whose secondary status is `last`."""
    sqs = account.client("sqs")
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 30
    while last not in [event["detail"]["SecondaryStatus"] for event in found]:
        assert time.monotonic() < deadline, found
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", ())
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            event = json.loads(message["Body"])
            if event["detail"]["TrainingJobName"] == name:
                found.append(event)
    return found


def test_each_job_status_sends_event(account: Account) -> None:
    url = subscribe(account, "walk")
    account.run("told", "", Tags=[{"Key": "team", "Value": "red"}])
    events = received(account, url, "told", "Completed")
    assert [event["detail"]["SecondaryStatus"] for event in events] == account.statuses("told")
    last = events[-1]
    assert last["detail-type"] == "SageMaker Training Job State Change"
    assert last["resources"] == [account.describe("told")["TrainingJobArn"]]
    assert last["detail"]["Tags"] == {"team": "red"}
    assert last["detail"]["TrainingEndTime"] == round(
        account.describe("told")["TrainingEndTime"].timestamp() * 1000
    )


def test_failure_event_has_the_reason(account: Account) -> None:
    url = subscribe(account, "failure")
    account.run("broken", "raise SystemExit(3)")
    event = received(account, url, "broken", "Failed")[-1]
    assert event["detail"]["FailureReason"].endswith("exit code: 3")


def test_events_are_delivered_twice_with_duplicate_events(account: Account) -> None:
    url = subscribe(account, "twice")
    account.emulator.faults.set({"duplicate_events": True})
    account.run("repeated")
    events = received(account, url, "repeated", "Completed")
    assert [event["detail"]["SecondaryStatus"] for event in events][:4] == [
        "Starting",
        "Starting",
        "Downloading",
        "Downloading",
    ]


def test_each_status_of_a_tuning_job_sends_event(account: Account) -> None:
    url = subscribe(account, "tuning", "SageMaker HyperParameter Tuning Job State Change")
    job = account.request("unused", "print('loss=0.5;')")
    definition = {
        name: job[name] for name in ("RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
    }
    definition["StaticHyperParameters"] = job["HyperParameters"]
    definition["AlgorithmSpecification"] = {
        **job["AlgorithmSpecification"],
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+);"}],
    }
    request: dict[str, Any] = {
        "HyperParameterTuningJobName": "observed",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "9"}]},
        },
        "TrainingJobDefinition": definition,
        "Tags": [{"Key": "team", "Value": "red"}],
    }
    arn = account.sagemaker.create_hyper_parameter_tuning_job(**request)["HyperParameterTuningJobArn"]
    sqs = account.client("sqs")
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while "Completed" not in [event["detail"]["HyperParameterTuningJobStatus"] for event in found]:
        assert time.monotonic() < deadline, found
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", ()):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.append(json.loads(message["Body"]))
    first, last = found
    assert first["detail"]["HyperParameterTuningJobStatus"] == "InProgress"
    assert last["resources"] == [arn]
    assert last["detail"]["Tags"] == {"team": "red"}
    assert last["detail"]["TrainingJobStatusCounters"]["Completed"] == 1
    assert last["detail"]["BestTrainingJob"]["TrainingJobName"].startswith("observed-001-")
    described = account.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="observed")
    ended_at = described["HyperParameterTuningEndTime"].timestamp()
    assert last["detail"]["HyperParameterTuningEndTime"] == round(ended_at * 1000)
