"""Invalid requests: the emulator reports each error and keeps running."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator

import pytest

from tests.support.account import Account, open_account

ACTIONS = (
    "CreateTrainingJob",
    "DescribeTrainingJob",
    "ListTrainingJobs",
    "StopTrainingJob",
    "Search",
    "AddTags",
    "ListTags",
    "UpdateTrainingJob",
    "DeleteTrainingJob",
    "Nonsense",
    "",
)
BODIES = (b"", b"{", b"[]", b"null", b"3", b"\xff\xfe", b'"text"', b"{}" * 9, b'{"a": ' * 5000, b"[" * 100_000)
JUNK: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    2**70,
    1e400,
    "",
    "x",
    "é" * 300,
    "\x00",
    [],
    {},
    [None],
    {"a": {"b": []}},
)
FIELDS = (
    "TrainingJobName",
    "AlgorithmSpecification",
    "ResourceConfig",
    "HyperParameters",
    "Tags",
    "ResourceArn",
    "NextToken",
    "MaxResults",
    "CreationTimeAfter",
    "SearchExpression",
    "Resource",
    "StoppingCondition",
    "InputDataConfig",
)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with open_account(tmp_path_factory.mktemp("endpoint"), os.environ) as opened:
        yield opened


def post(
    account: Account, action: str, body: bytes, service: str = "sagemaker", **headers: str
) -> tuple[int, str]:
    """Send a body with a valid signature. headers: replace signed headers."""
    target = "Logs_20140328" if service == "logs" else "SageMaker"
    given = {"X-Amz-Target": f"{target}.{action}", "Content-Type": "application/x-amz-json-1.1"}
    return account.send("POST", "/", {**account.signed(service, "POST", "/", given, body), **headers}, body)


@pytest.mark.parametrize("action", ACTIONS)
def test_invalid_body_is_a_client_error(account: Account, action: str) -> None:
    for body in BODIES:
        status, output = post(account, action, body)
        assert status < 500, (body[:40], output)


@pytest.mark.parametrize("seed", range(5))
def test_invalid_field_is_a_client_error(account: Account, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        action = chance.choice(ACTIONS[:-2])
        request = {name: chance.choice(JUNK) for name in chance.sample(FIELDS, chance.randrange(1, 5))}
        status, output = post(account, action, json.dumps(request).encode())
        assert status < 500, (action, request, output)


def test_null_field_is_equal_to_a_missing_field(account: Account) -> None:
    nulls = {"VpcConfig": None, "StoppingCondition": {"MaxRuntimeInSeconds": None}}
    request = {**account.request("nulls"), **nulls}
    request["ResourceConfig"] = {**request["ResourceConfig"], "InstanceGroups": None}
    status, output = post(account, "CreateTrainingJob", json.dumps(request).encode())
    assert status == 200, output
    shown = account.sagemaker.describe_training_job(TrainingJobName="nulls")
    assert "InstanceGroups" not in shown["ResourceConfig"]


def test_null_field_in_a_queued_request_does_not_stop_the_queue(account: Account) -> None:
    payload = {**account.request("nulls-queued"), "InputDataConfig": None, "Tags": None}
    batch = account.client("batch")
    queued = batch.submit_service_job(
        jobName="queued",
        jobQueue="queue",
        serviceJobType="SAGEMAKER_TRAINING",
        serviceRequestPayload=json.dumps(payload),
    )
    assert batch.describe_service_job(jobId=queued["jobId"])["status"] != "RUNNABLE"
    body = json.dumps({"logGroupName": "/aws/none", "limit": None, "filterPattern": None}).encode()
    status, output = post(account, "FilterLogEvents", body, service="logs")
    assert (status, json.loads(output)["__type"]) == (400, "ResourceNotFoundException")


def test_invalid_header_is_a_client_error(account: Account) -> None:
    for headers in (
        {"X-Amz-Target": "...."},
        {"X-Amz-Target": "SageMaker"},
        {"Authorization": "nonsense"},
        {"Content-Type": "text/html"},
    ):
        status, output = post(account, "ListTrainingJobs", b"{}", **headers)
        assert status < 500, (headers, output)


def test_request_of_a_web_page_has_no_effect(account: Account) -> None:
    status, _ = post(account, "ListTrainingJobs", b"{}", Origin="http://elsewhere.example")
    assert status == 403


def test_emulator_serves_the_next_request_after_invalid_ones(account: Account) -> None:
    jobs = account.sagemaker.list_training_jobs()["TrainingJobSummaries"]
    assert {job["TrainingJobName"] for job in jobs if "queued" not in job["TrainingJobName"]} <= {"nulls"}
